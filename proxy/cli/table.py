"""The table of `pointsman services`: one row per Service port, and below it what needs attention.

A row says in words what would otherwise have to be worked out from chains and sets: which addresses lead where, what happens where they
lead nowhere, and why endpoints are left out (pain 59: a refusal by design could not be told from a fault).
"""

from datetime import datetime

from pointsman.proxy.report import BackendReport, ServicePortReport, ServicesReport, StatusReport
from pointsman.proxy.status import FamilyStatus
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200
"""Columns where the output is no terminal."""

STALLED = 10.0
"""Seconds that a loop may owe something before it is called stuck."""

NAMED = 3
"""So many backends are named in one cell of the short form."""


def show(report: ServicesReport, *, wide: bool, subject: str = "", console: Console | None = None) -> None:
    """Print the report; `subject` limits notices to one object."""
    console = console or Console(markup=False, emoji=False, highlight=False, width=None if _terminal() else PIPE_WIDTH)
    console.print(Text(heading(report)))
    for family in report.families:
        console.print(Text(f"  {family_line(family)}", style="red" if family.failing_keys or family.apply.last_error else ""))
        for failing in family.failing:
            console.print(Text(f"    {failing.subject}: {failing.text} (tried {failing.attempts} times)", style="red"))
    if report.service_ports:
        console.print(_wide(report) if wide else _short(report))
    notices = [one for one in report.notices if not subject or one.subject == subject]
    for notice in notices:
        console.print(Text(f"{notice.severity}: {notice.subject}: {notice.field}: {notice.text}", style="yellow"))
    for problem in report.problems:
        console.print(Text(f"problem: {problem}", style="red"))


def heading(report: StatusReport) -> str:
    """Return one line about the agent."""
    mode = f"{report.mode} ({report.variant})" if report.variant else report.mode
    zone = f" in zone {report.zone}" if report.zone else ""
    state = f"waiting for the list of {' and '.join(f'{kind}s' for kind in report.waiting_for)}; nothing is programmed yet"
    if not report.waiting_for:
        state = f"revision {report.revision}, {report.services} Services known"
    return f"node {report.node}{zone}, mode {mode}: {state}"


def family_line(family: FamilyStatus) -> str:
    """Return one line about one family."""
    if family.revision_applied is None and family.revision_wanted is None:
        return f"{family.family}: nothing wanted yet"
    if family.stalled_seconds > STALLED:
        text = "the kernel could not be read, or a write does not end; the log says why"
        return f"{family.family}: stuck for {family.stalled_seconds:.0f} s: {text}"
    if family.in_sync_since is None or family.pending_since is not None:
        since = f" since {_clock(family.pending_since)}" if family.pending_since else ""
        error = f": {family.apply.last_error}" if family.apply.last_error else ""
        return f"{family.family}: changes wait{since} ({family.pending_keys} in the kernel){error}"
    foreign = f", {family.foreign.repaired_keys} foreign changes repaired" if family.foreign.repaired_keys else ""
    return f"{family.family}: in sync since {_clock(family.in_sync_since)}{foreign}"


def remarks(port: ServicePortReport) -> list[str]:
    """Return what is special about a Service port, in words."""
    found = []
    if port.internal_missing:
        found.append(f"cluster IP: {_missing(port.internal_missing)}")
    if port.external_missing:
        found.append(f"from outside: {_missing(port.external_missing)}")
    if port.internal_traffic_policy == "Local":
        found.append("internal policy Local")
    if port.external_traffic_policy == "Local":
        found.append("external policy Local")
    if port.affinity_seconds:
        found.append(f"session affinity {port.affinity_seconds} s")
    if port.source_ranges:
        found.append(f"only from {', '.join(port.source_ranges)}")
    if port.topology.mode.value != "none":
        found.append(f"hints: {port.topology.mode.value}")
    if port.topology.reason:
        found.append(f"hints ignored: {port.topology.reason}")
    return found


def _short(report: ServicesReport) -> Table:
    table = Table("SERVICE PORT", "FRONTENDS", "BACKENDS", "REMARKS", box=None, pad_edge=False, header_style="bold")
    for port in report.service_ports:
        names = [_address(one.address, one.port) for one in port.backends]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        left_out = f"; {len(port.excluded)} left out" if port.excluded else ""
        backends = f"{len(names)}: {', '.join(names[:NAMED])}{more}{left_out}" if names else f"none{left_out}"
        table.add_row(_name(port), _frontends(port), backends, "; ".join(remarks(port)))
    return table


def _wide(report: ServicesReport) -> Table:
    table = Table("SERVICE PORT", "FRONTENDS", "BACKEND", "POD", "NODE", "ZONE", "USED FOR", box=None, pad_edge=False, header_style="bold")
    for port in report.service_ports:
        first = (_name(port), _frontends(port))
        for backend in port.backends:
            place = f"{backend.node} (here)" if backend.local else backend.node
            table.add_row(*first, _address(backend.address, backend.port), backend.pod, place, backend.zone, _use(backend))
            first = ("", "")
        for left_out in port.excluded:
            table.add_row(*first, left_out.backend, "", "", "", f"left out: {left_out.reason}")
            first = ("", "")
        for remark in remarks(port):
            table.add_row(*first, "", "", "", "", remark)
            first = ("", "")
        if first != ("", ""):
            table.add_row(*first, "none", "", "", "", "")
    return table


def _use(backend: BackendReport) -> str:
    if backend.cluster and backend.local_policy:
        return "Cluster, Local"
    return "Cluster" if backend.cluster else "Local"


def _missing(outcome: str) -> str:
    return "rejected, no endpoints" if outcome == "reject" else "dropped, no endpoints on this node"


def _name(port: ServicePortReport) -> str:
    name = f"{port.namespace}/{port.service}"
    return f"{name}:{port.port_name}" if port.port_name else name


def _frontends(port: ServicePortReport) -> str:
    protocol = port.protocol.lower()
    shown = [f"{_address(one.address, one.port)}" if one.address else f"node port {one.port}" for one in port.frontends]
    return f"{', '.join(shown)} {protocol}"


def _address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _clock(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "?"


def _terminal() -> bool:
    return Console().is_terminal
