"""Noticing that somebody else changed our tables, in well under a second (pain 42).

**legacy**: the kernel tells nobody. But one getsockopt returns a table's number of rules, its size and the offsets of its hooks in
microseconds; asked twice a second, a difference from what we last saw is a foreign change. Whoever replaces rules one for one with the
same size escapes this; the periodic observation is for them.

**nft**: the kernel multicasts each change, and with each generation who made it. Only what can be ours counts: our chains, deletions from
built-in chains (our hooks live there), whole tables. Other tables, and rules that others add to chains of theirs, wake nobody.

**Our own writes** are told apart by counting. While we write, the events are not subscribed: a cold start would send a hundred thousand.
Generations count transactions of the whole network namespace, and a restore makes one per table: if the number grew by more than that
during our turn, somebody else was there as well. Legacy fingerprints are compared before and taken anew after each turn.

How often a report leads to an observation is `dataplane.lookout`'s business. Sources: linux/netfilter_ipv4/ip_tables.h (IPT_SO_GET_INFO),
nf_tables.h; IPT-40.
"""

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, Protocol

from pointsman.dataplane.contract import ForeignChange
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Variant, legacy_tables
from pointsman.iptables.writer import Commit
from pointsman.netlink import nftables
from pointsman.netlink.channel import Channel, EventsLostError
from pointsman.netlink.codec import MalformedError
from pointsman.routing.route import Family

TABLES: Final = ("nat", "filter", "mangle")
SOMETIMES: Final = "raw"
"""One more table where it exists: asking for it would make it, and few need it (`local_dns`)."""
BUILT_IN: Final = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
_GET_INFO: Final = 64
_INFO_BYTES: Final = 84
_NAME_BYTES: Final = 32
_ATTEMPTS: Final = 8
_LEVELS: Final = {Family.IPV4: (socket.AF_INET, socket.IPPROTO_IP), Family.IPV6: (socket.AF_INET6, socket.IPPROTO_IPV6)}


class Watch(Protocol):
    """Watches the tables of one family; also a `writer.Bystander`."""

    async def start(self) -> None:
        """Take note of how things are now: changes after this are reported."""
        ...

    async def before_write(self) -> None:
        """See `writer.Bystander`."""
        ...

    async def after_write(self, commits: Sequence[Commit]) -> None:
        """See `writer.Bystander`."""
        ...

    def changes(self) -> AsyncIterator[ForeignChange]:
        """Yield foreign changes; ends only by cancellation."""
        ...


class Reports:
    """Reports that wait to be taken: many become one."""

    def __init__(self) -> None:
        self._waiting: ForeignChange | None = None
        self._arrived = asyncio.Event()

    def add(self, change: ForeignChange) -> None:
        """Add a report; one with a culprit replaces one without."""
        if self._waiting is None or (change.culprit and not self._waiting.culprit):
            self._waiting = change
        self._arrived.set()

    async def take(self) -> ForeignChange:
        """Return what was reported since the last time, as soon as there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        change, self._waiting = self._waiting, None
        assert change is not None
        return change


class LegacyWatch:
    """Polls the tables' fingerprints."""

    def __init__(self, family: Family, *, interval_seconds: float = 0.5) -> None:
        self.reports = Reports()
        self._interval = interval_seconds
        self._family = family
        kind, self._level = _LEVELS[family]
        self._socket = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._seen: dict[str, bytes] = {}
        self._writing = False

    async def start(self) -> None:
        """See `Watch`."""
        if not self._seen:
            self._seen = self._look()

    async def before_write(self) -> None:
        """Report what others did since the last look, for after the write it could not be told any more."""
        self._compare()
        self._writing = True

    async def after_write(self, commits: Sequence[Commit]) -> None:
        """Take the result of our write as the new state of the tables that we wrote."""
        self._writing = False
        if self._seen:
            written = {table for family, table in commits if family is self._family}
            self._seen.update({table: fingerprint for table, fingerprint in self._look().items() if table in written})

    async def changes(self) -> AsyncGenerator[ForeignChange, None]:
        """See `Watch`."""
        await self.start()
        taking = asyncio.create_task(self.reports.take())
        try:
            while True:
                done, _ = await asyncio.wait({taking}, timeout=self._interval)
                if done:
                    yield taking.result()
                    taking = asyncio.create_task(self.reports.take())
                else:
                    self._compare()
        finally:
            taking.cancel()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _look(self) -> dict[str, bytes]:
        there = (*TABLES, SOMETIMES) if SOMETIMES in legacy_tables(self._family) else TABLES
        return {table: table_fingerprint(self._socket, self._level, table) for table in there}

    def _compare(self) -> None:
        if not self._seen or self._writing:
            return
        now = self._look()
        changed = [table for table in (*TABLES, SOMETIMES) if now.get(table) != self._seen.get(table)]
        self._seen = now
        if changed:
            self.reports.add(ForeignChange(f"number, size or order of the rules in table {', '.join(changed)} changed"))


