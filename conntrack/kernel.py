"""The kernel's connection tracking: judge all of it, list it, delete from it, follow it, read its counters.

    async with await ConntrackKernel.open() as kernel:
        sweep = await kernel.sweep(judge, Family.IPV4, wanted=WRONG)
        await kernel.delete([flow for flow, _ in sweep.taken])

A dump is no snapshot: entries that come and go while it runs may be missed or told twice. Who deletes looks again at what it decided by.
Everything happens on the channel's thread. Errors are KernelErrors; a dump that was interrupted gives what it gave (CT-05).
"""

import errno
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, Self

from msgspec import Struct
from pointsman.conntrack import wire
from pointsman.conntrack.channel import Channel, Talk
from pointsman.conntrack.classify import FlowClass, Judge, Judgement
from pointsman.conntrack.flow import Flow
from pointsman.conntrack.sweep import Sweep
from pointsman.conntrack.wire import EVERYTHING, Filter
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec
from pointsman.netlink.channel import EventsLostError, kernel_error
from pointsman.netlink.route import CREATE, EXCLUSIVE
from pointsman.routing.route import Family

INTERRUPTED: Final = frozenset({errno.EINTR, errno.EAGAIN})
_GONE: Final = errno.ENOENT
_QUIET_SECONDS: Final = 1.0
LIMIT: Final = 1_000_000
"""So many flows are handed over at most."""


class Swept(Struct, frozen=True):
    """What a pass found: how many flows by class and Service port, those that were asked for, how many could not be read.

    `more` is how many were asked for and exceeded the limit.
    """

    counts: Counter[tuple[FlowClass, str]]
    taken: tuple[tuple[Flow, Judgement], ...]
    unreadable: int
    complete: bool = True
    more: int = 0


class What(Enum):
    """What happened to an entry."""

    NEW = "new"
    UPDATE = "update"
    DESTROY = "destroy"


class Event(Struct, frozen=True, gc=False):
    """One entry began, changed or ended."""

    what: What
    flow: Flow


class CpuCounters(Struct, frozen=True, gc=False):
    """What one CPU counted since the kernel started; `clash_resolve` are packets of one socket that were tracked at the same time."""

    cpu: int
    found: int = 0
    invalid: int = 0
    insert: int = 0
    insert_failed: int = 0
    drop: int = 0
    early_drop: int = 0
    error: int = 0
    search_restart: int = 0
    clash_resolve: int = 0
    chain_too_long: int = 0


_COUNTED: Final = {
    2: "found", 4: "invalid", 8: "insert", 9: "insert_failed", 10: "drop", 11: "early_drop", 12: "error", 13: "search_restart",
    14: "clash_resolve", 15: "chain_too_long",
}  # fmt: skip


class Fill(Struct, frozen=True):
    """How many entries there are in this network namespace, and how many there may be (0 = the kernel does not say)."""

    count: int
    most: int


