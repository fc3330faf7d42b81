"""`pointsman conntrack`: the kernel's connection tracking with names, and what is to be thought of each flow.

It reads the network namespace that it runs in. What is wanted comes from the running agent, or from manifests or the API where no agent
runs (`wanted`); what was served and is no more, from the agent's notes beside its socket (`judging`). Nothing is changed but by
`flush --yes`.
`conntrack_rows` joins and picks, `conntrack_advice` judges counters and settings, `conntrack_table` draws.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import click
from pointsman.conntrack import sysctl
from pointsman.conntrack.classify import WRONG, FlowClass, Judge
from pointsman.conntrack.flow import Flow
from pointsman.conntrack.kernel import ConntrackKernel, events
from pointsman.conntrack.wire import EVERYTHING, Filter
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.sysctl import read_sysctl
from pointsman.proxy import privileges
from pointsman.proxy.cli import conntrack_advice as advice
from pointsman.proxy.cli import conntrack_rows as rows
from pointsman.proxy.cli import conntrack_table as table
from pointsman.proxy.cli import wanted
from pointsman.proxy.cli.conntrack_rows import Choice, FlowRow, FlowsReport
from pointsman.proxy.flags import FlagCommand
from pointsman.proxy.judging import judge_of
from pointsman.proxy.known import Known
from pointsman.routing.route import Family

_T = TypeVar("_T")
_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}
_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SETTINGS = (
    "nf_conntrack_max", "nf_conntrack_buckets", "nf_conntrack_tcp_timeout_established", "nf_conntrack_tcp_timeout_close_wait",
    "nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream", "nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose",
    "nf_conntrack_acct", "nf_conntrack_timestamp", "nf_conntrack_events",
)  # fmt: skip

EPILOG = f"""\b
Classes:
  ok              to an endpoint that takes connections
  draining        to an endpoint that serves on, but takes no new ones
  stale-backend   to an endpoint that is gone
  stale-frontend  through an address or port that is no Service's any more
  unnatted        to a Service, but not translated: made while there were no endpoints or no rules
  recycled        the endpoint's address belongs to another pod now
  clash           its port was changed, for another flow between the same ends was there
  foreign         translated by somebody else
  not-a-service   no Service plays a part

\b
Examples:
  pointsman conntrack list --service shop/db -o wide   who talks to it, through what, and why it is well or not
  pointsman conntrack stale --watch                    flows that go where new ones would not, as they come
  pointsman conntrack flush --class stale-backend      what would be deleted, entry by entry; --yes deletes it
  pointsman conntrack top                              who has most entries
  pointsman conntrack stats                            how full the table is, what was dropped, and what to do

{wanted.STATUS}
\b
Exit status:
  0  done; `stale`: there are none; `sysctl`: nothing has drifted
  1  `stale`: there are some; `sysctl`: something has drifted; `flush --yes`: an entry could not be deleted
  2  the command line is wrong
  3  no agent answers, and no other source was named; or it has not read yet what is wanted
  4  the kernel could not be asked: the reason is on standard error
