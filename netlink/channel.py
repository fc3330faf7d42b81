"""A netlink socket for asyncio: send a request, await its answers; join multicast groups, await their datagrams.

One channel serves one purpose (requests, or events): answers and events on one socket would have to be told apart, and a burst of events
could crowd out an answer. Errors become `KernelError` here and nowhere else. Events may be lost when they come faster than they are read;
the kernel says so once, and `receive` then raises `EventsLostError`, after which the only sound thing is to read the whole state again.

The socket belongs to the network namespace in which the channel was made. Source: netlink(7).
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Self

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_DROP_MEMBERSHIP: Final = 2
_GET_STRICT_CHK: Final = 12
_SO_RCVBUFFORCE: Final = 33
_BUFFER: Final = 64 * 1024
_AT_ONCE: Final = 128
"""Requests of a batch in one datagram: their answers must fit into the smallest receive buffer."""

_KINDS: Final = {
    errno.EPERM: ErrorKind.DENIED,
    errno.EACCES: ErrorKind.DENIED,
    errno.ENOENT: ErrorKind.MISSING,
    errno.ESRCH: ErrorKind.MISSING,
    errno.EEXIST: ErrorKind.EXISTS,
    errno.EBUSY: ErrorKind.BUSY,
    errno.EAGAIN: ErrorKind.BUSY,
    errno.EOPNOTSUPP: ErrorKind.UNSUPPORTED,
    errno.EPROTONOSUPPORT: ErrorKind.UNSUPPORTED,
    errno.EAFNOSUPPORT: ErrorKind.UNSUPPORTED,
    errno.EINVAL: ErrorKind.INVALID,
    errno.ENOSPC: ErrorKind.TOO_BIG,
    errno.E2BIG: ErrorKind.TOO_BIG,
    errno.ETIMEDOUT: ErrorKind.TIMEOUT,
}


class EventsLostError(Exception):
    """The kernel dropped events because the socket's buffer was full; the state must be read anew."""


def kernel_error(number: int, subject: str) -> KernelError:
    """Return the error for an errno; `subject` names what was asked for."""
    return KernelError(_KINDS.get(number, ErrorKind.OTHER), f"{os.strerror(number)} ({errno.errorcode.get(number, number)})", subject)


class Channel:
    """One netlink socket; use it as a context manager, or close it."""

    def __init__(self, protocol: int, *, receive_buffer: int = 1 << 20, filtered: bool = False) -> None:
        """Open the socket in this thread's network namespace; `receive_buffer` is in bytes. Raises KernelError.

        With `filtered` a list that is asked for has only what the request's body describes, where the kernel can do that (from 4.20 on).
        """
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, f"netlink socket of protocol {protocol}") from error
        self._socket.setblocking(False)
        self._sequence = 0
        if filtered:
            with suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:  # without CAP_NET_ADMIN the system's limit holds, and events are lost a little earlier
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a second time does nothing."""
        self._socket.close()

    def join(self, group: int) -> None:
        """Receive the events of a multicast group from now on."""
        self._membership(_ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        """Receive no further events of a group; those that arrived before stay to be read."""
        self._membership(_DROP_MEMBERSHIP, group)

    def _membership(self, option: int, group: int) -> None:
        try:
            self._socket.setsockopt(_SOL_NETLINK, option, group)
        except OSError as error:
            raise kernel_error(error.errno or errno.EIO, f"netlink group {group}") from error

    async def receive(self) -> bytes:
        """Return the next datagram. Raises EventsLostError, or KernelError when the socket fails."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, _BUFFER)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise EventsLostError from error
            raise kernel_error(error.errno or errno.EIO, "netlink socket") from error

    async def request(
        self, kind: int, body: bytes, subject: str, *, flags: int = codec.ACK, timeout_seconds: float = 5.0
    ) -> list[codec.Message]:
        """Send one request and return the messages of its answer, without acknowledgement and end mark; raise KernelError for an error.

        `subject` names the request in errors. Flags: `codec.DUMP` for a list, `codec.ACK` otherwise.
        """

        def made(sequence: int) -> bytes:
            return codec.encode(kind, codec.REQUEST | flags, sequence, body)

        return await self.exchange(made, subject, timeout_seconds=timeout_seconds)

    async def batch(self, requests: Sequence[tuple[int, int, bytes]], subject: str, *, timeout_seconds: float = 10.0) -> dict[int, int]:
        """Send many requests (type, flags, body), several in one datagram; return the errno of each that failed, by its place.

        Raises KernelError when the socket fails or an answer is lost: then nobody knows what was done.
        """
        failed: dict[int, int] = {}
        try:
            for start in range(0, len(requests), _AT_ONCE):
                async with asyncio.timeout(timeout_seconds):
                    await self._send_some(requests[start : start + _AT_ONCE], start, failed, subject)
        except TimeoutError as error:
            raise KernelError(ErrorKind.TIMEOUT, f"the kernel did not answer within {timeout_seconds:g} s", subject) from error
        except codec.MalformedError as error:
            raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", subject) from error
        return failed

    async def exchange(self, make: Callable[[int], bytes], subject: str, *, timeout_seconds: float = 5.0) -> list[codec.Message]:
        """Send the datagram that `make` makes for a sequence number and return what answers that number, as `request` does."""
        self._sequence += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.get_running_loop().sock_sendall(self._socket, make(self._sequence))
                return await self._answers(self._sequence, subject)
        except TimeoutError as error:
            raise KernelError(ErrorKind.TIMEOUT, f"the kernel did not answer within {timeout_seconds:g} s", subject) from error
        except codec.MalformedError as error:
            raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", subject) from error

    async def _send_some(self, requests: Sequence[tuple[int, int, bytes]], start: int, failed: dict[int, int], subject: str) -> None:
        first = self._sequence + 1
        self._sequence += len(requests)
        packets = (
            codec.encode(kind, codec.REQUEST | codec.ACK | flags, first + place, body) for place, (kind, flags, body) in enumerate(requests)
        )
        await asyncio.get_running_loop().sock_sendall(self._socket, b"".join(packets))
        waiting = set(range(first, first + len(requests)))
        while waiting:
            try:
                datagram = await self.receive()
            except EventsLostError as error:
                raise KernelError(ErrorKind.BUSY, "the answer did not fit into the socket's buffer", subject) from error
            for message in codec.messages(datagram):
                if message.type == codec.ERROR and message.sequence in waiting:
                    waiting.discard(message.sequence)
                    if number := codec.error_number(message):
                        failed[start + message.sequence - first] = number

    async def _answers(self, sequence: int, subject: str) -> list[codec.Message]:
        answers: list[codec.Message] = []
        while True:
            try:
                datagram = await self.receive()
            except EventsLostError as error:
                raise KernelError(ErrorKind.BUSY, "the answer did not fit into the socket's buffer", subject) from error
            for message in codec.messages(datagram):
                if message.sequence != sequence:  # the late answer of an earlier request that timed out
                    continue
                if message.type in (codec.ERROR, codec.DONE):
                    if number := codec.error_number(message):
                        raise kernel_error(number, subject)
                    return answers
                if message.type != codec.NOOP:
                    answers.append(message)
