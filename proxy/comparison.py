"""What should be against what is, over everything that decides where Services' packets go: the comparison behind `diff` and `doctor`.

Besides the mode's own objects (`inspection`) two things decide as well and are compared too: settings without which packets are not passed
on, and flows of connection tracking that go on to where a new one would not go (UDP: a sender that keeps its socket keeps its flow; a TCP
connection ends with its peers, and is not told). Rules of other programs that can refuse packets are no difference, but stand `beside`.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct
from pointsman.conntrack.classify import WRONG
from pointsman.conntrack.flow import NUMBERS
from pointsman.conntrack.kernel import ConntrackKernel
from pointsman.conntrack.wire import Filter
from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.trace import Difference
from pointsman.explain.findings import Level
from pointsman.explain.machine import ForeignTable, packet_settings
from pointsman.proxy import machine
from pointsman.proxy.inspection import inspector
from pointsman.proxy.judging import judge_of
from pointsman.proxy.known import Known
from pointsman.proxy.report import SCHEMA
from pointsman.proxy.status import FailingKey
from pointsman.routing.route import Family, Protocol

FLOWS = 50
"""So many flows are told one by one."""
TRACKED = "conntrack "
"""Where a flow is, before its class."""


class Entry(Struct, frozen=True, rename="camel"):
    """A difference with its family, since when the agent works on it, and why it is there, where that is known."""

    family: str
    subject: str
    text: str
    where: str
    wanted: str
    found: str
    since: str = ""
    because: str = ""


class DiffReport(Struct, frozen=True, rename="camel"):
    """The document; `beside` are rules of other programs that can refuse packets."""

    schema: str
    node: str
    mode: str
    origin: str
    differences: tuple[Entry, ...]
    unread: tuple[str, ...] = ()
    beside: tuple[ForeignTable, ...] = ()


async def compare(known: Known, service: str = "") -> DiffReport:
    """Read the kernel and return what differs, of one Service (`namespace/name`) and the node, or of all."""
    seen, routing = known.picture, known.picture.routing()
    entries: list[Entry] = []
    unread: list[str] = []
    for family in [Family(one.family) for one in seen.families] or list(Family):
        try:
            looker = await inspector(seen.mode, seen.config, seen.variant)
            differences = [*await looker.differences(family, routing, seen.node), *settings(family), *await stale(known, family)]
        except KernelError as error:
            unread.append(f"{family.value}: {error}")
            continue
        failing = {key.subject: key for one in seen.families if one.family == family.value for key in one.failing}
        entries += [_entry(one, family, known, failing) for one in differences if _concerns(one, service)]
    beside = await machine.refusing()
    return DiffReport(SCHEMA, seen.node.name, seen.mode, known.origin, tuple(entries), tuple(unread), beside)


def settings(family: Family) -> Iterator[Difference]:
    """Yield settings that keep packets of a family from being passed on."""
    for one in packet_settings(machine.settings(), family):
        if one.level is Level.BAD:
            yield Difference("node", f"{one.text}: {one.why}", f"sysctl {one.topic}", "1", "0")


async def stale(known: Known, family: Family) -> tuple[Difference, ...]:
    """Return the UDP flows that go where a new one would not go; none where connection tracking cannot be read.

    While an agent has not read everything, nobody knows where a new one would go: none either.
    """
    if known.picture.waiting_for:
        return ()
    try:
        async with await ConntrackKernel.open() as kernel:
            only = Filter(protocol=NUMBERS[Protocol.UDP])
            swept = await kernel.sweep(lambda: judge_of(known), family, WRONG, only)
    except KernelError:
        return ()
    return tuple(
        Difference(f"{one.service} udp" if one.service else "node", f"a flow of {flow.client} goes on {one.reason}",
                   f"{TRACKED}{one.kind.value}", "", flow.line())
        for flow, one in swept.taken[:FLOWS]
    )  # fmt: skip


def _concerns(one: Difference, service: str) -> bool:
    return not service or one.subject == "node" or one.subject.partition(" ")[0].partition(":")[0] == service


def _entry(one: Difference, family: Family, known: Known, failing: Mapping[str, FailingKey]) -> Entry:
    key = failing.get(one.key)
    status = next((each for each in known.picture.families if each.family == family.value), None)
    since, because = "", "no agent was asked" if not known.live else "the agent has not programmed this family yet"
    if one.where.startswith(TRACKED) or one.where.startswith("sysctl "):
        because = ""
    elif key is not None:
        since, because = f"{key.since:%Y-%m-%dT%H:%M:%SZ}", f"the kernel refuses it ({key.attempts} attempts): {key.text}"
    elif status is not None and status.pending_since is not None:
        since, because = f"{status.pending_since:%Y-%m-%dT%H:%M:%SZ}", "the agent has not applied its latest changes yet"
    elif status is not None and status.in_sync_since is not None:
        since = f"{status.read_at:%Y-%m-%dT%H:%M:%SZ}" if status.read_at else ""
        because = "the agent last read the kernel then and found it as wanted: somebody changed it since"
    return Entry(family.value, one.subject, one.text, one.where, one.wanted, one.found, since, because)