"""


class KernelFailedError(click.ClickException):
    """The kernel could not be asked."""

    exit_code = 4


@click.group("conntrack", epilog=EPILOG, context_settings={"max_content_width": 120})
def command() -> None:
    """Look at tracked connections with the names of Services and pods, and at what is wrong with them."""


def _shown(function: Callable[..., int]) -> Callable[..., int]:
    choices = click.Choice(["table", "wide", "json"])
    text = "A table for people (wide: names, times and reasons too), or JSON for programs."
    return click.option("-o", "--output", type=choices, default="table", show_default=True, help=text)(function)


def _picked(function: Callable[..., int]) -> Callable[..., int]:
    """Give a subcommand the options that pick flows out."""
    for option in (
        click.option("--service", "services", multiple=True, metavar="NS/NAME[:PORT]", help="Flows of this Service; may be repeated."),
        click.option("--pod", "pods", multiple=True, metavar="NS/NAME", help="Flows from or to this pod; may be repeated."),
        click.option("--class", "classes", multiple=True, type=click.Choice([one.value for one in FlowClass]), help="Of this class."),
        click.option("--proto", "protocol", type=click.Choice(list(_NUMBERS)), default=None, help="Of this protocol."),
        click.option("--from", "source", default="", metavar="WHO", help="From an address, a range, ADDRESS:PORT, or NS/POD."),
        click.option("--to", "destination", default="", metavar="WHERE", help="To a frontend or backend, written like --from, or :PORT."),
        click.option("--since", default="", metavar="TIME", help="Begun within this time, such as 5m (needs nf_conntrack_timestamp)."),
    ):
        function = option(function)
    return function


@command.command("list", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@_picked
@_shown
@click.pass_context
def show_list(ctx: click.Context, /, output: str, **values: Any) -> int:
    """List tracked connections with names and classes."""
    report = _found(wanted.known(ctx, values), _choice(values))
    if output == "json":
        wanted.write(report)
    else:
        click.echo(table.flows(report, wide=output == "wide"), nl=False)
    return 0


@command.command("stale", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@click.option("--watch", is_flag=True, help="Look again and again, and tell what is new, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True, metavar="SECONDS", help="Pause of --watch.")
@_picked
@_shown
@click.pass_context
def show_stale(ctx: click.Context, /, output: str, interval: float, *, watch: bool, **values: Any) -> int:
    """List flows that go where new ones would not, each with the reason."""
    choice = _choice(values, default=WRONG)
    told: set[int] = set()
    while True:
        report = _found(wanted.known(ctx, values), choice)
        fresh = tuple(one for one in report.flows if one.identity not in told)
        told = {one.identity for one in report.flows}
        if output == "json" and (fresh or not watch):
            wanted.write(report)
        elif output != "json":
            click.echo(table.wrong(_only(report, fresh)) + ("" if watch else table.summary(report)), nl=False)
        if not watch:
            return 1 if report.flows else 0
        time.sleep(interval)


@command.command("flush", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@click.option("--yes", is_flag=True, help="Delete them; without it they are only shown.")
@click.option("--dry-run", is_flag=True, help="Only show them; this is the default.")
@_picked
@_shown
@click.pass_context
def flush(ctx: click.Context, /, output: str, *, yes: bool, dry_run: bool, **values: Any) -> int:
    """Delete tracked connections by class, Service or pod; without --yes they are only shown, entry by entry."""
    if yes and dry_run:
        raise click.UsageError("--yes and --dry-run contradict each other")
    choice = _choice(values)
    if choice.empty:
        raise click.UsageError("say which: --class, --service, --pod, --proto, --from or --to (all entries: conntrack -F)")
    report, errors = _asked(_flush(wanted.known(ctx, values), choice, act=yes))
    if output == "json":
        wanted.write({"deleted": yes, "flows": report.flows, "errors": errors})
    else:
        click.echo(table.entries(report.flows), nl=False)
        if yes:
            click.echo(f"{len(report.flows) - len(errors):,} entries deleted")
        else:
            click.echo(f"{len(report.flows):,} entries would be deleted; nothing was changed, --yes does it")
    for error in errors:
        click.echo(f"not deleted: {error}", err=True)
    return 1 if errors else 0


@command.command("top", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@click.option("--once", is_flag=True, help="Entries only, without waiting for rates.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True, metavar="SECONDS", help="For rates.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="NUMBER", help="So many of each.")
@_shown
@click.pass_context
def show_top(ctx: click.Context, /, output: str, interval: float, limit: int, *, once: bool, **values: Any) -> int:
    """Show which Services and pods have most entries, and how many new ones come per second."""
    judge = _judge(wanted.known(ctx, values))
    first = _asked(_totals(judge))
    began, second = time.monotonic(), None
    if not once:
        time.sleep(interval)
        second = _asked(_totals(judge))
    report = rows.top(None if second is None else first, second or first, time.monotonic() - began if second else 0.0, limit)
    if output == "json":
        wanted.write(report)
    else:
        click.echo(table.top(report), nl=False)
    return 0


@command.command("stats")
@_shown
def show_stats(output: str) -> int:
    """Show how full the table is, what each CPU counted (drops, failed insertions, clashes), and what to do about it."""
    report = _asked(_stats())
    if output == "json":
        wanted.write(report)
    else:
        click.echo(table.stats(report), nl=False)
    return 0


@command.command("watch", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@_picked
@_shown
@click.pass_context
def watch(ctx: click.Context, /, output: str, **values: Any) -> int:
    """Show live how connections begin, change and end, with names and classes, until Ctrl-C."""
    _asked(_watch(_judge(wanted.known(ctx, values)), _choice(values), output))
    return 0


@command.command("sysctl", cls=FlagCommand, flags=wanted.SOURCE_FLAGS)
@_shown
@click.pass_context
def show_sysctl(ctx: click.Context, /, output: str, **values: Any) -> int:
    """Show the settings of connection tracking, what has drifted from the agent's configuration, and advice."""
    limits = privileges.limits(wanted.known(ctx, values).picture.config)
    found = {f"net/netfilter/{name}": read_sysctl(f"net/netfilter/{name}") for name in _SETTINGS}
    report = advice.sysctls(found, sysctl.wanted(limits, sysctl.count_cpus()))
    if output == "json":
        wanted.write(report)
    else:
        click.echo(table.sysctls(report), nl=False)
    return 1 if any(one.drifted for one in report.settings) else 0


# --- the kernel ------------------------------------------------------------------------------------------------------


def _choice(values: Mapping[str, Any], default: frozenset[FlowClass] = frozenset()) -> Choice:
    classes = frozenset(FlowClass(name) for name in values["classes"]) or default
    for name in (*values["services"], *values["pods"]):
        if not all(name.partition("/")[::2]):
            raise click.UsageError(f"{name!r} is no name; write NAMESPACE/NAME, such as shop/web")
    return Choice(
        tuple(values["services"]), tuple(values["pods"]), classes, values["protocol"] or "", values["source"], values["destination"],
        _since(values["since"]),
    )  # fmt: skip


