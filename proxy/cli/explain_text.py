"""An explanation as text: five short parts and the verdict. Pure.

Long rules are cut for reading, JSON has them whole. Where many ways are alike (a hundred endpoints), a few are shown and the rest counted.
"""

from collections.abc import Iterator, Sequence

from pointsman.dataplane.trace import Evidence, Way
from pointsman.explain.answer import Explanation
from pointsman.routing.packet import Outcome, Share, Verdict

WIDTH = 150
WAYS = 4
ENDPOINTS = 6
_WORDS = {
    Verdict.FORWARD: "forwarded", Verdict.REJECT: "rejected (ICMP port unreachable)", Verdict.DROP: "dropped in silence",
    Verdict.UNTOUCHED: "left as it is",
}  # fmt: skip


def text(found: Explanation) -> str:
    """Return the whole explanation."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Explanation) -> Iterator[str]:
    packet = found.asked.packet
    came = f" arriving by {packet.interface}" if packet.interface else " sent by this node"
    yield f"{found.asked.source} → {found.asked.target}, asked on node {found.node}, mode {found.mode}"
    yield f"  packet: {packet.protocol.lower} {packet.source} → {_socket(packet.destination, packet.port)},{came}"
    if found.name is not None:
        yield "name"
        yield from (f"  {one.name}: {one.result}" for one in found.name.attempts)
        if found.resolver is not None:
            yield f"  {found.resolver.text}"
    if found.route is not None:
        yield "route"
        yield from _route(found)
    yield "should be"
    yield from _outcome(found.outcome)
    yield f"kernel  ({found.kernel.read})"
    yield from _ways(found.kernel.ways)
    if found.flows:
        yield "flows"
        yield from (f"  {one.text}  {one.state}{f': {one.reason}' if one.reason else ''}" for one in found.flows)
    if found.findings:
        yield "settings"
        yield from (f"  {one.level.value}: {one.text}: {one.why}; {one.fix}" for one in found.findings)
    yield from (f"note: {remark}" for remark in found.remarks)
    yield f"verdict: {found.verdict}"
    yield from (f"  also: {one}" for one in found.because[:12])


def _route(found: Explanation) -> Iterator[str]:
    route = found.route
    assert route is not None
    policies = f"internal traffic policy {route.internal_traffic_policy}, external {route.external_traffic_policy}"
    yield f"  {route.service_port} by its {route.frontend}; {policies}"
    if route.topology.reason:
        yield f"  hints are ignored because {route.topology.reason}"
    elif route.topology.mode.value != "none":
        yield f"  hints are obeyed: {route.topology.mode.value}"
    shown = route.excluded[:ENDPOINTS]
    yield from (f"  left out: {one.backend}: {one.reason}" for one in shown)
    if len(route.excluded) > len(shown):
        yield f"  left out: {len(route.excluded) - len(shown)} more"


def _outcome(outcome: Outcome) -> Iterator[str]:
    yield f"  {_WORDS[outcome.verdict]}: {outcome.reason}"
    shown = outcome.shares[:ENDPOINTS]
    yield from (f"  {share.probability:.0%} to {share.backend}{_who(share)}" for share in shown)
    if len(outcome.shares) > len(shown):
        yield f"  and {len(outcome.shares) - len(shown)} more endpoints alike"
    masked = dict.fromkeys((share.masquerade, share.reason) for share in outcome.shares)
    yield from (f"  source {'masqueraded' if yes else 'kept'}: {reason}" for yes, reason in masked)
    if outcome.affinity_seconds:
        yield f"  a client keeps its endpoint for {outcome.affinity_seconds} s after its last connection (SEM-25)"


def _who(share: Share) -> str:
    words = [f"pod {share.backend.pod}"] if share.backend.pod else []
    words += [f"on {share.backend.node}{' (here)' if share.backend.local else ''}"] if share.backend.node else []
    return f" ({' '.join(words)})" if words else ""


def _ways(ways: Sequence[Way]) -> Iterator[str]:
    shared = _prefix([way.evidence for way in ways])
    yield from map(_evidence, ways[0].evidence[:shared] if ways else ())
    for way in ways[:WAYS]:
        if len(ways) > 1:
            yield f"  then {way.probability:.0%}: {_WORDS[way.verdict]}{_where(way)}"
        yield from ("  " * (len(ways) > 1) + _evidence(one) for one in way.evidence[shared:])
        yield from (f"  cannot be judged: {doubt}" for doubt in way.doubts)
    if len(ways) > WAYS:
        yield f"  and {len(ways) - WAYS} more ways alike"
    if len(ways) == 1:
        masked = ", masqueraded" if ways[0].masquerade else ""
        yield f"  so it is {_WORDS[ways[0].verdict]}{_where(ways[0])}{masked}"


def _where(way: Way) -> str:
    return f" to {_socket(way.address, way.port)}" if way.verdict is Verdict.FORWARD else ""


def _prefix(ways: Sequence[Sequence[Evidence]]) -> int:
    """Return how many objects all ways have met first."""
    count = 0
    for same in zip(*ways, strict=False):
        if any(one != same[0] for one in same):
            break
        count += 1
    return count


def _evidence(one: Evidence) -> str:
    counted = f"  [{one.packets} packets]" if one.packets is not None else ""
    owner = "" if one.ours else "  (not pointsman's)"
    return f"  {one.where}: {_cut(one.text)}{counted}{owner}"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH // 2]} … {line[-WIDTH // 2 + 3 :]}"


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


