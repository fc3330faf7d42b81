"""The hot path: a batch of queries in, a batch of replies out (see `mmsg`), most of them by one look-up in the hot table.

Per query that the table knows: cut its bytes out of the batch's memory, look them up, copy the reply back in. What it does not know goes to
the denials, and then to the desk, which may answer later. Replies leave in as few calls as the order of the slots allows: one, if nobody
has to wait.

Who asks for names that do not exist is counted by one query of each batch that was answered in it; it stands for the whole batch: rare
clients are missed, storms are not.

After a batch the socket is read again until it is empty or some batches are done: other work (TCP, upstreams, the feed) has its turn then.
"""

import asyncio
import socket
import time
from typing import Final

from pointsman.dns.books import Top
from pointsman.dns.limit import Limits
from pointsman.dns.mmsg import ROOM, SLOTS, Datagrams
from pointsman.dns.question import NXDOMAIN
from pointsman.dns.server import Desk
from pointsman.dns.tally import Cell

BATCHES: Final = 4
LOST: Final = "pointsman_dns_lost_replies_total"
LAST: Final = 1.0
"""Seconds for the last queries of a socket."""
SLICE: Final = 0.002
"""Seconds after which everything else has its turn, however many queries wait."""

_STARTS: Final = tuple(slot * ROOM for slot in range(SLOTS))
_SHAPE: Final = tuple((slot, slot * ROOM + 2, 16 * slot + 14, 2 * slot + 1) for slot in range(SLOTS))


class UdpServer:
    """Answers on one UDP socket; where that is for both families, `four` is the desk for clients of IPv4 (OBS-01)."""

    def __init__(
        self,
        sock: socket.socket,
        desk: Desk,
        limits: Limits | None = None,
        storms: Top | None = None,
        four: Desk | None = None,
        *,
        lost: Cell,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._desk = desk
        self._four = four
        self._limits = limits
        self._storms = storms
        self._batch = Datagrams(sock, lost)
        self._port = int(sock.getsockname()[1])

    def start(self) -> None:
        """Read the socket from now on; to be called in the event loop."""
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def stop(self) -> None:
        """Read no more, after what waits in the socket has been taken; if it never ends, the rest is for who reads the socket next."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        deadline = time.monotonic() + LAST
        while self._take() and time.monotonic() < deadline:
            pass

    def close(self) -> None:
        """Close the socket, when nobody waits for a reply any more."""
        self._sock.close()

    def _readable(self) -> None:
        began = time.monotonic()
        for _ in range(BATCHES):
            if self._take() < SLOTS or time.monotonic() - began > SLICE:
                return

    def _take(self) -> int:
        """Answer one batch; return its size."""
        batch = self._batch
        got = batch.receive()
        if not got:
            return 0
        desk = self._desk
        memory, lengths, sizes = batch.memory, batch.lengths, batch.sizes
        find, deny = desk.hot.entries.get, desk.denials.answer
        four = self._four
        now = time.monotonic()
        limits = self._limits
        first = 0
        for slot, start, place, size in _SHAPE[:got]:
            key = memory[start : start + lengths[place] - 2]
            if four is not None:
                desk = four if batch.is_ipv4(slot) else self._desk
                find, deny = desk.hot.entries.get, desk.denials.answer
            if limits is not None and not limits.allow(batch.host(slot), now):
                reply = None
            elif (hit := find(key)) is not None and (hit.until > now or (hit := desk.hot.turn(key, hit, now)) is not None):
                hit.hits += 1
                reply = hit.reply
            else:
                reply = deny(key) or self._ask(desk, slot)
            if reply is None:
                if slot > first:
                    batch.send(first, slot)
                first = slot + 1
                continue
            length = len(reply)
            memory[start : start + length] = reply
            sizes[size] = length + 2
        if first < got:
            batch.send(first, got)
            if self._storms is not None and memory[first * ROOM + 3] & 15 == NXDOMAIN:
                self._storms.count(batch.host(first), got)
        desk.hot.seconds += ((time.monotonic() - now) - desk.hot.seconds) * 0.01
        return got

    def _ask(self, desk: Desk, slot: int) -> bytes | None:
        """Let the desk answer; return what follows the id."""
        batch = self._batch
        start = _STARTS[slot]
        message = batch.memory[start : start + batch.length(slot)]
        if len(message) < 12 or message[2] & 0x80:
            return None
        route = batch.route(slot)
        reply = desk.take(message, batch.client(slot), (batch.local(slot), self._port), route.send, udp=True)
        if reply is None:
            return None
        if len(reply) > ROOM:
            route.send(reply)
            return None
        return reply[2:]
