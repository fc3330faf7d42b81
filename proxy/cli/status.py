"""`pointsman status`: how far the agent is, what fails since when and why, what drains, who else wrote, and how much room there is.

Everything is the agent's own account (`/v1/status`, `/v1/drain`, and of its DNS) but the fill of connection tracking, which the kernel is
asked for. Memory and the last write stand beside what they may be (budgets). Each entry says since when, and because of what. `pointsman
diff` looks whether the kernel agrees.
"""

import asyncio
from datetime import UTC, datetime

import click
import msgspec
from msgspec import Struct
from pointsman.conntrack.kernel import ConntrackKernel, Fill
from pointsman.dataplane.errors import KernelError
from pointsman.proxy.cli import dns_state, wanted
from pointsman.proxy.cli.dns_state import DnsState
from pointsman.proxy.cli.services import UnreachableError, fetch
from pointsman.proxy.cli.table import heading
from pointsman.proxy.config import Config
from pointsman.proxy.drained import DrainReport
from pointsman.proxy.machine import setting
from pointsman.proxy.report import SCHEMA, StatusReport
from pointsman.proxy.status import FamilyStatus

EPILOG = """\b
Examples:
  pointsman status
  pointsman status -o json | jq '.families[] | {family, inSyncSince, failing}'

\b
Exit status:
  0  everything that is wanted is programmed
  1  something waits, fails or is missing, or cannot be read
  2  the command line is wrong
  3  no agent answers on the socket
"""

LATE = 60.0
"""Seconds after which something that is owed counts as late."""

NAMED = 10

SMALL, LARGE = 1_000, 10_000
"""The budgets hold for so many Services of ten endpoints each; the smaller ones for up to `SMALL`."""
MEMORY, MEMORY_OF_DNS = (80, 150), 60
"""MiB of resident memory: of the agent, in a small and a large cluster, and of its resolver."""
CHANGE = {("ipvs", ""): (0.020, 0.025), ("iptables", "legacy"): (0.1, 0.8)}
"""Seconds for one changed endpoint by mode and variant; iptables' nft variant has no budget, as its tool rereads all rules."""


class Conntrack(Struct, frozen=True):
    """How full the table of connections is; None where it cannot be read."""

    entries: int
    limit: int


class Report(Struct, frozen=True, rename="camel"):
    """The document: the agent's status, what drains, connection tracking; and in a sentence each what is not as it should be."""

    schema: str
    agent: StatusReport
    drain: DrainReport
    conntrack: Conntrack | None
    troubles: tuple[str, ...]
    dns: DnsState | None = None


@click.command("status", epilog=EPILOG)
@click.option("--socket", "path", default=Config().socket, show_default=True, metavar="PATH", help="The agent's socket.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or for programs.")
def command(path: str, output: str) -> int:
    """Show how far the agent is, what fails since when and why, what drains, and who else wrote."""
    try:
        agent = msgspec.json.decode(fetch(path, "/v1/status"), type=StatusReport)
        drain = msgspec.json.decode(fetch(path, "/v1/drain"), type=DrainReport)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{path}: the agent's answer is not understood ({error}); use the same version of pointsman") from error
    dns, silent = resolver(path)
    wrong = (*troubles(agent), *dns_troubles(agent, dns, silent))
    found = Report(SCHEMA, agent, drain, asyncio.run(_conntrack()), wrong, dns)
    if output == "json":
        wanted.write(found)
    else:
        click.echo(text(found, datetime.now(UTC)), nl=False)
    return 1 if found.troubles else 0


def resolver(path: str) -> tuple[DnsState | None, str]:
    """Return the state of the agent's DNS, or None and why it does not tell (empty if there is none)."""
    try:
        return dns_state.read(path), ""
    except UnreachableError as error:
        return None, error.format_message()


def dns_troubles(agent: StatusReport, dns: DnsState | None, silent: str) -> list[str]:
    """Return what is wrong with DNS where the agent is to run it."""
    if not agent.dns:
        return []
    if dns is None:
        return [f"DNS is to run here and does not: {silent or 'its sockets could not be opened yet'}; look at the agent's log"]
    return [trouble] if (trouble := dns_state.trouble(dns)) else []


async def _conntrack() -> Conntrack | None:
    try:
        async with await ConntrackKernel.open() as kernel:
            fill: Fill = await kernel.fill()
    except KernelError:
        return None
    return Conntrack(fill.count, fill.most or int(setting("net.netfilter.nf_conntrack_max") or 0))


