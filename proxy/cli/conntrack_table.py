"""The tables of `pointsman conntrack`, as plain text: columns as wide as what stands in them, numbers to the right. Pure."""

from collections.abc import Iterable, Sequence

from pointsman.proxy.cli.conntrack_advice import Advice, StatsReport, SysctlReport
from pointsman.proxy.cli.conntrack_rows import FlowRow, FlowsReport, TopReport, TopRow

_SHORT = ("PROTO", "STATE", "CLIENT", "SERVICE", "FRONTEND", "BACKEND", "CLASS")
_WIDE = (*_SHORT[:3], "CLIENT IS", *_SHORT[3:5], "BY", "BACKEND", "BACKEND IS", "SEEN AS", "CLASS", "TIMEOUT", "PACKETS", "BYTES", "REASON")


def flows(report: FlowsReport, *, wide: bool) -> str:
    """Return the flows as a table, and a line with how many there are of each class."""
    lines = [_wide(one) if wide else _brief(one) for one in report.flows]
    return table(_WIDE if wide else _SHORT, lines) + summary(report)


def summary(report: FlowsReport) -> str:
    """Return one line: how many flows are shown, and of which classes all are."""
    classes = ", ".join(f"{count:,} {name}" for name, count in report.classes.items()) or "none"
    unreadable = f"; {report.unreadable:,} could not be read" if report.unreadable else ""
    return f"{len(report.flows):,} shown; of all: {classes}{unreadable}\n"


def wrong(report: FlowsReport) -> str:
    """Return flows that go where new ones would not, each with its reason below it."""
    text = []
    for one in report.flows:
        text.append(f"{one.flow_class:<15} {one.protocol} {one.client}{_of(one.client_name)} -> {one.frontend} -> {one.backend}")
        text.append(f"{'':<15} {one.reason}")
    return "".join(f"{line}\n" for line in text)


def entries(rows: Iterable[FlowRow]) -> str:
    """Return the exact entries, each with its class and reason."""
    return "".join(f"{one.entry}\n    {one.flow_class}: {one.reason}\n" for one in rows)


def event(what: str, one: FlowRow) -> str:
    """Return what happened to a flow as one line."""
    service = f" of {one.service}" if one.service else ""
    to = f"{one.frontend}{service} -> {one.backend}{_of(one.backend_name)}" if one.frontend != one.backend else f"{one.backend}{service}"
    state = f" {one.state}" if one.state else ""
    return f"[{what.upper()}] {one.protocol}{state} {one.client}{_of(one.client_name)} -> {to} {one.flow_class}"


def top(report: TopReport) -> str:
    """Return who has most entries."""
    heading = f"{report.entries:,} entries" + (f", rates over {report.seconds:.1f} s" if report.seconds else "") + "\n"
    parts = [("SERVICE PORT", report.services), ("POD", report.pods)]
    return heading + "\n".join(table((name, "ENTRIES", "NEW/S", "CLASSES"), map(_top, rows), {1, 2}) for name, rows in parts)


def stats(report: StatsReport) -> str:
    """Return what the CPUs counted, and what it means."""
    names = [name for name in report.sums if name not in {"found", "search_restart"}]
    lines = [(str(one.cpu), *(f"{getattr(one, name):,}" for name in names)) for one in report.cpus]
    lines.append(("all", *(f"{report.sums[name]:,}" for name in names)))
    return table(("CPU", *names), lines, set(range(len(names) + 1))) + "".join(map(_advice, report.advice))


def sysctls(report: SysctlReport) -> str:
    """Return settings with what is wanted of them."""
    lines = []
    for one in report.settings:
        value, asked = ("absent" if one.value is None else str(one.value)), ("" if one.wanted is None else str(one.wanted))
        lines.append((one.name, value, asked, "DRIFTED" if one.drifted else "", one.remark))
    fixes = "".join(f"  {one.fix}\n" for one in report.settings if one.fix)
    return table(("SETTING", "VALUE", "CONFIGURED", "", "REMARK"), lines, {1, 2}) + (f"To change that:\n{fixes}" if fixes else "")


def table(head: Sequence[str], lines: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return columns; those in `right` are numbers."""
    cells, numbers = [tuple(head), *map(tuple, lines)], set(right)
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    text = []
    for line in cells:
        parts = [one.rjust(width) if at in numbers else one.ljust(width) for at, (one, width) in enumerate(zip(line, widths, strict=True))]
        text.append("  ".join(parts).rstrip() + "\n")
    return "".join(text)


def _brief(one: FlowRow) -> tuple[str, ...]:
    return (one.protocol, one.state, one.client, one.service, one.frontend, one.backend, one.flow_class)


def _wide(one: FlowRow) -> tuple[str, ...]:
    counted = ["" if number is None else str(number) for number in (one.packets, one.bytes)]
    return (
        one.protocol, one.state or " ".join(one.flags), one.client, one.client_name, one.service, one.frontend, one.frontend_kind,
        one.backend, one.backend_name, one.seen_as, one.flow_class, str(one.timeout_seconds), *counted, one.reason,
    )  # fmt: skip


def _top(one: TopRow) -> tuple[str, ...]:
    rate = "" if one.per_second is None else f"{one.per_second:.1f}"
    return (one.name, f"{one.entries:,}", rate, ", ".join(f"{count:,} {name}" for name, count in sorted(one.classes.items())))


def _advice(one: Advice) -> str:
    why = f"\n      {one.why}" if one.why else ""
    fix = f"\n      {one.fix}" if one.fix else ""
    return f"{one.level:<5} {one.text}{why}{fix}\n"


def _of(name: str) -> str:
    return f" ({name})" if name else ""
