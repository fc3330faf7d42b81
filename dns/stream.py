"""Questions to an upstream over TCP or TLS: few connections, many questions at a time on each (RFC 7766).

CoreDNS asks one question at a time per connection, so a hundred waiting clients mean a hundred connections (FWD-39). Here a connection
carries up to `PIPELINE` questions, replies find theirs by id in any order, and another connection is made only when all are full. Servers
that close after some questions cost nothing: what was still open when a used connection ended is asked again on a fresh one, at once
(FWD-38). A server that ends a connection while it still owes replies is taken for one that cannot pipeline, and gets one question at a
time for a minute: it may as well have been restarted.

When nothing comes on a connection while a question waits its whole time, the path behind it is taken for dead, as after a restart of what
translates addresses: no connection that was silent since then gets another question, so whoever asks next does so on a fresh one, and those
that still wait end in peace. A connection on which others were answered meanwhile is good: only that question was slow. Where not even the
kernel of the other end confirms what was sent within `UNCONFIRMED`, ours ends the connection, and the question goes to a fresh one at once.

A question that finds no room waits for a connection that is being made already, unless as many wait for it as it may carry.

Connections that were idle for `expire` seconds, or are older than `max_age`, are not used again (FWD-16, FWD-17).
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import cast

from msgspec import Struct
from pointsman.dns.datagram import place

PIPELINE = 64
"""Questions that wait on one connection, at most."""
UNCONFIRMED = 1.0
"""Seconds that sent bytes may stay unconfirmed; a path that loses the same packet three times in that time is of no use to DNS."""
SINGLY = 60.0
"""Seconds for which a server that seems unable to pipeline gets one question at a time."""


class ConnectionEndedError(OSError):
    """The upstream closed a connection that owed a reply; asking again on a fresh one is the remedy."""


class Limits(Struct, frozen=True):
    """How long connections are kept, seconds; 0 in `max_age` and `max_idle` is no limit."""

    expire: float = 10.0
    max_age: float = 0.0
    max_idle: int = 0


class Connection(asyncio.Protocol):
    """One connection: questions that wait by id, what was read so far, and when that was; a retired one gets no more questions.

    Of one that ended `owed` says how many replies the server kept, `cut` that the path to it is dead.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.born = self.used = self.heard = clock()
        self.answered = 0
        self.ended = False
        self.retired = False
        self.cut = False
        self.owed = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._read = bytearray()
        self._transport: asyncio.Transport | None = None

    @property
    def load(self) -> int:
        """Return how many questions wait."""
        return len(self._waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are one without saying so

    def data_received(self, data: bytes) -> None:
        """Give every whole message to who waits for its id; others are dropped."""
        self.heard = self._clock()
        self._read += data
        while len(self._read) >= 2 and len(self._read) >= (size := int.from_bytes(self._read[:2], "big")) + 2:
            message = bytes(self._read[2 : size + 2])
            del self._read[: size + 2]
            waiter = self._waiting.pop(int.from_bytes(message[:2], "big"), None) if size >= 2 else None
            if waiter is not None and not waiter.done():
                self.answered += 1
                waiter.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all that wait."""
        self.ended = True
        self.cut = isinstance(exc, OSError) and exc.errno == errno.ETIMEDOUT
        self.owed = 0 if self.cut else len(self._waiting)
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(ConnectionEndedError("the upstream closed the connection"))
        self._waiting.clear()

    async def ask(self, message: bytes, patience: float) -> bytes:
        """Send a message and return the reply of its id."""
        if self.ended or self._transport is None:
            raise ConnectionEndedError("the upstream closed the connection")
        ident = int.from_bytes(message[:2], "big")
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = waiter
        self._transport.write(len(message).to_bytes(2, "big") + message)
        try:
            async with asyncio.timeout(patience):
                return await waiter
        finally:
            self._waiting.pop(ident, None)

    def waits_for(self, ident: int) -> bool:
        """Return whether an id is taken."""
        return ident in self._waiting

    def close(self) -> None:
        """End the connection."""
        self.ended = True
        if self._transport is not None:
            self._transport.close()


class Dial(Struct):
    """A connection that is being made, and how many questions wait for it."""

    task: asyncio.Task[Connection]
    waiting: int = 0


class Pool:
    """The connections to one upstream over one transport."""

    def __init__(
        self, address: str, port: int, *, limits: Limits, clock: Callable[[], float], tls: ssl.SSLContext | None = None, name: str = ""
    ) -> None:
        self._address = address
        self._port = port
        self._limits = limits
        self._clock = clock
        self._tls = tls
        self._name = name
        self._open: list[Connection] = []
        self._dials: list[Dial] = []
        self._closed = False
        self._singly_until = 0.0

    async def ask(self, message: bytes, patience: float, dial: float, *, fresh: bool = False) -> tuple[bytes, bool]:
        """Return the reply, and whether a connection was there already or on its way; raises OSError and TimeoutError.

        `patience` is for everything, `dial` for making a connection, in seconds. `fresh` asks for a connection that nobody has used.
        """
        ident = int.from_bytes(message[:2], "big")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        made = 0
        while True:
            connection = None if fresh else self._pick(ident)
            reused = connection is not None
            if connection is None:
                connection, reused = await self._made(ident, min(dial, deadline - loop.time()), alone=fresh)
                made += 1
            try:
                return await self._on(connection, message, deadline - loop.time()), reused
            except ConnectionEndedError:
                if made > 1 or (made and not connection.answered and connection.owed <= 1):
                    raise  # an old connection that ends proves nothing, but two new ones, or one that never said a word to one question, do

    async def _on(self, connection: Connection, message: bytes, patience: float) -> bytes:
        asked = self._clock()
        try:
            return await connection.ask(message, patience)
        except ConnectionEndedError:
            connection.retired = True
            if connection.owed > 1:
                self._singly_until = self._clock() + SINGLY
            if connection.cut:
                self._doubt(connection, asked)
            raise
        except TimeoutError:
            connection.retired |= connection.load == 0  # nobody else waits, and what is late belongs to nobody
            self._doubt(connection, asked)
            raise TimeoutError("i/o timeout") from None
        finally:
            connection.used = self._clock()
            self._tidy()

    def _doubt(self, connection: Connection, since: float) -> None:
        """Use no connection any more that was silent since then, if this one was."""
        if connection.heard <= since:
            for one in self._open:
                one.retired |= one.heard <= since

    @property
    def _pipeline(self) -> int:
        return 1 if self._clock() < self._singly_until else PIPELINE

    def _pick(self, ident: int) -> Connection | None:
        """Return the fullest connection that has room, so that the others can end by age."""
        self._tidy()
        fit = [one for one in self._open if not one.retired and self._has_room(one, ident)]
        return max(fit, key=lambda one: one.load, default=None)

    def _has_room(self, connection: Connection, ident: int) -> bool:
        return connection.load < self._pipeline and not connection.waits_for(ident)

    def _tidy(self) -> None:
        """Close what is too old or too many, retired, or left over."""
        now = self._clock()
        idle = 0
        for one in self._open:
            if one.load:
                continue
            idle += 1
            old = now - one.used >= self._limits.expire or (self._limits.max_age and now - one.born >= self._limits.max_age)
            if old or one.retired or self._closed or (self._limits.max_idle and idle > self._limits.max_idle):
                one.close()
        self._open = [one for one in self._open if not one.ended]

    async def _made(self, ident: int, patience: float, *, alone: bool) -> tuple[Connection, bool]:
        """Return a connection that has just been made, and whether somebody else had begun to make it."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    under_way = [] if alone else [one for one in self._dials if one.waiting < self._pipeline and not one.task.done()]
                    dial = next(iter(under_way), None)
                    joined = dial is not None
                    if dial is None:
                        dial = self._begin(patience)
                    dial.waiting += 1
                    connection = await asyncio.shield(dial.task)
                    if connection.ended or self._has_room(connection, ident):
                        return connection, joined
        except TimeoutError:
            raise TimeoutError("i/o timeout while connecting") from None

    def _begin(self, patience: float) -> Dial:
        """Begin to make a connection; who waits for it may go away."""
        dial = Dial(asyncio.get_running_loop().create_task(self._dial(patience)))
        self._dials.append(dial)

        def end(task: asyncio.Task[Connection]) -> None:
            self._dials = [one for one in self._dials if one is not dial]
            if not task.cancelled():
                task.exception()  # whoever waited has heard of it

        dial.task.add_done_callback(end)
        return dial

    async def _dial(self, patience: float) -> Connection:
        loop = asyncio.get_running_loop()
        tls_name = (self._name or self._address) if self._tls else None
        sock = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(patience):
                await loop.sock_connect(sock, place(self._address, self._port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNCONFIRMED * 1000))  # a lost SYN has more time
                _, made = await loop.create_connection(lambda: Connection(self._clock), sock=sock, ssl=self._tls, server_hostname=tls_name)
        except BaseException:
            sock.close()
            raise
        self._open.append(made)
        return made

    def close(self) -> None:
        """End all connections; one that is made later ends after its first question."""
        self._closed = True
        for one in self._open:
            one.close()
        self._open.clear()
