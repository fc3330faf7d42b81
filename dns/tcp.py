"""DNS over TCP: many queries on one connection, answered as soon as each is known, in any order (WIR-45, RFC 7766).

A connection costs its client something and this process little: a query must be whole soon after its first byte (slow loris), an idle
connection is closed, one that does not take its replies is not read any further and then closed. Only so many queries of one connection may
wait at once; what came beyond that is kept, and nothing more is read, until some are answered. Who sends many queries in one piece has a
turn of some milliseconds at a time, as all others wait meanwhile. When there are too many connections, the one that has been silent longest
goes.

Times are looked at once a second for all connections together; no connection has a timer of its own.
"""

import asyncio
import socket
import time
from typing import Final, cast

from msgspec import Struct
from pointsman.dns.limit import Limits
from pointsman.dns.server import Desk

WAITING: Final = 128
"""Queries of one connection that may wait at once; its next ones are not read until then."""
ROOM: Final = 65535 + 2
TURN: Final = 0.002
"""Seconds for which the queries of one connection are answered without a look at anybody else."""


class Patience(Struct, frozen=True):
    """Seconds that a connection gets, and how much of it.

    `read` is for a whole query once it has begun (and for the first), `idle` between queries, `write` for taking its replies. `queries` is
    how many it may ask in all, `connections` how many there may be (0: no limit).
    """

    read: float = 3.0
    idle: float = 10.0
    write: float = 5.0
    queries: int = 0
    connections: int = 12_000


def unmapped(host: str) -> str:
    """Return the text of a client's address: an IPv4 client of a socket for both families is an IPv4 client."""
    return host.removeprefix("::ffff:") if "." in host else host


class TcpServer:
    """Answers on one listening socket; where that is for both families, `four` is the desk for clients of IPv4 (OBS-01)."""

    def __init__(
        self,
        sock: socket.socket,
        desk: Desk,
        patience: Patience | None = None,
        limits: Limits | None = None,
        four: Desk | None = None,
    ) -> None:
        self.desk = desk
        self.four = four or desk
        self.patience = patience or Patience()
        self.limits = limits
        self.local = (str(sock.getsockname()[0]), int(sock.getsockname()[1]))
        self.connections: dict[Connection, None] = {}
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=self._sock, backlog=1024)
        self._sweep = loop.call_later(1.0, self._look)

    async def stop(self) -> None:
        """Accept no more; connections without a waiting query are closed, the others when theirs is answered."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.finish()

    def admit(self, connection: "Connection") -> None:
        """Take a new connection in; the most silent one makes room for it."""
        self.connections[connection] = None
        limit = self.patience.connections
        if limit and len(self.connections) > limit:
            next(iter(self.connections)).abort()

    def stir(self, connection: "Connection") -> None:
        """Note that a connection has just asked something."""
        if self.connections.pop(connection, 0) is None:
            self.connections[connection] = None

    def _look(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.abort()
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._look)


class Connection(asyncio.Protocol):
    """One client's connection; `deadline` is when it is closed unless something happens."""

    __slots__ = ("_asked", "_client", "_closing", "_desk", "_due", "_held", "_server", "_stuck", "_transport", "_waiting", "deadline")

    def __init__(self, server: TcpServer) -> None:
        self.deadline = time.monotonic() + server.patience.read
        self._server = server
        self._desk = server.desk
        self._transport: asyncio.Transport | None = None
        self._client: tuple[str, int] = ("", 0)
        self._held = bytearray()
        self._asked = 0
        self._waiting = 0
        self._closing = False
        self._due = False
        self._stuck = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = (unmapped(str(peer[0])), int(peer[1])) if peer else ("", 0)
        if ":" not in self._client[0]:
            self._desk = self._server.four
        self._server.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._transport = None
        self._server.connections.pop(self, None)

    def data_received(self, received: bytes) -> None:
        """Answer the queries that are whole."""
        begun = len(self._held) > 0
        self._held += received
        if self._whole():
            if not self._due and not self._full():
                self._work()
        elif not begun:  # else more of the same query: the time that it has goes on
            self.deadline = time.monotonic() + self._server.patience.read

    def eof_received(self) -> bool:
        """Answer what still waits, then close: a client may have asked all that it wants to know."""
        self.finish()
        return self._waiting > 0

    def _whole(self) -> bool:
        return len(self._held) >= 2 and len(self._held) >= 2 + int.from_bytes(self._held[:2], "big")

    def _full(self) -> bool:
        return self._stuck or self._waiting >= WAITING

    def _work(self) -> None:
        """Answer what is held for a turn; the rest has another one when it can."""
        self._due = False
        if self._transport is None or self._full():
            return
        del self._held[: self._answer(bytes(self._held))]
        if self._closing:
            return
        more = self._whole()
        if more or self._full():
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
        if not self._stuck:
            patience = self._server.patience
            self.deadline = time.monotonic() + (patience.read if self._held and not more else patience.idle)
        if more and not self._full():
            self._work_soon()

    def _work_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work)

    def pause_writing(self) -> None:
        """Read no more from a client that does not take his replies."""
        self._stuck = True
        self.deadline = time.monotonic() + self._server.patience.write
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._stuck = False
        self._go_on()

    def finish(self) -> None:
        """Close when the last waiting query is answered."""
        self._closing = True
        if not self._waiting and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._server.connections.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, held: bytes) -> int:
        """Answer the whole queries in what was received, while it is this connection's turn; return how many bytes they took."""
        at = 0
        replies = []
        end_of_turn = time.monotonic() + TURN
        while len(held) - at >= 2 and not self._closing and self._waiting < WAITING and (not at or time.monotonic() < end_of_turn):
            end = at + 2 + int.from_bytes(held[at : at + 2], "big")
            if end > len(held):
                break
            reply = self._take(held[at + 2 : end])
            if reply is not None:
                replies.append(len(reply).to_bytes(2, "big") + reply)
            at = end
            self._asked += 1
            if self._server.patience.queries and self._asked >= self._server.patience.queries:
                self._write(b"".join(replies))
                self.finish()
                return len(held)
        if at:
            self._server.stir(self)
        if replies:
            self._write(b"".join(replies))
        return at

    def _take(self, message: bytes) -> bytes | None:
        server = self._server
        desk = self._desk
        key = message[2:]
        if len(message) < 12 or message[2] & 0x80:
            return None
        now = time.monotonic()
        if server.limits is not None and not server.limits.allow(self._client[0].encode(), now):
            return None
        hit = desk.hot.entries.get(key)
        if hit is not None and (hit.until > now or desk.hot.turn(key, hit, now) is not None):
            hit.hits += 1
            return message[:2] + hit.reply
        denial = desk.denials.answer(key)
        if denial is not None:
            return message[:2] + denial
        waiting = len(desk.waiting)
        reply = desk.take(message, self._client, server.local, self._later, udp=False)
        if reply is None and len(desk.waiting) > waiting:
            self._waiting += 1
        return reply

    def _later(self, reply: bytes | None) -> None:
        self._waiting -= 1
        if reply is not None:
            self._write(len(reply).to_bytes(2, "big") + reply)
        self._go_on()

    def _go_on(self) -> None:
        if self._transport is None:
            return
        if self._closing:
            self.finish()
        elif not self._full():
            if self._whole():
                self._work_soon()
            else:
                self._transport.resume_reading()
            self.deadline = time.monotonic() + self._server.patience.idle

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)
