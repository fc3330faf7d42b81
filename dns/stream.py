"""Questions to an upstream over TCP or TLS: few connections, many questions at a time on each (RFC 7766).

CoreDNS asks one question at a time per connection, so a hundred waiting clients mean a hundred connections (FWD-39). Here a connection
carries up to `PIPELINE` questions, replies find theirs by id in any order, and another connection is made only when all are full. Servers
that close after some questions cost nothing: what was still open when a used connection ended is asked again on a fresh one, at once
(FWD-38). A server that ends a connection while it still owes replies is taken for one that cannot pipeline, and gets one question at a
time from then on.

Connections that were idle for `expire` seconds, or are older than `max_age`, are not used again (FWD-16, FWD-17).
"""

import asyncio
import ssl
from collections.abc import Callable

from msgspec import Struct

PIPELINE = 64
"""Questions that wait on one connection, at most."""


class ConnectionEndedError(OSError):
    """The upstream closed a connection that owed a reply; asking again on a fresh one is the remedy."""


class Limits(Struct, frozen=True):
    """How long connections are kept, seconds; 0 in `max_age` and `max_idle` is no limit."""

    expire: float = 10.0
    max_age: float = 0.0
    max_idle: int = 0


class Connection(asyncio.Protocol):
    """One connection: questions that wait by id, and what was read so far."""

    def __init__(self, born: float) -> None:
        self.born = born
        self.used = born
        self.answered = 0
        self.ended = False
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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Give every whole message to who waits for its id; others are dropped."""
        self._read += data
        while len(self._read) >= 2 and len(self._read) >= (size := int.from_bytes(self._read[:2], "big")) + 2:
            message = bytes(self._read[2 : size + 2])
            del self._read[: size + 2]
            waiter = self._waiting.pop(int.from_bytes(message[:2], "big"), None) if size >= 2 else None
            if waiter is not None and not waiter.done():
                self.answered += 1
                waiter.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Tell all that wait."""
        self.ended = True
        self.owed = len(self._waiting)
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(ConnectionEndedError("the upstream closed the connection"))
        self._waiting.clear()

    async def ask(self, message: bytes, patience: float) -> bytes:
        """Send a message and return the reply of its id."""
        assert self._transport is not None
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
        self._pipeline = PIPELINE

    async def ask(self, message: bytes, patience: float, dial: float) -> tuple[bytes, bool]:
        """Return the reply, and whether a connection was there already; raises OSError and TimeoutError."""
        ident = int.from_bytes(message[:2], "big")
        while (connection := self._pick(ident)) is not None:
            try:
                return await self._on(connection, message, patience), True
            except ConnectionEndedError:
                continue  # an old connection proves nothing: try the next, then a fresh one
        fresh = await self._dial(dial)
        try:
            return await self._on(fresh, message, patience), False
        except ConnectionEndedError:
            if fresh.answered == 0:
                raise
            return await self._on(await self._dial(dial), message, patience), False

    async def _on(self, connection: Connection, message: bytes, patience: float) -> bytes:
        try:
            return await connection.ask(message, patience)
        except ConnectionEndedError:
            if connection.answered and connection.owed > 1:
                self._pipeline = 1
            raise
        except TimeoutError:
            if connection.load == 0:
                connection.close()  # nobody else waits, and what is late belongs to nobody
            raise TimeoutError("i/o timeout") from None
        finally:
            connection.used = self._clock()
            self._tidy()

    def _pick(self, ident: int) -> Connection | None:
        """Return the fullest connection that has room, so that the others can end by age."""
        self._tidy()
        fit = [one for one in self._open if one.load < self._pipeline and not one.waits_for(ident)]
        return max(fit, key=lambda one: one.load, default=None)

    def _tidy(self) -> None:
        """Close what is too old or too many."""
        now = self._clock()
        idle = 0
        for one in self._open:
            if one.load:
                continue
            idle += 1
            old = now - one.used >= self._limits.expire or (self._limits.max_age and now - one.born >= self._limits.max_age)
            if old or (self._limits.max_idle and idle > self._limits.max_idle):
                one.close()
        self._open = [one for one in self._open if not one.ended]

    async def _dial(self, patience: float) -> Connection:
        loop = asyncio.get_running_loop()
        tls_name = (self._name or self._address) if self._tls else None
        try:
            async with asyncio.timeout(patience):
                _, made = await loop.create_connection(
                    lambda: Connection(self._clock()), self._address, self._port, ssl=self._tls, server_hostname=tls_name
                )
        except TimeoutError:
            raise TimeoutError("i/o timeout while connecting") from None
        self._open.append(made)
        return made

    def close(self) -> None:
        """End all connections."""
        for one in self._open:
            one.close()
        self._open.clear()