def table_fingerprint(asking: socket.socket, level: int, table: str) -> bytes:
    """Return the kernel's description of a legacy table: hooks, number of rules, size; empty bytes if it has no such table.

    A table that is not there yet is created by the question (it is one of those that we use). User-Mode Linux, when it is very
    busy, now and then fails to copy the answer into a buffer that is there all the same: so EFAULT is believed only if it comes every time.
    Raises KernelError.
    """
    for _ in range(_ATTEMPTS):
        buffer = ctypes.create_string_buffer(table.encode().ljust(_NAME_BYTES, b"\0"), _INFO_BYTES)
        length = ctypes.c_uint32(_INFO_BYTES)
        if _LIBC.getsockopt(asking.fileno(), level, _GET_INFO, buffer, ctypes.byref(length)) == 0:
            return buffer.raw
        number = ctypes.get_errno()
        if number in (errno.ENOENT, errno.ENOPROTOOPT):
            return b""
        if number != errno.EFAULT:
            break
    kind = ErrorKind.DENIED if number == errno.EPERM else ErrorKind.OTHER
    raise KernelError(kind, f"cannot ask for the size of the table: {os.strerror(number)}", f"table {table}")


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class NftWatch:
    """Listens to the kernel's events; `ours` tells whether a table's chain is one of ours."""

    def __init__(self, family: Family, ours: Callable[[str, str], bool]) -> None:
        self.reports = Reports()
        self._family = int(socket.AF_INET if family is Family.IPV4 else socket.AF_INET6)
        self._ours = ours
        self._events = Channel(nftables.PROTOCOL, receive_buffer=8 << 20)
        self._asking = Channel(nftables.PROTOCOL)
        self._before = 0
        self._started = False

    async def start(self) -> None:
        """See `Watch`."""
        if not self._started:
            self._events.join(nftables.GROUP)
            self._started = True

    async def before_write(self) -> None:
        """Stop listening, and note the generation: events that arrived before stay queued."""
        if self._started:
            self._before = await self._generation()
            self._events.leave(nftables.GROUP)

    async def after_write(self, commits: Sequence[Commit]) -> None:
        """Listen again; report if there were more transactions than ours."""
        if not self._started:
            return
        self._events.join(nftables.GROUP)
        foreign = (await self._generation() - self._before - len(commits)) & 0xFFFFFFFF
        if foreign and foreign < 1 << 31:
            self.reports.add(ForeignChange(f"{foreign} transactions of others while we wrote"))

    async def changes(self) -> AsyncGenerator[ForeignChange, None]:
        """See `Watch`."""
        await self.start()
        listening = asyncio.create_task(self._listen())
        taking = asyncio.create_task(self.reports.take())
        try:
            while True:
                await asyncio.wait({taking, listening}, return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    listening.result()
                yield taking.result()
                taking = asyncio.create_task(self.reports.take())
        finally:
            listening.cancel()
            taking.cancel()

    def close(self) -> None:
        """Close the sockets."""
        self._events.close()
        self._asking.close()

    async def _generation(self) -> int:
        (answer,) = await self._asking.request(
            nftables.GET_GENERATION, nftables.REQUEST_BODY, "nftables generation"
        )
        return nftables.generation(answer).number

    async def _listen(self) -> None:
        touched = ""
        while True:
            try:
                for event in nftables.events(await self._events.receive()):
                    if isinstance(event, nftables.Touch):
                        touched = touched or self._described(event)
                    elif touched:
                        self.reports.add(ForeignChange(touched, _culprit(event)))
                        touched = ""
            except EventsLostError:
                touched = ""
                self.reports.add(ForeignChange("more changes than the kernel could report"))
            except MalformedError as error:
                touched = ""
                self.reports.add(ForeignChange(f"an event that cannot be read: {error}"))
            await asyncio.sleep(0)

    def _described(self, touch: nftables.Touch) -> str:
        """Return what a touch did to something of ours, in words; empty if it cannot have been ours."""
        if touch.family != self._family or touch.table not in (*TABLES, SOMETIMES):
            return ""
        if touch.what is nftables.What.TABLE:
            matters = touch.removed
        else:
            matters = self._ours(touch.table, touch.chain) or (touch.removed and touch.chain in BUILT_IN)
        if not matters:
            return ""
        return f"{touch.what.value} {'removed from' if touch.removed else 'added to'} table {touch.table} {touch.chain}".rstrip()


def _culprit(event: nftables.Generation) -> str:
    return f"{event.process} (process {event.pid})" if event.process else ""


def make_watch(family: Family, variant: Variant, ours: Callable[[str, str], bool]) -> LegacyWatch | NftWatch:
    """Return the watch for a variant; it belongs to this thread's network namespace."""
    return LegacyWatch(family) if variant is Variant.LEGACY else NftWatch(family, ours)
