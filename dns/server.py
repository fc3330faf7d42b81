"""One listener's desk: a message in, a reply out, at once or later.

`take` does what the hot table and the denials could not: it reads the message, refuses what is no query, drives the chain's coroutine to
its first suspension (see `contract`), writes the reply, counts it and offers it to the hot table. A coroutine that does suspend becomes a
task, and its reply goes to `later`. Whatever goes wrong in a chain becomes SERVFAIL for that query, is counted and logged, and nothing else
stops (WIR-14).

`udp` and `tcp` are in front of it, `resolver` makes one per socket.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from pointsman.dns.books import Books, Top
from pointsman.dns.catalog import Catalog
from pointsman.dns.contract import Chain
from pointsman.dns.denial import Denials
from pointsman.dns.encode import encode, refuse
from pointsman.dns.hot import Hot
from pointsman.dns.names import text
from pointsman.dns.question import SERVFAIL, Query, Refusal, read
from pointsman.dns.reply import Reply, failure

log = logging.getLogger(__name__)

BUSY: Final = 5_000
"""Queries that may wait for something at once, per listener; more get SERVFAIL. Each holds some 20 kB: tasks, timers, a socket."""
QUIET: Final = 1.0
"""Seconds between two traces of queries that broke something; all are counted."""

Later = Callable[[bytes | None], object]
"""Gets the reply that comes later; None if there is none after all."""


class Desk:
    """What the sockets of one address and transport share with nobody."""

    def __init__(self, chain: Chain, catalog: Catalog, books: Books, hot: Hot, top: Top) -> None:
        self.hot = hot
        self.denials = Denials(chain.plain, catalog, books, hot, speculate=chain.speculate)
        self.waiting: set[asyncio.Task[None]] = set()
        self.chain = chain
        self._catalog = catalog
        self._books = books
        self._top = top
        self._quiet_until = 0.0

    def use(self, chain: Chain) -> None:
        """Answer by another chain from now on: the Corefile has changed."""
        self.settle()
        self.chain = chain
        self.denials = Denials(chain.plain, self._catalog, self._books, self.hot, speculate=chain.speculate)
        self.hot.clear()

    def settle(self) -> None:
        """Bring everything that was counted aside to the books."""
        self.hot.settle()
        self.denials.settle(self.hot.seconds)

    def take(self, message: bytes, client: tuple[str, int], local: tuple[str, int], later: Later, *, udp: bool) -> bytes | None:
        """Return the reply to a message, None if there is none, or none yet; `later` gets the one that comes later."""
        now = time.monotonic()
        query = read(message, udp=udp, client=client, local=local, now=now)
        if query is None:
            return None
        if isinstance(query, Refusal):
            reply = refuse(query)
            self._books.flow("", 0, query.rcode, "").count(1, len(message), len(reply), time.monotonic() - now)
            return reply
        if len(self.waiting) >= BUSY:
            return self._finish(query, message, failure(SERVFAIL))
        coroutine = self.chain.answer(query)
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            return self._written(query, message, done.value)
        except Exception:
            return self._finish(query, message, self._broken(query))
        task = asyncio.get_running_loop().create_task(self._wait(query, message, _Rest(coroutine, awaited), later))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)
        return None

    async def ask(self, query: Query) -> Reply | None:
        """Answer a query of this process itself, such as `explain` asks."""
        return await self.chain.answer(query)

    async def _wait(self, query: Query, message: bytes, rest: "_Rest", later: Later) -> None:
        try:
            reply = await rest
        except Exception:
            reply = self._broken(query)
        later(self._written(query, message, reply))

    def _written(self, query: Query, message: bytes, reply: Reply | None) -> bytes | None:
        try:
            return self._finish(query, message, reply)
        except Exception:
            return self._finish(query, message, self._broken(query))

    def _broken(self, query: Query) -> Reply:
        self._books.panics[0] += 1
        if time.monotonic() >= self._quiet_until:  # writing down where it broke takes long, and a client may ask the same again and again
            self._quiet_until = time.monotonic() + QUIET
            log.exception("a query could not be answered", extra={"question": text(query.name), "type": query.qtype})
        return failure(SERVFAIL)

    def _finish(self, query: Query, message: bytes, reply: Reply | None) -> bytes | None:
        """Write, count and keep a reply."""
        if reply is None:
            return None
        now = time.monotonic()
        if reply.rotate:
            reply = self.hot.shuffled(reply)
        made = encode(query, reply)
        flow = self._books.flow(reply.zone, query.qtype, reply.rcode, reply.plugin, do=query.do)
        flow.count(1, len(message), len(made), now - query.started)
        self._top.count(query.key)
        if reply.life is not None:
            self.hot.store(query, message, reply, first=made, flow=flow, now=now)
        return made


class _Rest(Generator[Any, Any, "Reply | None"]):
    """The rest of a coroutine that has been driven to its first suspension: waits for the same, then goes on."""

    def __init__(self, coroutine: Coroutine[Any, Any, Reply | None], awaited: object) -> None:
        self._coroutine = coroutine
        self._awaited: object = awaited

    def __await__(self) -> "_Rest":
        return self

    def send(self, value: object) -> object:
        """Yield what was awaited first, then whatever the coroutine awaits."""
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            return awaited
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> object:
        """Let the coroutine see an exception of what it waits for."""
        return self._coroutine.throw(*error)
