"""The last step of a search path, begun at the first (SRC-22).

A client that looks for `example.com` asks for `example.com.shop.svc.cluster.local` first, and is told that there is no such name. The next
names of the walk are denied from memory, too, and at the end comes `example.com`. So its resolution begins here when the first name is
denied: the walk then ends with an answer from the cache. No reply is changed.

Nothing is asked that the client would not ask: a name whose last label is a namespace, or that lies in the cluster's zone, is left alone,
so names of the cluster do not leave it. Questions are limited per second; who walks the same path again within a few seconds costs nothing.
"""

import asyncio
from collections.abc import Container

from pointsman.dns import names
from pointsman.dns.contract import Responder
from pointsman.dns.plugins.link import Surroundings
from pointsman.dns.question import RD, Query

A, AAAA = 1, 28
FOREVER = float("inf")
AGAIN = 5.0
"""Seconds after which a denied name begins another walk."""
PER_SECOND = 200
"""Walks that are begun in a second, at most."""
REMEMBERED = 4096
"""Names that were resolved ahead and are waited for, to count how many were asked for."""
LATE = 10.0
"""Seconds after which a name that was resolved ahead was so in vain."""
METRIC = "pointsman_dns_search_walks_total"
SVC = b"\x03svc"


class Speculation:
    """What is resolved ahead on one listener."""

    def __init__(self, ask: Responder, around: Surroundings) -> None:
        self._ask = ask
        self._around = around
        self._ahead: dict[tuple[bytes, int], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._second = 0
        self._begun = 0
        self._counts = {result: around.tally.cell(METRIC, result) for result in ("begun", "useful", "limited")}

    def denied(self, key: bytes, zone: bytes, qtype: int) -> float:
        """Hear that a name of a cluster's zone was denied; return until when (monotonic) the same need not be told again."""
        if qtype not in {A, AAAA}:
            return FOREVER
        meant = meant_by(key, zone, self._around.catalog.namespaces)
        if meant is None:
            return FOREVER
        now = self._around.clock()
        if int(now) != self._second:
            self._second, self._begun = int(now), 0
        self._begun += 1
        if self._begun > PER_SECOND:
            self._counts["limited"][0] += 1
        elif now - self._ahead.get((meant, qtype), -LATE) >= AGAIN:
            self._begin(meant, qtype, now)
        return now + AGAIN

    def asked(self, query: Query) -> None:
        """Hear what clients ask: the name that was resolved ahead may be among it."""
        if self._ahead:
            begun = self._ahead.pop((query.key, query.qtype), None)
            if begun is not None and self._around.clock() - begun < LATE:
                self._counts["useful"][0] += 1

    def _begin(self, meant: bytes, qtype: int, now: float) -> None:
        if len(self._ahead) >= REMEMBERED:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[meant, qtype] = now
        self._counts["begun"][0] += 1
        task = asyncio.get_running_loop().create_task(self._resolve(meant, qtype))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, meant: bytes, qtype: int) -> None:
        await self._ask(Query(0, RD, meant, meant, qtype, client=("127.0.0.1", 0), started=self._around.clock()))


def meant_by(key: bytes, zone: bytes, namespaces: Container[bytes]) -> bytes | None:
    """Return the name that a client means who asks for a name below `NAMESPACE.svc.ZONE`; None if it is no name of the world outside."""
    left = names.cut(key, zone)
    if left <= 0:
        return None
    starts = []
    at = 0
    while at < left:
        starts.append(at)
        at += 1 + key[at]
    if len(starts) < 4 or key[starts[-1] : left] != SVC or key[starts[-2] : starts[-1]] not in namespaces:
        return None
    last = key[starts[-3] : starts[-2]]
    meant = key[: starts[-2]] + names.ROOT
    if last in namespaces or last == SVC or last[1:].isdigit() or names.cut(meant, zone) >= 0:
        return None
    return meant
