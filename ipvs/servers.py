"""Virtual and real servers in the kernel, of one family: observe, apply, drain.

Everything is idempotent: adding what exists edits it, editing what is gone adds it, removing what is gone succeeds, so a process that was
killed between any two messages leaves nothing that the next one cannot put right. Each error belongs to the key that it is about. A real
server that still has connections is not removed but drained (`drain`); a caller never sees those that drain.

`kernel` calls this for the stages of a plan, and `tick` every few seconds.
"""

import errno
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from pointsman.dataplane.contract import ABSENT, Change
from pointsman.dataplane.errors import KernelError
from pointsman.ipvs import answers, listing, wire
from pointsman.ipvs.channel import IpvsChannel
from pointsman.ipvs.datagrams import Request
from pointsman.ipvs.dns_frontends import Ruled, is_ruled
from pointsman.ipvs.drain import Drain, busy, waits
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.keys import Key, Value
from pointsman.ipvs.objects import Load, RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.netlink.channel import kernel_error
from pointsman.routing.route import Family

Server = VirtualKey | RealKey
Failed = dict[Key, KernelError]

_ADD = {wire.SET_VIRTUAL: wire.NEW_VIRTUAL, wire.SET_REAL: wire.NEW_REAL}
_EDIT = {new: edit for edit, new in _ADD.items()}
_GONE = (errno.ESRCH, errno.ENOENT)
_EMPTY = RealServer(weight=0)

MANY: Final = 256
"""Virtual servers above which one reading of everything costs less than to ask for each; limits that others set are not seen then."""


