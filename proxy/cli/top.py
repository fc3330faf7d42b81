"""`pointsman top`: connections, packets and bytes per Service port and endpoint, live, and how evenly endpoints are used.

The numbers are the kernel's own: IPVS's statistics, or the counters of iptables' rules, which count connections only; packets and bytes
are then connection tracking's, where it counts them (`conntrack.accounts`) and is not too full to be read; the heading says which. The
first screen shows totals, every further one rates. A skew of 2 means that one endpoint gets twice its fair share (pain 84).
"""

import asyncio
import time
from collections.abc import Sequence

import click
from msgspec import Struct
from pointsman.conntrack.accounts import Accounts
from pointsman.conntrack.classify import Judge
from pointsman.conntrack.flow import Status
from pointsman.conntrack.kernel import ConntrackKernel
from pointsman.conntrack.wire import Filter
from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.traffic import Passed
from pointsman.explain.traffic import Row, rates, rows
from pointsman.proxy.cli import wanted
from pointsman.proxy.flags import FlagCommand
from pointsman.proxy.known import Known
from pointsman.proxy.machine import setting
from pointsman.proxy.report import SCHEMA
from pointsman.routing.route import Family

EPILOG = f"""\b
Examples:
  pointsman top                        rates of all Service ports, renewed every 2 s until Ctrl-C
  pointsman top --once --endpoints     totals with every endpoint, once
  pointsman top --once -o json | jq '.rows[] | select(.skew > 2)'

{wanted.STATUS}
\b
Exit status:
  0  shown
  1  the kernel could not be read
  2  the command line is wrong
  3  no agent answers, and no other source was named
"""

COUNTED = {
    "ipvs": "IPVS statistics: connections, packets and bytes, both ways",
    "iptables": "connections by counters of the rules that pick an endpoint",
}
"""What each mode's kernel counts."""

ACCOUNTING = "net.netfilter.nf_conntrack_acct"
MOST = 100_000
"""With more tracked connections than this they are not read one by one, which would take seconds each time."""


class TopReport(Struct, frozen=True, rename="camel"):
    """The document: totals since the counters were made, or per second (`seconds` > 0: over so long a time)."""

    schema: str
    node: str
    mode: str
    counted: str
    seconds: float
    rows: tuple[Row, ...]


@click.command("top", cls=FlagCommand, flags=wanted.SOURCE_FLAGS, epilog=EPILOG)
@click.option("--once", is_flag=True, help="Totals, once.")
@click.option("--endpoints", is_flag=True, help="Every endpoint below its Service port.")
@click.option("--interval", type=click.FloatRange(min=0.5), default=2.0, show_default=True, metavar="SECONDS", help="Pause.")
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, metavar="NUMBER", help="So many Service ports.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Form of the output.")
@click.pass_context
def command(ctx: click.Context, /, interval: float, limit: int, output: str, *, once: bool, endpoints: bool, **values: object) -> int:
    """Show connections and traffic per Service port and endpoint, live."""
    known = wanted.known(ctx, values)
    reading = Reading(known)
    try:
        before, began = asyncio.run(reading.read()), time.monotonic()
        if once:
            _show(reading, 0.0, before, limit, output, endpoints=endpoints)
            return 0
        while True:
            time.sleep(interval)
            after, now = asyncio.run(reading.read()), time.monotonic()
            _show(reading, now - began, _busiest(rates(before, after, now - began)), limit, output, endpoints=endpoints)
            before, began = after, now
    except KernelError as error:
        raise click.ClickException(f"the kernel cannot be read: {error}") from error
    except KeyboardInterrupt:
        return 0


class Reading:
    """Reads the counters, again and again; `counted` says which they are."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.counted = COUNTED.get(known.picture.mode, "")
        self._routing = known.picture.routing()
        self._accounts = Accounts()

    async def read(self) -> tuple[Row, ...]:
        """Return what passed, of both families."""
        from pointsman.proxy.inspection import inspector  # noqa: PLC0415 - loads the modes, which --help need not wait for

        seen = self.known.picture
        looker = await inspector(seen.mode, seen.config, seen.variant)
        families = [Family(one.family) for one in seen.families] or list(Family)
        passed = [one for family in families for one in await looker.passed(family)]
        if seen.mode == "iptables":
            passed += await self._tracked()
        return rows(passed, self._routing)

    async def _tracked(self) -> tuple[Passed, ...]:
        """Return packets and bytes as connection tracking counts them, and say so, or why it does not."""
        if setting(ACCOUNTING) != "1":
            self.counted = f"{COUNTED['iptables']}; packets and bytes too with sysctl -w {ACCOUNTING}=1"
            return ()
        async with await ConntrackKernel.open() as kernel:
            if (await kernel.fill()).count > MOST:
                self.counted = f"{COUNTED['iptables']}; more than {MOST:,} connections are tracked, too many to read what each passed"
                return ()
            translated = Filter(status=(Status.DST_NAT, Status.DST_NAT))
            flows = await kernel.flows(None, translated)
        self._accounts.read(flows, Judge(self._routing, self.known.picture.node))
        self.counted = f"{COUNTED['iptables']}; packets and bytes by connection tracking, of connections that were there when it was read"
        return self._accounts.passed()


def _busiest(found: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows with the busiest Service port first, each with its endpoints."""
    groups: list[list[Row]] = []
    for row in found:
        if not row.endpoint:
            groups.append([])
        groups[-1].append(row)
    groups.sort(key=lambda group: (-(group[0].bytes_in or 0), -group[0].connections, group[0].service))
    return tuple(row for group in groups for row in group)


def _show(reading: Reading, seconds: float, found: Sequence[Row], limit: int, output: str, *, endpoints: bool) -> None:
    seen = reading.known.picture
    heads = [row for row in found if not row.endpoint][:limit]
    kept = {(row.service, row.protocol) for row in heads}
    rows_ = tuple(row for row in found if (row.service, row.protocol) in kept and (endpoints or not row.endpoint))
    if output == "json":
        wanted.write(TopReport(SCHEMA, seen.node.name, seen.mode, reading.counted, round(seconds, 3), rows_))
        return
    if seconds:
        click.clear()
    click.echo(f"node {seen.node.name}, mode {seen.mode}: {'per second' if seconds else 'in total'}; {reading.counted}")
    click.echo(table(rows_), nl=False)


def table(found: Sequence[Row]) -> str:
    """Return rows as a table; a number that the mode does not have is a dash."""
    head = ("SERVICE PORT", "ENDPOINT", "CONNECTIONS", "PACKETS IN", "BYTES IN", "PACKETS OUT", "BYTES OUT", "SKEW")
    lines: list[tuple[str, ...]] = [head]
    for row in found:
        name = f"{row.service} {row.protocol.lower()}" if not row.endpoint else ""
        place = f"{row.endpoint} {row.pod}".rstrip()
        numbers = (row.connections, row.packets_in, row.bytes_in, row.packets_out, row.bytes_out)
        shown = ["-" if one is None else f"{one:,}" for one in numbers]
        lines.append((name, place, *shown, "" if row.skew is None else f"{row.skew:.2f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join(_line(line, widths) for line in lines)


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(zip(line, widths, strict=True))]
    return "  ".join(cells).rstrip() + "\n"
