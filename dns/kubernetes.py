"""The kubernetes plugin: `resolve` over the catalog, and what needs others: fallthrough, aliases, names that are not there yet.

An alias (ExternalName) whose target lies in the same zone is followed in memory, at most ten steps; one that points elsewhere is asked of
the whole server, so that other zones, hosts, forward and cache apply (REC-61, REC-63). Fallthrough is for names that do not exist, and is
tried before "not known yet" turns them into SERVFAIL (REC-100, REC-110).
"""

from collections.abc import Hashable

from pointsman.dns.catalog import Catalog, label
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import KubernetesOptions
from pointsman.dns.entries import Rules
from pointsman.dns.facts import packed
from pointsman.dns.names import cut, wire
from pointsman.dns.question import AA, NOERROR, NXDOMAIN, SERVFAIL, STEPS, TC, Query
from pointsman.dns.reply import Life, Record, Reply, failure
from pointsman.dns.resolve import PLUGIN, External, Resolver, Settings, is_reverse


def settings_of(options: KubernetesOptions, local: tuple[str, ...]) -> Settings:
    """Return what a directive says in the words of `resolve`; `local` are this server's addresses."""
    return Settings(
        zones=tuple(wire(zone.lower()) for zone in options.zones),
        ttl=options.ttl,
        pods=options.pods,
        namespaces=frozenset(label(name) for name in options.namespaces),
        rules=Rules(options.endpoint_pod_names, options.ignore_empty, options.endpoints, options.zonal),
        multicluster=frozenset(wire(zone.lower()) for zone in options.multicluster),
        local=tuple(address for text in local if (address := packed(text)) is not None),
    )


class Kubernetes:
    """One kubernetes directive in its place in a chain; `everything` asks the whole server, `following` is the next plugin."""

    def __init__(
        self,
        options: KubernetesOptions,
        catalog: Catalog,
        everything: Responder,
        following: Responder | None = None,
        *,
        local: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings_of(options, local)
        self._resolver = Resolver(self._settings, catalog)
        self._everything = everything
        self._following = following
        self._on: tuple[bytes, ...] | None = None
        if options.fallthrough is not None:
            self._on = tuple(wire(zone.lower()) for zone in options.fallthrough.zones) or self._settings.zones

    def plain(self, block: str, *, ttl: int | None = None) -> tuple[Plain, ...]:
        """Return the zones whose unknown names need no plugin; `ttl` is the SOA's if a plugin in front changes it."""
        own = self._settings.ttl
        return tuple(
            Plain(zone, min(own, 300) if ttl is None else ttl, own, block)
            for zone in self._settings.zones
            if not is_reverse(zone) and zone not in self._settings.imported and not self._divided(zone)
        )

    async def answer(self, query: Query) -> Reply | None:
        """Answer a query, or hand it on."""
        found = self._resolver.resolve(query)
        if found is None:
            return await self._next(query)
        if isinstance(found, External):
            return await self._alias(query, found)
        if found.rcode == NXDOMAIN:
            return await self._next(query) if self._hands_on(query.key) else self._resolver.denied(found, query.key)
        return found

    def _hands_on(self, key: bytes) -> bool:
        return self._on is not None and any(cut(key, zone) >= 0 for zone in self._on)

    def _divided(self, zone: bytes) -> bool:
        """Return whether unknown names of a zone, or of a part of it, are handed on."""
        return self._hands_on(zone) or any(cut(part, zone) >= 0 for part in self._on or ())

    async def _next(self, query: Query) -> Reply | None:
        return failure(SERVFAIL, PLUGIN) if self._following is None else await self._following(query)

    async def _alias(self, query: Query, first: External) -> Reply | None:
        """Follow an alias inside its zone; the last step may lead outside."""
        zone = self._resolver.zone_of(query.key)
        chain: list[Record] = []
        tags: list[Hashable] = []
        seen: set[bytes] = {query.key}
        step = first
        while True:
            chain.append(step.record)
            tags.extend(step.tags)
            target = step.target.lower()
            if zone is None or cut(target, zone) < 0:
                return await self._outside(query, chain, step.target)
            if target in seen or len(chain) > STEPS:
                return self._empty(query, tags)
            seen.add(target)
            found = self._resolver.resolve(query.asking(step.target))
            if isinstance(found, External):
                step = found
                continue
            if found is None or not found.answer:
                return self._empty(query, [*tags, *(found.life.tags if found is not None and found.life is not None else ())])
            life = None if found.life is None else Life((*tags, *found.life.tags))
            return Reply(answer=(*chain, *found.answer), flags=AA, plugin=PLUGIN, life=life)

    async def _outside(self, query: Query, chain: list[Record], target: bytes) -> Reply:
        """Ask the whole server for a name elsewhere; its failure leaves the alias alone (REC-64)."""
        inner = query.chasing(target)
        reply = None if inner is None else await self._everything(inner)
        if reply is None:
            return self._empty(query, [])
        return Reply(rcode=NOERROR, answer=(*chain, *reply.answer), flags=AA | (reply.flags & TC), plugin=PLUGIN)

    def _empty(self, query: Query, tags: list[Hashable]) -> Reply:
        """Return NODATA: an alias that leads nowhere is not told (REC-61)."""
        zone = self._resolver.zone_of(query.key) or query.key
        return Reply(authority=(self._resolver.soa(query.name[-len(zone) :]),), flags=AA, plugin=PLUGIN, life=Life(tuple(tags)))
