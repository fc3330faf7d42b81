"""Requests to the kernel's IPVS over a pyroute2 socket: many per datagram, each error matched to its request.

**The socket** is pyroute2's `IPVS`; the bytes are `wire`'s. It lives on a thread of its own, for three reasons: the kernel works through a
whole datagram inside the sending call, which must not hold up the event loop; pyroute2's asynchronous sockets do not work on uvloop; and
its synchronous ones bring an event loop of their own, which may not run inside another. A batch whose task is cancelled
stops at the end of a portion.

**A batch** is sent in datagrams of many requests (`datagrams`). Only the last one of a datagram asks for an acknowledgement, errors are
reported for every one, and the sequence number says for which. The kernel goes on after an error. So ten thousand virtual servers with a
hundred thousand real ones cost some four hundred system calls.

The socket belongs to the network namespace in which the channel was opened. Source: netlink(7).
"""

import asyncio
import errno
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Self

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs import wire
from pointsman.ipvs.datagrams import LONGEST, MESSAGES, Request, Writer
from pointsman.netlink import codec, generic, replies
from pointsman.netlink.channel import Channel, kernel_error
from pointsman.netlink.loading import ALONE
from pointsman.netlink.threaded import Threaded

PORTION: Final = 16 * MESSAGES
"""Requests after which other callers, and a cancellation, get their turn: some milliseconds."""

ABSENT: Final = "this kernel has no IPVS (the module ip_vs is not loaded): run `modprobe ip_vs`, or use --proxy-mode iptables"

_BUFFER: Final = 64 * 1024
_TIMEOUT: Final = 60.0
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SOL_SOCKET: Final = 1
_SOL_NETLINK: Final = 270
_CAP_ACK: Final = 10
_SEND: Final = 2 * MESSAGES * LONGEST
_RECEIVE: Final = 4 << 20


async def require() -> int:
    """Return the message number of IPVS; raises KernelError (UNSUPPORTED, with the ways out) where the kernel has none."""
    with Channel(generic.PROTOCOL) as channel:
        try:
            answers = await channel.request(generic.CONTROLLER, generic.ask(wire.FAMILY_NAME), wire.FAMILY_NAME)
        except KernelError as error:
            if error.kind is ErrorKind.MISSING:
                raise KernelError(ErrorKind.UNSUPPORTED, ABSENT, "ip_vs") from error
            raise
    return generic.family(answers[0].body).number


