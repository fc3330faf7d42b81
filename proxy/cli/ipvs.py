"""`pointsman ipvs`: the kernel's IPVS with the names of Services and pods beside the addresses; ipvsadm's view, for this cluster.

It looks at the network namespace that it runs in, whoever programmed it, and changes nothing. Names come from the running agent's socket;
if none answers, they are missing and a line on standard error says so. `ipvs_report` joins the two, `ipvs_table` draws.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec
from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs.connections import Table
from pointsman.ipvs.ipvsadm import Ipvsadm, Listed
from pointsman.proxy.cli.ipvs_report import Names, connections, names, servers
from pointsman.proxy.cli.services import UnreachableError, decode, fetch
from pointsman.proxy.config import Config
from pointsman.proxy.drained import DrainReport

EPILOG = """\b
Examples:
  pointsman ipvs list                     virtual servers, and the real servers behind them
  pointsman ipvs list shop/web            those of one Service
  pointsman ipvs stats --rate             connections, packets and bytes per second (JSON always has both)
  pointsman ipvs connections -o json      every connection, for programs
  pointsman ipvs drain                    endpoints that are gone and still have connections

\b
Exit status:
  0  shown
  1  the kernel could not be asked: the reason is on standard error
  2  the command line is wrong
  3  no agent answers: `drain` needs one, and so do the others to pick out one Service
"""

_T = TypeVar("_T")
_OUTPUT = "A table for people, or JSON for programs."


class KernelFailedError(click.ClickException):
    """The kernel could not be asked."""

    exit_code = 1


@click.group("ipvs", epilog=EPILOG)
def command() -> None:
    """Look at the kernel's IPVS, with Service and pod names beside addresses."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a subcommand the options that all of them have."""
    for option in (
        click.option("--socket", "path", default=Config().socket, show_default=True, metavar="PATH", help="The agent's socket."),
        click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help=_OUTPUT),
        click.argument("service", metavar="[NAMESPACE/NAME]", default=""),
    ):
        function = option(function)
    return function


@command.command("list")
@_options
def show_list(service: str, output: str, path: str) -> None:
    """Show virtual servers, their schedulers, and the real servers behind them with weight and connections."""
    known = agent_names(path, service)
    report = servers(asyncio.run(_listed()), known, service)
    if output == "json":
        _write(report)
        return
    from pointsman.proxy.cli import ipvs_table  # noqa: PLC0415 - rich is loaded only to draw

    ipvs_table.show_servers(report, ipvs_table.console())


@command.command("stats")
@_options
@click.option("--rate", is_flag=True, help="Per second instead of in total; JSON has both.")
def show_stats(service: str, output: str, path: str, *, rate: bool) -> None:
    """Show connections, packets and bytes of every virtual and real server; the kernel renews them every two seconds."""
    known = agent_names(path, service)
    report = servers(asyncio.run(_listed()), known, service)
    if output == "json":
        _write(report)
        return
    from pointsman.proxy.cli import ipvs_table  # noqa: PLC0415 - rich is loaded only to draw

    ipvs_table.show_traffic(report, ipvs_table.console(), rate=rate)


@command.command("connections")
@_options
def show_connections(service: str, output: str, path: str) -> None:
    """Show every connection, and which client belongs to which real server where a Service has session affinity."""
    known = agent_names(path, service)
    report = connections(asyncio.run(_table()), known, service)
    if output == "json":
        _write(report)
        return
    from pointsman.proxy.cli import ipvs_table  # noqa: PLC0415 - rich is loaded only to draw

    ipvs_table.show_connections(report, ipvs_table.console())


@command.command("drain")
@click.option("--socket", "path", default=Config().socket, show_default=True, metavar="PATH", help="The agent's socket.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help=_OUTPUT)
def show_drain(path: str, output: str) -> None:
    """Show endpoints that are gone and still have connections: how many are left, since when, and when they end at the latest."""
    document = fetch(path, "/v1/drain")
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.format(document, indent=2) + b"\n")
        sys.stdout.buffer.flush()
        return
    try:
        report = msgspec.json.decode(document, type=DrainReport)
    except msgspec.MsgspecError as error:
        raise UnreachableError(f"{path}: the answer cannot be read: {error}") from error
    from pointsman.proxy.cli import ipvs_table  # noqa: PLC0415 - rich is loaded only to draw

    ipvs_table.show_drain(report, ipvs_table.console())


def agent_names(path: str, service: str) -> Names | None:
    """Return the names that the running agent knows, None if none answers; without names one Service cannot be picked out."""
    namespace, _, name = service.partition("/")
    if service and not (namespace and name):
        raise click.UsageError(f"{service!r} is no Service; write NAMESPACE/NAME, such as shop/web")
    try:
        return names(decode(fetch(path, "/v1/services"), path).service_ports)
    except UnreachableError as error:
        if service:
            raise
        click.echo(f"names are missing: {error.format_message()}", err=True)
        return None


async def _listed() -> tuple[Listed, ...]:
    async with await _ipvsadm() as ipvsadm:
        return await _asked(ipvsadm.list_all())


async def _table() -> Table:
    async with await _ipvsadm() as ipvsadm:
        return await _asked(ipvsadm.connections())


async def _ipvsadm() -> Ipvsadm:
    return await _asked(Ipvsadm.open())


async def _asked(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except KernelError as error:
        if error.kind is ErrorKind.DENIED:
            raise KernelFailedError(f"{error}; ask as root") from error
        raise KernelFailedError(str(error)) from error


def _write(report: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    sys.stdout.buffer.flush()