class ConntrackKernel:
    """The connection tracking of one network namespace; made by `open`, an asynchronous context manager."""

    def __init__(self, channel: Channel) -> None:
        """Use an open channel."""
        self._channel = channel

    @classmethod
    async def open(cls, *, light: bool = False) -> Self:
        """Open it in the caller's network namespace; `light` as `Channel.open` has it. Raises KernelError."""
        return cls(await Channel.open(light=light))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the socket."""
        await self._channel.close()

    async def sweep(
        self,
        prepare: Callable[[], Judge],
        family: Family,
        wanted: frozenset[FlowClass] = frozenset(),
        only: Filter = EVERYTHING,
        limit: int = LIMIT,
    ) -> Swept:
        """Judge every entry of a family, or of a protocol. Raises KernelError.

        `prepare` makes the judge on the channel's thread, for that is work too.
        """
        return await self._channel.use(lambda talk: _sweep(talk, Sweep(prepare(), family, wanted, limit, only.protocol), only))

    async def flows(
        self, family: Family | None = None, only: Filter = EVERYTHING, keep: Callable[[Flow], bool] | None = None
    ) -> list[Flow]:
        """Return the entries that the kernel's filter leaves in and `keep` wants. Raises KernelError."""
        return await self._channel.use(lambda talk: list(_flows(talk, family, only, keep)))

    async def delete(self, flows: Sequence[Flow]) -> tuple[int, dict[int, KernelError]]:
        """Delete these very entries; return how many went, and why others could not be, by place. One that is gone already is no error."""
        bodies = [wire.delete(flow) for flow in flows]
        failed = await self._channel.use(lambda talk: talk.apply(wire.DELETE, bodies, "connection tracking"))
        errors = {place: kernel_error(number, flows[place].line()) for place, number in failed.items() if number != _GONE}
        return len(flows) - len(failed), errors

    async def create(self, flows: Iterable[Flow]) -> dict[int, int]:
        """Add entries; return the errno of each that the kernel refused, by place. For tests and measurements."""
        bodies = [wire.create(flow) for flow in flows]
        return await self._channel.use(lambda talk: talk.apply(wire.NEW, bodies, "connection tracking", CREATE | EXCLUSIVE))

    async def fill(self) -> Fill:
        """Return how full the table is. Raises KernelError."""
        bodies = await self._channel.use(lambda talk: talk.ask(wire.GET_STATISTICS, wire.statistics(), "connection tracking"))
        numbers = wire.numbers(bodies[0]) if bodies else {}
        return Fill(numbers.get(1, 0), numbers.get(2, 0))

    async def counters(self) -> tuple[CpuCounters, ...]:
        """Return what each CPU counted, of all network namespaces' share in this one. Raises KernelError."""
        bodies = await self._channel.use(
            lambda talk: talk.ask(wire.GET_CPU_STATISTICS, wire.statistics(), "connection tracking", codec.DUMP)
        )
        return tuple(_counters(body) for body in bodies)


def summed(counters: Iterable[CpuCounters]) -> Mapping[str, int]:
    """Return the sums over all CPUs by name."""
    return {name: sum(getattr(one, name) for one in counters) for name in _COUNTED.values()}


async def events(groups: Sequence[What] = tuple(What), *, lost: Callable[[], None] = lambda: None) -> AsyncIterator[Event]:
    """Yield what happens to entries until closed; `lost` is called where the kernel dropped some, for they came too fast. KernelError."""
    channel = await Channel.open([wire.GROUPS[one.value] for one in groups])
    try:
        while True:
            for event in await channel.use(lambda talk: _arrived(talk, lost)):
                yield event
    finally:
        await channel.close()


def _arrived(talk: Talk, lost: Callable[[], None]) -> list[Event]:
    try:
        raw = talk.receive(_QUIET_SECONDS)
    except EventsLostError:
        lost()
        return []
    except KernelError as error:
        if error.kind is ErrorKind.TIMEOUT:
            return []
        raise
    found = []
    for message in codec.messages(raw):
        if message.type in (wire.NEW, wire.DELETE) and message.body[0] in wire.FAMILIES:
            begins = What.NEW if message.flags & CREATE else What.UPDATE
            found.append(Event(What.DESTROY if message.type == wire.DELETE else begins, wire.flow(message.body)))
    return found


def _sweep(talk: Talk, sweep: Sweep, only: Filter) -> Swept:
    complete = True
    try:
        for raw in talk.stream(wire.GET, wire.dump(sweep.family, only), "connection tracking"):
            if sweep.datagram(raw):
                break
    except OSError as error:
        if error.errno not in INTERRUPTED:
            raise
        complete = False
    counts = sweep.counts()
    sweep.release()
    return Swept(counts, tuple(sweep.taken), sweep.unreadable, complete, sweep.more)


def _flows(talk: Talk, family: Family | None, only: Filter, keep: Callable[[Flow], bool] | None) -> Iterable[Flow]:
    for raw in talk.stream(wire.GET, wire.dump(family, only), "connection tracking"):
        for message in codec.messages(raw):
            if message.type in (codec.DONE, codec.ERROR):
                if number := codec.error_number(message):
                    raise kernel_error(number, "connection tracking")
                return
            if message.type == wire.NEW and message.body[0] in wire.FAMILIES:
                flow = wire.flow(message.body)
                if only.admits(flow) and (keep is None or keep(flow)):
                    yield flow


def _counters(body: memoryview) -> CpuCounters:
    numbers = wire.numbers(body)
    cpu = int.from_bytes(body[2:4], "big")
    return CpuCounters(cpu, **{name: numbers.get(kind, 0) for kind, name in _COUNTED.items()})