def _since(text: str) -> float:
    if not text:
        return 0.0
    found = _AGO.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--since={text}: write a time such as 90s, 5m, 2h or 1d")
    if not read_sysctl("net/netfilter/nf_conntrack_timestamp"):
        fix = "sysctl -w net.netfilter.nf_conntrack_timestamp=1"
        raise click.UsageError(f"--since: this kernel does not note when flows begin; switch it on for new ones: {fix}")
    return time.time() - int(found[1]) * _SECONDS[found[2]]


def _judge(known: Known, *, deletes: bool = False) -> Judge:
    """Return what judges flows; ends the command where too little is known for that (pain 10)."""
    seen = known.picture
    waits = " and ".join(f"{kind} objects" for kind in seen.waiting_for)
    if not waits and known.live and not any(one.revision_wanted is not None for one in seen.families):
        waits = "what this node is; `pointsman status` says more"
    if waits:
        text = f"{known.origin} does not know yet what is wanted, so healthy flows would look wrong; it waits for {waits}"
        raise wanted.WantedError(f"{text}; ask again later")
    return judge_of(known, deletes=deletes)


def _filter(choice: Choice) -> Filter:
    return Filter(protocol=_NUMBERS[choice.protocol]) if choice.protocol else EVERYTHING


def _found(known: Known, choice: Choice) -> FlowsReport:
    judge = _judge(known)
    found, counted, unreadable = _asked(_sweep(judge, choice))
    return rows.report(found.values(), counted, unreadable)


async def _sweep(judge: Judge, choice: Choice) -> tuple[dict[tuple[int, str], FlowRow], Counter[FlowClass], int]:
    """Return the flows that are wanted by identity and family, how many there are of each class, and how many could not be read."""
    found: dict[tuple[int, str], FlowRow] = {}
    counted: Counter[FlowClass] = Counter()
    unreadable = 0
    async with await ConntrackKernel.open() as kernel:
        for family in Family:
            swept = await kernel.sweep(lambda: judge, family, choice.classes or frozenset(FlowClass), _filter(choice))
            unreadable += swept.unreadable
            for (kind, _), count in swept.counts.items():
                counted[kind] += count
            for flow, judgement in swept.taken:
                one = rows.row(flow, judgement, judge.names.of)
                if choice.wants(one):
                    found[flow.identity, family.value] = one
    return found, counted, unreadable


async def _flush(known: Known, choice: Choice, *, act: bool) -> tuple[FlowsReport, list[str]]:
    judge = _judge(known, deletes=True)
    doomed: list[Flow] = []

    def wants(flow: Flow) -> bool:
        return choice.wants(rows.row(flow, judge.judge(flow), judge.names.of))

    errors: list[str] = []
    async with await ConntrackKernel.open() as kernel:
        for family in Family:
            doomed += await kernel.flows(family, _filter(choice), wants)
        if act and doomed:
            _, failed = await kernel.delete(doomed)
            errors = [str(error) for error in failed.values()]
    shown = [rows.row(flow, judge.judge(flow), judge.names.of) for flow in doomed]
    return rows.report(shown, Counter(FlowClass(one.flow_class) for one in shown), 0), errors


async def _totals(judge: Judge) -> rows.Totals:
    totals = rows.Totals(judge)

    def add(flow: Flow) -> bool:
        totals.add(flow)
        return False

    async with await ConntrackKernel.open() as kernel:
        await kernel.flows(None, EVERYTHING, add)
    return totals


async def _stats() -> advice.StatsReport:
    async with await ConntrackKernel.open() as kernel:
        limit = read_sysctl("net/netfilter/nf_conntrack_max") or 0
        return advice.stats(await kernel.fill(), await kernel.counters(), limit)


async def _watch(judge: Judge, choice: Choice, output: str) -> None:
    def lost() -> None:
        click.echo("some events were lost: they came faster than they could be read", err=True)

    async for event in events(lost=lost):
        one = rows.row(event.flow, judge.judge(event.flow), judge.names.of)
        if choice.wants(one):
            if output == "json":
                click.echo(rows.line(event.what.value, one))
            else:
                click.echo(table.event(event.what.value, one) + (f" ({one.reason})" if output == "wide" else ""))


def _only(report: FlowsReport, flows: tuple[FlowRow, ...]) -> FlowsReport:
    return FlowsReport(report.schema, flows, report.classes, report.unreadable)


def _asked(question: Awaitable[_T]) -> _T:
    async def ask() -> _T:
        return await question

    try:
        return asyncio.run(ask())
    except KernelError as error:
        hint = "; ask as root" if error.kind is ErrorKind.DENIED else ""
        raise KernelFailedError(f"{error}{hint}") from error
