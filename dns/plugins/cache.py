"""cache: replies of upstreams, kept for their lifetime (CAC-01 to CAC-60).

It keeps what would have to be asked again. What comes from memory anyway, such as a cluster name, is not kept: its TTLs are levelled as
CoreDNS would, so a new Service or a pod that became ready is seen at once and never hidden by an
old denial (CAC-80). What is kept gets a life until its end: the server's hot table answers it without coming here.

A denial lives no longer than its SOA's minimum (CAC-81, RFC 2308). Refreshing, early or late (serve_stale), is one task per entry.
With prefetch, the first hits come here to be counted, then the hot table may answer until the time for refreshing has come.
"""

import asyncio
import math
import time
from collections.abc import Callable

import msgspec
from pointsman.dns import names
from pointsman.dns.classify import Kind, kind
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile import options as settings
from pointsman.dns.corefile.options import CacheOptions
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.plugins.store import Entry, Store, pack
from pointsman.dns.question import AA, AD, CD, NOERROR, NXDOMAIN, RD, SERVFAIL, Query
from pointsman.dns.reply import Life, Record, Reply
from pointsman.dns.tally import Cell

NS, SOA = 2, 6
BARE = 5
"""Seconds of a reply without any record (CAC-33), of a referral, and of what is neither an answer nor a denial, such as a broken alias."""
NAME = "cache"
FROM_MEMORY = frozenset(("kubernetes", "hosts", "local", "any", "chaos", "whoami", "loop"))
"""Plugins whose replies are never kept: asking them again costs nothing, and they may know better by then."""


class Counters:
    """The cache's numbers on one listener (OBS-10 to OBS-12)."""

    def __init__(self, around: Surroundings, server: str, zones: str) -> None:
        def cell(metric: str, *kinds: str) -> Cell:
            return around.tally.cell(metric, server, *kinds, zones, "")

        self.requests = cell("coredns_cache_requests_total")
        self.misses = cell("coredns_cache_misses_total")
        self.prefetches = cell("coredns_cache_prefetch_total")
        self.drops = cell("coredns_cache_drops_total")
        self.stale = cell("coredns_cache_served_stale_total")
        self.entries = {one: cell("coredns_cache_entries", one) for one in ("success", "denial")}
        self.hits = {one: cell("coredns_cache_hits_total", one) for one in ("success", "denial")}
        self.evictions = {one: cell("coredns_cache_evictions_total", one) for one in ("success", "denial")}