class _Talk:
    """The socket and its numbers; used on the channel's thread only."""

    def __init__(self) -> None:
        with ALONE:
            from pyroute2.ipvs import IPVS  # type: ignore[import-untyped]  # noqa: PLC0415  12 MB that the other modes need not carry

        # A loop of asyncio's own, whatever the process has chosen as its policy.
        self.socket = IPVS(use_event_loop=asyncio.SelectorEventLoop())
        self.family: int = self.socket.prid
        self._fileno: int = self.socket.fileno()
        self._numbers = replies.Numbers()
        self._writer = Writer(self.family)
        self.socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)  # errors need not repeat the request
        with suppress(PermissionError):  # pyroute2's own size holds then; programming IPVS needs the same right and will say so
            self.socket.setsockopt(_SOL_SOCKET, _SO_SNDBUFFORCE, _SEND)
            self.socket.setsockopt(_SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE)
        self._poll = select.poll()
        self._poll.register(self._fileno, select.POLLIN)

    def close(self) -> None:
        self.socket.close()

    def send(self, datagram: bytes) -> None:
        try:
            self.socket.sendto(datagram, (0, 0))
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, "IPVS") from error

    def receive(self) -> Iterator[codec.Message]:
        """Wait for the next datagram and yield its messages; raises OSError, ENOBUFS if the kernel dropped some."""
        deadline = time.monotonic() + _TIMEOUT
        while (raw := self.arrived()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise KernelError(ErrorKind.TIMEOUT, f"the kernel did not answer within {_TIMEOUT:g} s", "IPVS")
            self._poll.poll(left * 1000)
        return codec.messages(raw)

    def arrived(self) -> bytes | None:
        """Return the next datagram, None if none is there."""
        try:
            raw: bytes = self.socket.recv(_BUFFER)
        except BlockingIOError:
            return None
        return raw

    def apply_all(self, requests: Sequence[Request]) -> dict[int, int]:
        """Send requests in as many datagrams as they need; return the errno of each that failed, by its place."""
        failed: dict[int, int] = {}
        for start in range(0, len(requests), MESSAGES):
            found = self.apply(requests[start : start + MESSAGES])
            failed.update((start + place, number) for place, number in found.items())
        return failed

    def apply(self, requests: Sequence[Request]) -> dict[int, int]:
        """Send one datagram and return the errno of each request that failed, by its place."""
        count = len(requests)
        first = self._numbers.take(count)
        self.send(self._writer.write(requests, first))
        failed: dict[int, int] = {}
        try:
            while not replies.sort(self.receive(), first, count, failed):
                pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise kernel_error(error.errno or errno.EIO, "IPVS") from error
            while (raw := self.arrived()) is not None:
                replies.sort(codec.messages(raw), first, count, failed)
            # Some outcomes are lost, and nobody can say whose: those without a known error count as failed.
            return {place: failed.get(place, errno.ENOBUFS) for place in range(count)}
        return failed

    def ask(self, body: bytes, flags: int, subject: str) -> list[memoryview]:
        """Send one request and return the bodies of its answers."""
        sequence = self._numbers.take(1)
        self.send(codec.encode(self.family, codec.REQUEST | flags, sequence, body))
        answers: list[memoryview] = []
        try:
            while not replies.collect(self.receive(), sequence, subject, answers):
                pass
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, subject) from error
        return answers

    def dump_all(self, bodies: Sequence[bytes], subject: str) -> list[list[memoryview]]:
        return [self.ask(body, codec.DUMP, subject) for body in bodies]


class IpvsChannel(Threaded[_Talk]):
    """A socket to the kernel's IPVS; made by `open`, used as an asynchronous context manager or closed."""

    @classmethod
    async def open(cls) -> Self:
        """Open a channel in the caller's network namespace. Raises KernelError, kind UNSUPPORTED where the kernel has no IPVS."""
        await require()
        try:
            return await cls.opened("ipvs", _Talk)
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, "IPVS socket") from error

    async def apply(self, requests: Iterable[Request]) -> dict[int, int]:
        """Send requests that change something, in their order; return the errno of each that failed, by its place in `requests`.

        ENOBUFS: the outcome is not known, read the state again. Raises KernelError if the socket fails or the kernel does not answer; what
        was done until then is not known either. Raises ValueError for a value that does not fit; the datagram that would have it is not
        sent, nor any later one.
        """
        failed: dict[int, int] = {}
        waiting = iter(requests)
        done = 0
        while portion := list(islice(waiting, PORTION)):
            found = await self.run(self._held.apply_all, portion)
            failed.update((done + place, number) for place, number in found.items())
            done += len(portion)
        return failed

    async def change(self, body: bytes, subject: str) -> None:
        """Send one request; raises KernelError that names the subject."""
        await self.ask(body, subject)

    async def ask(self, body: bytes, subject: str) -> list[memoryview]:
        """Send one question and return the bodies of its answers; raises KernelError."""
        return await self.run(self._held.ask, body, codec.ACK, subject)

    async def dump(self, body: bytes, subject: str) -> list[memoryview]:
        """Ask for a list and return the bodies of its entries; raises KernelError."""
        return await self.run(self._held.ask, body, codec.DUMP, subject)

    async def dumps(self, bodies: Sequence[bytes], subject: str) -> list[list[memoryview]]:
        """Ask for many lists and return the entries of each; other tasks get their turn now and then. Raises KernelError."""
        found: list[list[memoryview]] = []
        for start in range(0, len(bodies), MESSAGES):
            found += await self.run(self._held.dump_all, bodies[start : start + MESSAGES], subject)
        return found