class Servers:
    """The kernel's servers of one family. `clock` is monotonic, in seconds.

    `gone` are addresses of endpoints that nobody waits for, `ended` servers that drain and are not to be waited for any longer; each is
    kept until it is removed. `ruled` are frontends of the cluster's DNS that rules lead: a virtual server that waits there for what drains
    would refuse what is meant for this node's resolver, so it goes at once.
    """

    def __init__(self, family: Family, drain: Drain, clock: Callable[[], float] = time.monotonic) -> None:
        self.family = family
        self.drain = drain
        self.gone: Collection[str] = frozenset()
        self.ruled: Collection[Ruled] = frozenset()
        self.ended: set[RealKey] = set()
        self._clock = clock
        self._channel: IpvsChannel | None = None

    async def channel(self) -> IpvsChannel:
        """Return the open channel. Raises KernelError."""
        if self._channel is None:
            self._channel = await IpvsChannel.open()
        return self._channel

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def observe(self, is_ours: Callable[[VirtualKey], bool]) -> dict[Key, Value]:
        """Return our virtual servers and what is behind them, without what drains."""
        ipvsadm = Ipvsadm(await self.channel())
        virtuals = [one for one in await ipvsadm.list_services() if one.key.family is self.family and is_ours(one.key)]
        found: dict[Key, Value] = {one.key: one.server for one in virtuals if one.key not in self.drain.held}
        for reals in await self._reals([one.key for one in virtuals]):
            found.update((one.key, one.server) for one in reals if one.key not in self.drain)
        return found

    async def total(self) -> int:
        """Return how many virtual servers there are, whoever made them; much cheaper than `count`, for nothing is decoded."""
        return len(await (await self.channel()).dump(wire.DUMP_VIRTUALS, "virtual servers"))

    async def count(self, is_ours: Callable[[VirtualKey], bool]) -> int:
        """Return how many virtual servers of ours there are; those that wait for draining ones are not counted."""
        held = self.drain.held
        virtuals = await Ipvsadm(await self.channel()).list_services()
        return sum(1 for one in virtuals if one.key.family is self.family and one.key not in held and is_ours(one.key))

    async def add(self, changes: Iterable[Change[Key, Value]]) -> Failed:
        """Add and edit servers, in order; return which failed."""
        requests: list[Request] = []
        some_drain = bool(self.drain.held or len(self.drain))
        for change in changes:
            key, value, there = change.key, change.after, change.before is not ABSENT
            if isinstance(key, RealKey):
                assert isinstance(value, RealServer)
                if some_drain and key in self.drain:
                    self.drain.release(key)
                    there = True
                requests.append((wire.SET_REAL if there else wire.NEW_REAL, key, value))
            else:
                assert isinstance(key, VirtualKey)
                assert isinstance(value, VirtualServer)
                if some_drain and key in self.drain.held:
                    self.drain.wanted(key)
                    there = True
                requests.append((wire.SET_VIRTUAL if there else wire.NEW_VIRTUAL, key, value))
        return await self._settle(requests)

    async def _settle(self, requests: Sequence[Request]) -> Failed:
        """Send requests; what is there already is edited, and what is gone is added."""
        channel = await self.channel()
        failed = await channel.apply(requests)
        again = [place for place, number in failed.items() if number in (_GONE if requests[place][0] in _ADD else (errno.EEXIST,))]
        if again:
            refused = await channel.apply([_otherwise(requests[place]) for place in again])
            failed = {place: number for place, number in failed.items() if place not in again}
            failed |= {again[index]: number for index, number in refused.items()}
        refusals = ((*requests[place][1:], number) for place, number in failed.items())
        return {key: kernel_error(number, _subject(key, value, number)) for key, value, number in refusals}

    async def delete(
        self,
        keys: Sequence[Server],
        unreachable: Collection[str] = frozenset(),
        may_drain: Callable[[VirtualKey], bool] = waits,
    ) -> Failed:
        """Remove servers; those with connections drain if they may, and if packets still reach them (`unreachable`: virtual addresses)."""
        virtuals = [key for key in keys if isinstance(key, VirtualKey)]
        at_once = {key for key in virtuals if key.address in unreachable or is_ruled(key, self.ruled)}
        reals = [key for key in keys if isinstance(key, RealKey) and key.virtual not in at_once]
        loads = await self._loads({key.virtual for key in reals if may_drain(key.virtual)}) if self.drain.cap > 0 else {}
        now = self._clock()
        going: list[Server] = []
        draining: list[RealKey] = []
        for key in reals:
            load = loads.get(key)
            if load is not None and busy(load) and key.address not in self.gone:
                self.drain.hold(key, load, now)
                draining.append(key)
            else:
                self.drain.release(key)
                going.append(key)
        channel = await self.channel()
        failed = _told(draining, await channel.apply((wire.SET_REAL, key, _EMPTY) for key in draining))
        for real in [real for real in self.drain.keys if real.virtual in at_once]:
            self.drain.release(real)
        going += [key for key in virtuals if key in at_once or not self.drain.hold_virtual(key)]
        return failed | await self._remove(going)

    async def tick(self, lost: Collection[RealKey] = ()) -> bool:
        """Look at what drains and remove what need not wait any more, `lost` ones in any case; return whether anything drains still."""
        lost = {*lost, *self.ended}
        if not len(self.drain) and not self.drain.held:
            self.ended.clear()
            return False
        loads = await self._loads({key.virtual for key in self.drain.keys})
        due = tuple(dict.fromkeys((*self.drain.due(loads, self.gone, self._clock()), *(key for key in lost if key in self.drain))))
        failed = await self._remove(due)
        for key in due:
            if key not in failed:
                self.drain.release(key)
        self.ended -= lost - failed.keys()
        await self._remove(self.drain.orphans())
        return len(self.drain) > 0

    async def _remove(self, keys: Sequence[Server]) -> Failed:
        return _told(keys, await (await self.channel()).apply(map(_removal, keys)))

    async def _reals(self, keys: Collection[VirtualKey]) -> list[Sequence[answers.Real]]:
        """Return the real servers of virtual servers, without counters; those of many in one reading."""
        channel = await self.channel()
        listed = await channel.run(listing.read) if len(keys) > MANY else {}
        rest = [key for key in keys if key not in listed]
        bodies = await channel.dumps([wire.dump_reals(key) for key in rest], "real servers")
        told = [[answers.quick_real(body, key) for body in some] for key, some in zip(rest, bodies, strict=True)]
        return [*(listed[key] for key in keys if key in listed), *told]

    async def _loads(self, keys: Collection[VirtualKey]) -> dict[RealKey, Load]:
        return {one.key: one.load for some in await self._reals(keys) for one in some}


def _otherwise(request: Request) -> Request:
    """Return the request that adds instead of editing, or edits instead of adding."""
    command, key, value = request
    return ({**_ADD, **_EDIT}[command], key, value)  # type: ignore[return-value]  # the same key and value


def _removal(key: Server) -> Request:
    return (wire.DELETE_REAL, key, None) if isinstance(key, RealKey) else (wire.DELETE_VIRTUAL, key, None)


def _subject(key: Server, value: VirtualServer | RealServer, number: int) -> str:
    """Return what an error is about: for a virtual server, ENOENT speaks of its scheduler."""
    if isinstance(value, VirtualServer) and number == errno.ENOENT:
        return f"{key}: scheduler {value.scheduler}, which this kernel lacks"
    return str(key)


def _told(keys: Sequence[Server], failed: Mapping[int, int]) -> Failed:
    return {keys[place]: kernel_error(number, str(keys[place])) for place, number in failed.items() if number not in _GONE}