class Cache(Quiet):
    """The cache of a server block."""

    def __init__(self, options: CacheOptions, around: Surroundings, wall: Callable[[], float] = time.time) -> None:
        self.options = options
        self.around = around
        self._wall = wall
        self.zones = tuple(names.wire(zone).lower() for zone in options.zones)
        self._off = {
            Kind.SUCCESS: tuple(names.wire(zone).lower() for zone in options.no_success),
            Kind.DENIAL: tuple(names.wire(zone).lower() for zone in options.no_denial),
        }
        self.stores = {"success": Store(options.success.capacity), "denial": Store(options.denial.capacity)}

    def inherit(self, former: "Cache") -> None:
        """Go on with what a former cache of the same block kept: a reload forgets nothing (OBS-53)."""
        self.stores = former.stores
        self.stores["success"].resize(self.options.success.capacity)
        self.stores["denial"].resize(self.options.denial.capacity)

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""
        return _Link(self, following, Counters(self.around, where.server, ",".join(self.options.zones))).respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut with the TTL that this cache would give."""
        if not covers(self.zones, plain.zone):
            return plain
        return msgspec.structs.replace(plain, ttl=_within(plain.ttl, self.options.denial))

    def keeps(self, what: Kind, key: bytes) -> bool:
        """Return whether a kind of reply is kept for a name (CAC-17)."""
        return what is not Kind.NEVER and not covers(self._off.get(what, ()), key)

    def judged(self, query: Query, reply: Reply) -> tuple[Kind, int]:
        """Return the kind of a reply and its lifetime in seconds (CAC-40, CAC-16)."""
        what = kind(query, reply, self._wall())
        if what is Kind.FAILURE:
            return what, int(self.options.servfail)
        denied = what is Kind.DENIAL or (reply.rcode == NXDOMAIN and not reply.answer)
        bounds = self.options.denial if denied else self.options.success
        records = (*reply.answer, *reply.authority, *reply.additional)
        lifetime = min((record.ttl for record in records), default=BARE)
        referral = not reply.answer and any(record.rtype == NS for record in reply.authority)
        if not denied and (reply.rcode != NOERROR or referral):
            lifetime = BARE
        if what is Kind.DENIAL:
            lifetime = min([lifetime, *(int.from_bytes(record.rdata[-4:], "big") for record in reply.authority if record.rtype == SOA)])
        return what, _within(lifetime, bounds)


def covers(zones: tuple[bytes, ...], key: bytes) -> bool:
    """Return whether a name lies in one of some zones."""
    return any(names.cut(key, zone) >= 0 for zone in zones)


def _within(lifetime: int, bounds: settings.Store) -> int:
    return min(max(lifetime, bounds.shortest), bounds.longest)


class _Link:
    """The cache on one listener."""

    def __init__(self, cache: Cache, following: Responder, counters: Counters) -> None:
        self._cache = cache
        self._following = following
        self._count = counters
        self._tasks: set[asyncio.Task[bool]] = set()

    async def respond(self, query: Query) -> Reply | None:
        """Answer from the cache, or keep what the next plugin says."""
        if not covers(self._cache.zones, query.key):
            return await self._following(query)
        self._count.requests[0] += 1
        now = self._cache.around.clock()
        key = _key(query)
        found = self._find(key, now)
        if found is None:
            self._count.misses[0] += 1
            return await self._ask(query, key)
        store, entry = found
        self._count.hits[store][0] += 1
        if entry.left(now) > 0:
            self._touch(query, key, entry, now)
            return self._hit(query, store, entry, now)
        return await self._stale(query, key, entry)

    def _find(self, key: bytes, now: float) -> tuple[str, Entry] | None:
        """Return the entry that answers: denials first, but a failure neither hides a good answer (CAC-22) nor outlives its time."""
        stores, options = self._cache.stores, self._cache.options
        longest = options.stale.duration if options.stale else 0.0

        def usable(store: str) -> Entry | None:
            found = stores[store].get(key)
            if found is None or found.left(now) > 0:
                return found
            return found if -found.left(now) < longest and found.rcode in {NOERROR, NXDOMAIN} else None

        success, denial = usable("success"), usable("denial")
        if success is not None and (denial is None or denial.rcode == SERVFAIL or (options.prefer_positive and longest)):
            return "success", success
        return None if denial is None else ("denial", denial)

    async def _ask(self, query: Query, key: bytes) -> Reply | None:
        reply = await self._following(msgspec.structs.replace(query, flags=query.flags | AD))
        return reply and self._keep(query, key, reply)

    def _keep(self, query: Query, key: bytes, reply: Reply) -> Reply:
        """Keep a reply if it is to be kept; return it with levelled TTLs (CAC-41)."""
        cache = self._cache
        what, lifetime = cache.judged(query, reply)
        level = levelled(reply, lifetime).but(options=None)
        if reply.life is None and reply.plugin not in FROM_MEMORY and lifetime > 0 and cache.keeps(what, query.key):
            store = "success" if what is Kind.SUCCESS else "denial"
            kept = pack(query, level.but(flags=level.flags & ~RD), cache.around.clock(), lifetime)
            cache.stores[store].put(key, kept)
            for name, one in cache.stores.items():
                self._count.entries[name][0] = len(one)
                self._count.evictions[name][0] = one.evicted
            level = level.but(life=self._life(kept, store, cache.around.clock()))
        return _for_client(query, level)

    def _hit(self, query: Query, store: str, entry: Entry, now: float) -> Reply:
        left = entry.ttl if self._cache.options.keepttl else entry.left(now)
        reply = entry.reply(query, left)
        return _for_client(query, reply.but(flags=reply.flags | AA, plugin=NAME, life=self._life(entry, store, now)))

    def _life(self, entry: Entry, store: str, now: float) -> Life | None:
        """Return for how long the hot table may answer."""
        options = self._cache.options
        until = entry.stored + entry.ttl
        if options.prefetch:
            threshold = math.ceil(options.prefetch.percentage / 100 * entry.ttl)
            until = entry.stored + entry.ttl - threshold
            if entry.care is None or entry.care.hits < options.prefetch.amount or until <= now:
                return None
        born = entry.stored + int(now - entry.stored)
        return Life(until=until, counting=not options.keepttl, born=born, counted=(self._count.requests, self._count.hits[store]))

    def _touch(self, query: Query, key: bytes, entry: Entry, now: float) -> None:
        """Count a hit, and refresh early where that is due (CAC-50)."""
        prefetch = self._cache.options.prefetch
        if prefetch is None:
            return
        care = entry.cared()
        if care.hits < prefetch.amount and now - care.last_hit > prefetch.gap:
            care.hits = 0
        care.hits += 1
        care.last_hit = now
        if care.hits >= prefetch.amount and entry.left(now) <= math.ceil(prefetch.percentage / 100 * entry.ttl):
            self._refresh(query, key, entry)

    def _refresh(self, query: Query, key: bytes, entry: Entry) -> asyncio.Task[bool] | None:
        """Ask again in the background, once per entry."""
        care = entry.cared()
        if care.refreshing or self._cache.around.clock() < care.rest_until:
            return None
        care.refreshing = True
        self._count.prefetches[0] += 1
        task = asyncio.get_running_loop().create_task(self._renew(query, key, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _renew(self, query: Query, key: bytes, entry: Entry) -> bool:
        """Replace an entry by a fresh answer; a failure leaves it as it is (CAC-52)."""
        renewed, care = False, entry.cared()
        try:
            reply = await self._following(msgspec.structs.replace(query, flags=query.flags | AD))
            if reply is not None and reply.rcode in {NOERROR, NXDOMAIN}:
                what, _ = self._cache.judged(query, reply)
                renewed = what in {Kind.SUCCESS, Kind.DENIAL}
                self._keep(query, key, reply)
                if what is Kind.SUCCESS:
                    self._cache.stores["denial"].drop(key)
                fresh = self._cache.stores["success" if what is Kind.SUCCESS else "denial"].get(key)
                if fresh is not None and fresh is not entry:
                    fresh.cared().hits, fresh.cared().last_hit = care.hits, care.last_hit
        finally:
            care.refreshing = False
            stale = self._cache.options.stale
            if stale and not renewed:
                care.rest_until = self._cache.around.clock() + stale.recheck
        return renewed

    async def _stale(self, query: Query, key: bytes, entry: Entry) -> Reply | None:
        """Answer from an expired entry (CAC-51)."""
        stale = self._cache.options.stale
        assert stale is not None
        task = self._refresh(query, key, entry)
        if stale.verify and task is not None:
            done, _ = await asyncio.wait({task}, timeout=stale.timeout or None)
            if done and task.result():
                found = self._find(key, self._cache.around.clock())
                if found is not None and found[1].left(self._cache.around.clock()) > 0:
                    return self._hit(query, *found, self._cache.around.clock())
        self._count.stale[0] += 1
        reply = entry.reply(query, stale.ttl)
        return _for_client(query, reply.but(flags=reply.flags | AA, plugin=NAME, life=None))


def _key(query: Query) -> bytes:
    """Return what an entry is found by (CAC-20)."""
    bits = query.do << 1 | bool(query.flags & CD)
    return b"%b%c%b%b" % (query.key, bits, query.qtype.to_bytes(2, "big"), query.qclass.to_bytes(2, "big"))


def levelled(reply: Reply, ttl: int) -> Reply:
    """Return the reply with one TTL for all records."""

    def level(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(record if record.ttl == ttl else msgspec.structs.replace(record, ttl=ttl) for record in records)

    return reply.but(answer=level(reply.answer), authority=level(reply.authority), additional=level(reply.additional))


def _for_client(query: Query, reply: Reply) -> Reply:
    """Return the reply without AD for a client that did not ask for it (CAC-60)."""
    return reply if query.do or query.flags & AD else reply.but(flags=reply.flags & ~AD)
