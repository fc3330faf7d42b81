"""Figures → rows: each beside its goal and, where it was measured on the same kind of machine before, what kube-proxy costs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

Figures = Mapping[str, float]


class Row(Struct, frozen=True):
    """One line: what, at which size, the figure, the goal and whether it is met (None: no goal), kube-proxy's figure."""

    what: str
    size: str
    figure: str
    goal: str = ""
    met: bool | None = None
    peer: str = ""


class Goals(Struct, frozen=True):
    """What is aimed at for one variant and size: seconds and MiB; None where there is no goal."""

    cold: float | None
    change: float | None
    memory: float
    cold_peer: str
    change_peer: str
    memory_peer: str


GOALS = {
    ("legacy", 1_000): Goals(0.4, 0.1, 80, "0.34 s", "160 ms", "102 MB"),
    ("legacy", 10_000): Goals(3, 0.8, 150, "9.5 s", "1850 ms", "527 MB"),
    ("nft", 1_000): Goals(None, None, 80, "5.0 s", "120 ms", "100 MB"),
    ("nft", 10_000): Goals(10, None, 150, "not done after 400 s", "", ""),
}
"""By variant and number of Services. Peers: kube-proxy 1.36.3, peak resident memory."""

RATIO = 1.3
COMPILE_MS = 2.0
FLUSH_SECONDS = 1.0
FLUSH_SIZE = 1_000  # the goal is one for clusters of up to this size; larger ones are reported
IDLE_PERCENT = 1.0


def rows(variant: str, services: int, size: str, found: Figures) -> Iterator[Row]:
    """Return the rows of one variant at one size."""
    goals = GOALS[variant, services]
    cold, kernel = found["cold"], found["cold_kernel"]
    yield _limit("cold start to fully programmed", size, cold, goals.cold, "s", goals.cold_peer)
    yield Row("  the bare tools with the same text; ratio", size, f"{kernel:.2f} s; {cold / kernel:.2f}x")
    change, own = found["change"] * 1000, found["change_kernel"] * 1000
    limit = goals.change and goals.change * 1000
    yield _limit(f"one endpoint change, p50 of {found['changes']:.0f}", size, change, limit, "ms", goals.change_peer)
    yield Row("  p99", size, f"{found['change_p99'] * 1000:.0f} ms")
    ratio = change / own
    text = f"{own:.0f} ms; {ratio:.2f}x"
    if (variant, services) == ("legacy", 10_000):
        yield Row("  the bare restore of the same change, p50; ratio", size, text, f"{RATIO}x", ratio <= RATIO)
    else:
        yield Row("  the bare restore of the same change, p50; ratio", size, text)
    yield _limit("resident memory in operation", size, found["rss_after"], goals.memory, "MiB", "")
    yield _limit("  its peak", size, found["rss_peak"], goals.memory, "MiB", goals.memory_peer)
    yield _limit("idle, share of a core", size, found["idle"], IDLE_PERCENT, "%", "")
    yield _limit("nat flushed by others, until repaired", size, found["flush"], FLUSH_SECONDS if services <= FLUSH_SIZE else None, "s", "")
    writes = int(found["restart_writes"])
    yield Row("restart with unchanged state: kernel writes", size, str(writes), "0", writes == 0)
    yield Row("  until in sync", size, f"{found['restart']:.2f} s")
    yield _limit("  peak memory, having read all rules back", size, found["restart_peak"], goals.memory, "MiB", "")
    first, one, bare = found["packet_services"], found["packet_one"], found["packet_bare"]
    yield Row("first packet of a connection", size, f"{first:.1f} us", "")
    yield Row("  with one Service; with no rules at all", size, f"{one:.1f} us; {bare:.1f} us")
    yield Row("  ratio to one Service", size, f"{first / one:.2f}x")


def stage_rows(size: str, found: Mapping[str, Any]) -> Iterator[Row]:
    """Return the rows of the stages in process."""
    for name, seconds, memory in found["stages"]:
        yield Row(name, size, f"{seconds * 1000:.0f} ms, then {memory:.0f} MiB resident")
    median = found["compile_p50"] * 1000
    yield Row("compile and render after one change, p50", size, f"{median:.3f} ms", f"{COMPILE_MS:g} ms", median <= COMPILE_MS)
    yield Row("  p99", size, f"{found['compile_p99'] * 1000:.3f} ms")


def text(title: str, lines: Iterable[Row]) -> str:
    """Return rows as a Markdown table under a heading."""
    head = ["what", "size", "measured", "goal", "", "kube-proxy 1.36.3 (*)"]
    cells = [head, *([row.what, row.size, row.figure, row.goal, _verdict(row.met), row.peer] for row in lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    drawn = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return f"### {title}\n\n" + "\n".join(drawn) + "\n"


def _verdict(met: bool | None) -> str:
    return "" if met is None else "met" if met else "missed"


def _limit(what: str, size: str, value: float, goal: float | None, unit: str, peer: str) -> Row:
    digits = {"ms": 0, "MiB": 1}.get(unit, 2)
    figure = f"{value:.{digits}f} {unit}"
    return Row(what, size, figure, "" if goal is None else f"{goal:g} {unit}", None if goal is None else value <= goal, peer)
