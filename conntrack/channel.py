"""Requests to the kernel's connection tracking over pyroute2 sockets: dumps that are judged as they stream, deletions in batches, events.

**The socket** is pyroute2's `NFCTSocket`; the bytes are `wire`'s. An agent that has no other use for pyroute2 asks for a `light` one, the
standard library's: 10 MB less for the same calls. It lives on a thread of its own: the kernel walks its whole table inside a reading call,
also where its filter leaves nothing of it, and that must not hold up the event loop. Between two readings the thread works on one datagram
of at most 32 KiB, a quarter of a millisecond, so that the loop gets its turn.

**Deletions** go many to a datagram, the last one asks for an acknowledgement, errors come back for each by its sequence number.

The socket belongs to the network namespace in which the channel was opened. `kernel` is what others use. Source: netlink(7).
"""

import asyncio
import errno
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

from pointsman.conntrack import wire
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec, replies
from pointsman.netlink.channel import EventsLostError, kernel_error
from pointsman.netlink.loading import ALONE
from pointsman.netlink.threaded import Threaded

AT_ONCE: Final = 256
"""Requests in one datagram."""

_BUFFER: Final = 64 * 1024
_RECEIVE: Final = 4 << 20
_TIMEOUT: Final = 30.0
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_CAP_ACK: Final = 10
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

_T = TypeVar("_T")


def _plain() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, wire.PROTOCOL)
    opened.bind((0, 0))  # a socket without a number of its own gets no events
    opened.setblocking(False)
    return opened


class Talk:
    """The socket and its numbers; for one thread."""

    def __init__(self, groups: Sequence[int] = (), *, light: bool = False) -> None:
        """Open the socket in this thread's network namespace, and join multicast groups. Raises KernelError."""
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._socket = _plain() if light else self._library()
            self.fileno: int = self._socket.fileno()
            self._poll = select.poll()
            self._poll.register(self.fileno, select.POLLIN)
            self._numbers = replies.Numbers()
            with suppress(PermissionError):  # reading needs no such right, deleting does and will say so
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _RECEIVE)
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)  # errors need not repeat the request
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, "connection tracking") from error

    def _library(self) -> Any:
        with ALONE:
            from pyroute2.netlink.nfnetlink.nfctsocket import (  # type: ignore[import-untyped]  # noqa: PLC0415  10 MB
                NFCTSocket,
            )

        self._loop = asyncio.SelectorEventLoop()  # asyncio's own, whatever the process has chosen as its policy
        opened = NFCTSocket(use_event_loop=self._loop)
        opened.asyncore.socket.bind((0, 0))
        opened.asyncore.setblocking(False)
        return opened

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.close()

    def receive(self, seconds: float = _TIMEOUT) -> bytes:
        """Wait for the next datagram; raises KernelError, EventsLostError where the kernel dropped some."""
        while True:
            try:
                raw: bytes = self._socket.recv(_BUFFER)
            except BlockingIOError:
                if not self._poll.poll(seconds * 1000):
                    text = f"the kernel did not answer within {seconds:g} s"
                    raise KernelError(ErrorKind.TIMEOUT, text, "connection tracking") from None
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise EventsLostError from error
                raise kernel_error(error.errno or errno.EIO, "connection tracking") from error
            else:
                return raw

    def stream(self, kind: int, body: bytes, subject: str) -> Iterator[bytes]:
        """Ask for a list and yield its datagrams as they come, the one with the end mark last; stop when you have seen that."""
        self._drop_late()
        self._send(codec.encode(kind, codec.REQUEST | codec.DUMP, self._numbers.take(1), body), subject)
        while True:
            yield self.receive()

    def ask(self, kind: int, body: bytes, subject: str, flags: int = codec.ACK) -> list[memoryview]:
        """Send one request and return the bodies of its answers. Raises KernelError."""
        self._drop_late()
        sequence = self._numbers.take(1)
        self._send(codec.encode(kind, codec.REQUEST | flags, sequence, body), subject)
        answers: list[memoryview] = []
        while not replies.collect(codec.messages(self.receive()), sequence, subject, answers):
            pass
        return answers

    def apply(self, kind: int, bodies: Sequence[bytes], subject: str, flags: int = 0) -> dict[int, int]:
        """Send requests that change something; return the errno of each that failed, by its place. Raises KernelError."""
        failed: dict[int, int] = {}
        for start in range(0, len(bodies), AT_ONCE):
            part = bodies[start : start + AT_ONCE]
            first = self._numbers.take(len(part))
            last = len(part) - 1
            self._send(
                b"".join(
                    codec.encode(kind, codec.REQUEST | flags | (codec.ACK if place == last else 0), first + place, body)
                    for place, body in enumerate(part)
                ),
                subject,
            )
            found: dict[int, int] = {}
            while not replies.sort(codec.messages(self.receive()), first, len(part), found):
                pass
            failed.update((start + place, number) for place, number in found.items())
        return failed

    def _send(self, datagram: bytes, subject: str) -> None:
        try:
            self._socket.sendto(datagram, (0, 0))
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, subject) from error

    def _drop_late(self) -> None:
        """Drop what is left of an answer that nobody waited for."""
        with suppress(BlockingIOError, OSError):
            while True:
                self._socket.recv(_BUFFER)


class Channel(Threaded[Talk]):
    """A thread with a socket to the kernel's connection tracking; made by `open`, used as an asynchronous context manager or closed."""

    @classmethod
    async def open(cls, groups: Sequence[int] = (), *, light: bool = False) -> Self:
        """Open a channel in the caller's network namespace; `light` leaves pyroute2 out. Raises KernelError."""
        return await cls.opened("conntrack", lambda: Talk(groups, light=light))

    async def use(self, work: Callable[[Talk], _T]) -> _T:
        """Do some work with the socket on its thread; it is finished even if the caller is cancelled. Raises KernelError."""

        def go() -> _T:
            try:
                return work(self._held)
            except codec.MalformedError as error:
                raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", "connection tracking") from error
            except EventsLostError as error:
                raise KernelError(ErrorKind.BUSY, "the answer did not fit into the socket's buffer", "connection tracking") from error
            except OSError as error:
                raise kernel_error(error.errno or errno.EIO, "connection tracking") from error

        return await self.run(go)
