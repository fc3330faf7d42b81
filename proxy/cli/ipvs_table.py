"""The tables of `pointsman ipvs`: a line per virtual server, below it a line per real server; or a line per connection."""

from collections.abc import Iterable

from pointsman.ipvs.objects import Counters, endpoint
from pointsman.proxy.cli.ipvs_report import ConnectionsReport, ServersReport, VirtualReport
from pointsman.proxy.drained import DrainReport
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 200
"""Columns where the output is no terminal."""


def console() -> Console:
    """Return where tables go: the terminal, or wide enough lines for a pipe."""
    plain = Console(markup=False, emoji=False, highlight=False)
    return plain if plain.is_terminal else Console(markup=False, emoji=False, highlight=False, width=PIPE_WIDTH)


def show_servers(report: ServersReport, place: Console) -> None:
    """Print what IPVS has and how many connections it holds."""
    table = _table("VIRTUAL SERVER", "SERVICE", "SCHEDULER", numbers=("WEIGHT", "ACTIVE", "INACTIVE"))
    for one in report.virtual_servers:
        table.add_row(virtual(one), one.service, scheduler(one), "", "", "", style="bold")
        for real in one.reals:
            where = f"  -> {endpoint(real.address, real.port)}"
            table.add_row(where, f"  {real.pod}", f"  {real.forwarding}", str(real.weight), str(real.active), str(real.inactive))
        if not one.reals:
            table.add_row("  -> none: refused", "", "", "", "", "")
    _print(table, place)


def show_traffic(report: ServersReport, place: Console, *, rate: bool) -> None:
    """Print what passed, in total or per second."""
    per = "/s" if rate else ""
    headings = (f"CONNECTIONS{per}", f"PACKETS IN{per}", f"PACKETS OUT{per}", f"BYTES IN{per}", f"BYTES OUT{per}")
    table = _table("VIRTUAL SERVER", "SERVICE", numbers=headings)
    for one in report.virtual_servers:
        table.add_row(virtual(one), one.service, *_numbers(one.rate if rate else one.total), style="bold")
        for real in one.reals:
            where = f"  -> {endpoint(real.address, real.port)}"
            table.add_row(where, f"  {real.pod}", *_numbers(real.rate if rate else real.total))
    _print(table, place)


def show_connections(report: ConnectionsReport, place: Console) -> None:
    """Print connections, and what persistence remembers."""
    table = _table("PROTOCOL", "CLIENT", "VIRTUAL SERVER", "SERVICE", "REAL SERVER", "POD", "STATE", numbers=("SECONDS LEFT",))
    for one in report.connections:
        client = f"{one.client} (remembered)" if one.template else endpoint(one.client, one.client_port)
        front, back = endpoint(one.virtual, one.virtual_port), endpoint(one.real, one.real_port)
        table.add_row(one.protocol, client, front, one.service, back, one.pod, one.state, str(one.seconds_left))
    _print(table, place)
    if report.unreadable:
        place.print(Text(f"{report.unreadable} lines of the kernel's table could not be read", style="yellow"))


def show_drain(report: DrainReport, place: Console) -> None:
    """Print endpoints that are gone and still have connections."""
    table = _table("SERVER", "POD", "VIRTUAL SERVER", "SERVICE", "SINCE", "REMOVED BY", numbers=("ACTIVE", "INACTIVE"))
    for one in report.draining:
        times = (f"{moment:%H:%M:%S}" for moment in (one.since, one.removed_by))
        counts = (str(one.active_connections), str(one.inactive_connections))
        table.add_row(one.server, one.pod, one.virtual_server, one.service, *times, *counts)
    if report.draining:
        _print(table, place)
    else:
        place.print("nothing drains")


def virtual(one: VirtualReport) -> str:
    """Return a virtual server as people write it."""
    return f"mark {one.mark:#x} {one.family}" if one.mark else f"{one.protocol} {endpoint(one.address, one.port)}"


def scheduler(one: VirtualReport) -> str:
    """Return how a virtual server picks, in words."""
    words = [one.scheduler, *one.scheduler_flags]
    if one.persistence_seconds:
        words.append(f"persistent {one.persistence_seconds} s")
    if one.one_packet:
        words.append("packet by packet")
    return ", ".join(words)


def _numbers(counters: Counters) -> Iterable[str]:
    counts = (counters.connections, counters.packets_in, counters.packets_out, counters.bytes_in, counters.bytes_out)
    return (f"{count:,}" for count in counts)


def _table(*headings: str, numbers: tuple[str, ...]) -> Table:
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _print(table: Table, place: Console) -> None:
    if table.row_count:
        place.print(table)
    else:
        place.print(Text("none"))