def troubles(agent: StatusReport) -> list[str]:
    """Return everything that is not as it should be, each with since when and why."""
    found = []
    if agent.waiting_for:
        found.append(f"nothing is programmed yet, because {' and '.join(agent.waiting_for)} objects have not been listed completely")
    for family in agent.families:
        found += [f"{family.family}: {one}" for one in _family_troubles(family)]
    return found + [f"not all that is wanted is known: {one}" for one in agent.problems]


def _family_troubles(family: FamilyStatus) -> list[str]:
    found = []
    if family.stalled_seconds > LATE:
        found.append(f"stuck since {family.stalled_seconds:.0f} s, because the kernel could not be read or a write does not end")
    if family.pending_since is not None:
        because = family.apply.last_error or "the latest changes have not been written yet"
        found.append(f"revision {family.revision_wanted} is wanted since {_clock(family.pending_since)}, not applied because: {because}")
    for key in family.failing[:NAMED]:
        again = f"tried {key.attempts} times, again at {_clock(key.next_try)}"
        found.append(f"{key.subject} fails since {_clock(key.since)}, because {key.text} ({again})")
    if family.failing_keys > NAMED:
        found.append(f"{family.failing_keys - NAMED} more fail")
    return found


def text(found: Report, now: datetime) -> str:
    """Return the report for people."""
    lines = [heading(found.agent)]
    for family in found.agent.families:
        applied = f"revision {family.revision_applied} applied of {family.revision_wanted} wanted"
        since = f", in sync since {_clock(family.in_sync_since)} ({_age(family.in_sync_since, now)})" if family.in_sync_since else ""
        lines.append(f"{family.family}: {applied}{since}")
        lines.append(f"  kernel last read {_age(family.read_at, now)}, last change from the API {_age(family.queued_at, now)}")
        if family.apply.total:
            last = f"the last {_age(family.apply.last_at, now)} in {family.apply.last_seconds:.3f} s{_budget_of_change(found.agent)}"
            lines.append(f"  {family.apply.total} writes, {last}")
        foreign = family.foreign
        if foreign.noticed:
            culprit = f" by {foreign.last_culprit}" if foreign.last_culprit else ", by whom nobody saw"
            said = f"the last {_age(foreign.last_at, now)}: {foreign.last_what}{culprit}"
            lines.append(f"  {foreign.noticed} foreign changes noticed, {foreign.repaired_keys} objects repaired; {said}")
    for one in found.drain.draining:
        count = one.active_connections + one.inactive_connections
        lines.append(f"draining: {one.server} of {one.service or one.virtual_server} since {_clock(one.since)}, {count} connections left,"
                     f" removed by {_clock(one.removed_by)}")  # fmt: skip
    if found.conntrack is not None:
        share = f" of {found.conntrack.limit:,} ({found.conntrack.entries / found.conntrack.limit:.0%})" if found.conntrack.limit else ""
        lines.append(f"connection tracking: {found.conntrack.entries:,} entries{share}")
    lines += _budget(found)
    if found.dns is not None and found.dns.serving:
        lines += dns_state.lines(found.dns)
    lines += [f"{one.severity}: {one.subject}: {one.field}: {one.text}" for one in found.agent.notices]
    lines += [f"trouble: {one}" for one in found.troubles] or ["all that is wanted is programmed"]
    return "\n".join(lines) + "\n"


def _budget_of_change(agent: StatusReport) -> str:
    """Return what one changed endpoint may take; the first write of all takes longer."""
    allowed = CHANGE.get((agent.mode, agent.variant)) or CHANGE.get((agent.mode, ""))
    if allowed is None or agent.services > LARGE:
        return ""
    return f" (one change may take {allowed[agent.services > SMALL]:.3f} s)"


def _budget(found: Report) -> list[str]:
    agent, dns = found.agent, found.dns
    parts = []
    if agent.resident_bytes and agent.services <= LARGE:
        parts.append(_used("the agent", agent.resident_bytes, MEMORY[agent.services > SMALL]))
    if dns is not None and dns.resident_bytes:
        parts.append(_used("its resolver", dns.resident_bytes, MEMORY_OF_DNS))
    return [f"memory: {'; '.join(parts)}"] if parts else []


def _used(who: str, size: int, allowed: int) -> str:
    return f"{who} has {size / 2**20:.0f} MiB of the {allowed} MiB that it may have ({size / 2**20 / allowed:.0%})"


def _clock(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "?"


def _age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = max(0.0, (now - moment).total_seconds())
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"
