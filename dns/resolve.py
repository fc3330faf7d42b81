"""Names of cluster zones to replies: the grammar of the name, then the type that is asked (REC-30 to REC-97). Pure.

`Resolver` is one kubernetes directive over one catalog. `resolve` finds the zone (longest match), reads the part left of it from the right,
and says what is there; the plugin (`kubernetes`) adds what needs others: fallthrough, and external names that lie outside.

Each reply says on which tags of the catalog it rests (`reply.Life`), so that it may be given again until exactly those change: a Service's
key and its namespace, an address, or nothing at all for names that the grammar alone decides.

Deliberate differences to CoreDNS, all where it documents a quirk: TXT at the apex, `svc`, `pod` and namespaces is NODATA (an NXDOMAIN there
would deny the whole tree to resolvers that follow RFC 8020), and NS is answered in any letter case (REC-71, REC-95).
"""

from collections.abc import Hashable
from typing import Final

from msgspec import Struct
from pointsman.dns import apex, reverse
from pointsman.dns.catalog import Catalog
from pointsman.dns.entries import Entry, Found, Rules, Wanted, decoded_address, entries, pod_text
from pointsman.dns.names import IN_ADDR, IP6, cut, join, labels
from pointsman.dns.question import AA, NOERROR, NXDOMAIN, REFUSED, SERVFAIL, Query
from pointsman.dns.reply import Life, Record, Reply, failure

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
IXFR: Final = 251
AXFR: Final = 252

PLUGIN: Final = "kubernetes"
VERSION: Final = b"\x051.1.0"
VERSION_TTL: Final = 28800

SVC: Final = b"\x03svc"
POD: Final = b"\x03pod"


class Settings(Struct, frozen=True):
    """One kubernetes directive; zones are lower-case wire names, namespaces wire labels, longest zones first."""

    zones: tuple[bytes, ...]
    ttl: int = 5
    pods: str = "disabled"
    namespaces: frozenset[bytes] = frozenset()
    rules: Rules = Rules()
    multicluster: frozenset[bytes] = frozenset()
    local: tuple[bytes, ...] = ()

    @property
    def primary(self) -> bytes:
        """Return the zone that PTR records point into (PTR-06)."""
        return next(zone for zone in self.zones if not is_reverse(zone))

    @property
    def imported(self) -> frozenset[bytes]:
        """Return the zones that hold imports: those of `multicluster`, and those below."""
        return frozenset(zone for zone in self.zones if any(cut(zone, each) >= 0 for each in self.multicluster))


class External(Struct, frozen=True):
    """The name is an alias of another one: the CNAME, its target's wire name, and on what that rests."""

    record: Record
    target: bytes
    tags: tuple[Hashable, ...]


def is_reverse(zone: bytes) -> bool:
    """Return whether a zone holds addresses."""
    return cut(zone, IN_ADDR) >= 0 or cut(zone, IP6) >= 0


class Resolver:
    """Answers names of the zones of one directive."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._zones = tuple(sorted(settings.zones, key=len, reverse=True))
        self._primary = settings.primary
        self._imported = settings.imported

    def zone_of(self, key: bytes) -> bytes | None:
        """Return the zone that a name (lower case) lies in (REC-30)."""
        return next((zone for zone in self._zones if cut(key, zone) >= 0), None)

    def resolve(self, query: Query) -> Reply | External | None:
        """Answer a query; None if the name is in none of the zones."""
        zone = self.zone_of(query.key)
        if zone is None:
            return None
        if query.qtype in (AXFR, IXFR):
            return failure(REFUSED, PLUGIN)
        left = len(query.key) - len(zone)
        asked = _Asked(query, query.name[left:], labels(query.key[:left] + b"\x00"))
        if query.qtype == SOA:
            return self._nodata(asked) if left else self._answer(asked, (self.soa(asked.zone),), None)
        if is_reverse(zone):
            return self._reverse(asked)
        return self._forward(asked, zone)

    def soa(self, zone: bytes) -> Record:
        """Return the SOA record of a zone, spelled as the query spells it."""
        catalog = self._catalog
        return apex.soa(zone, self._settings.ttl, catalog.imports_serial if zone.lower() in self._imported else catalog.serial)

    # --- by name ---------------------------------------------------------------------------------------------------------

    def _forward(self, asked: "_Asked", zone: bytes) -> Reply | External:
        parts = asked.labels
        if not parts:
            return self._name_servers(asked) if asked.qtype == NS else self._nodata(asked)
        match parts:
            case [b"dns-version"]:
                if asked.qtype != TXT:
                    return self._nothing(asked)
                return self._answer(asked, (Record(asked.name, TXT, VERSION_TTL, VERSION),), ())
            case [b"ns", b"dns"]:
                return self._own_name(asked)
            case [b"svc"] | [b"pod"]:
                return self._nodata(asked)
            case [*_, b"svc"]:
                return self._service(asked, zone)
            case [*_, b"pod"]:
                return self._pod(asked)
        return self._nothing(asked)

    def _service(self, asked: "_Asked", zone: bytes) -> Reply | External:
        parts = asked.labels
        space = join((parts[-2],), b"")
        if len(parts) == 2:
            return self._nodata(asked, space) if self._exposed(space) else self._nothing(asked, space)
        imported = zone in self._imported
        key = join((parts[-3],), space)
        tags = ((b"\x00" + key) if imported else key, space)
        wanted = self._wanted(parts[:-3], imported=imported)
        if wanted is None or not self._exposed(space):
            return self._nothing(asked, *tags)
        services = self._catalog.imports if imported else self._catalog.services
        fact = services.get(key)
        found = entries(fact, wanted, self._settings.rules)
        if fact is not None and found.external:
            return self._alias(asked, found.external, tags)
        return self._typed(asked, found, (parts[-3], parts[-2], b"svc"), tags)

    def _wanted(self, parts: list[bytes], *, imported: bool) -> Wanted | None:
        """Read what is left of the Service (REC-31); None where that cannot be a name."""
        texts = [part.decode("latin-1") for part in parts]
        if not texts:
            return Wanted()
        if self._settings.rules.zonal and not imported and len(texts) >= 3 and texts[-1] == "_zone":
            directive = texts[-2]
            return Wanted(zone=".".join(texts[:-2]), directive=directive) if directive in ("pin", "prefer") else None
        match texts:
            case [endpoint]:
                return Wanted(endpoint=endpoint)
            case [endpoint, cluster] if imported and not endpoint.startswith("_") and not cluster.startswith("_"):
                return Wanted(endpoint=endpoint, cluster=cluster)
            case [port, protocol]:
                return Wanted(port=port.removeprefix("_"), protocol=protocol.removeprefix("_"))
        return None

    def _pod(self, asked: "_Asked") -> Reply:
        parts, mode = asked.labels, self._settings.pods
        if mode == "disabled" or len(parts) > 5:
            return self._nothing(asked)
        space = join((parts[-2],), b"")
        if not self._exposed(space):
            return self._nothing(asked, space)
        if len(parts) == 2:
            return self._nodata(asked, space)
        label = parts[-3].decode("latin-1")
        address = decoded_address(label)
        if address is None:
            return self._nothing(asked, space)
        reply = self._typed(asked, Found((Entry(address, 0),), exists=True), (parts[-3], parts[-2], b"pod"), (space,))
        if mode == "verified":
            there = self._catalog.pods.has(parts[-2].decode("latin-1"), pod_text(label))
            return (reply if there else self._nothing(asked, space)).but(life=None)
        return reply

    def _exposed(self, space: bytes) -> bool:
        """Return whether names of a namespace are served (REC-11)."""
        allowed = self._settings.namespaces
        return (not allowed or space in allowed) and space in self._catalog.namespaces

    # --- by type ---------------------------------------------------------------------------------------------------------

    def _typed(self, asked: "_Asked", found: Found, below: tuple[bytes, ...], tags: tuple[Hashable, ...]) -> Reply:
        if not found.exists:
            return self._nothing(asked, *tags)
        if asked.qtype == SRV:
            return self._srv(asked, found.entries, join(below, asked.zone), tags)
        return self._addresses(asked, found.entries, tags)

    def _addresses(self, asked: "_Asked", found: tuple[Entry, ...], tags: tuple[Hashable, ...]) -> Reply:
        """Answer A and AAAA (REC-42); every other type of an existing name is NODATA (REC-70)."""
        size = {A: 4, AAAA: 16}.get(asked.qtype)
        distinct = dict.fromkeys(entry.address for entry in found if len(entry.address) == size)
        if not distinct:
            return self._nodata(asked, *tags)
        return self._answer(asked, tuple(Record(asked.name, asked.qtype, self._settings.ttl, each) for each in distinct), tags)

    def _srv(self, asked: "_Asked", found: tuple[Entry, ...], below: bytes, tags: tuple[Hashable, ...]) -> Reply:
        """Answer SRV with the targets' addresses (REC-43, REC-44); `below` is the name of the Service or Pod."""
        if not found:
            return self._nodata(asked, *tags)
        ttl = self._settings.ttl
        front = b"\x00\x00" + max(1, 100 // len(found)).to_bytes(2, "big")
        answer: dict[Record, None] = {}
        additional: dict[Record, None] = {}
        for entry in found:
            if not 0 <= entry.port <= 65535:
                continue
            target = join((part.encode() for part in entry.host), below)
            answer[Record(asked.name, SRV, ttl, front + entry.port.to_bytes(2, "big") + target)] = None
            additional[Record(target, A if len(entry.address) == 4 else AAAA, ttl, entry.address)] = None
        if not answer:
            return self._nodata(asked, *tags)
        return self._answer(asked, tuple(answer), tags).but(additional=tuple(additional))

    def _alias(self, asked: "_Asked", target: str, tags: tuple[Hashable, ...]) -> Reply | External:
        """Answer an ExternalName (REC-60 to REC-62); A and AAAA need its target, too."""
        name = apex.external_target(target)
        if name is None:
            return self._nothing(asked, *tags)
        record = Record(asked.name, CNAME, self._settings.ttl, name)
        if asked.qtype == CNAME:
            return self._answer(asked, (record,), tags)
        if asked.qtype not in (A, AAAA) or cut(name.lower(), asked.key) >= 0:
            return self._nodata(asked, *tags)
        return External(record, name, tags)

    def _reverse(self, asked: "_Asked") -> Reply:
        if not asked.labels:
            return self._nodata(asked)
        if asked.qtype != PTR:
            return self._nothing(asked)
        settings = self._settings
        found = reverse.targets(asked.key, self._catalog, self._primary, settings.rules, settings.namespaces)
        if found is None:
            return self._nothing(asked)
        names, tag = found
        if not names:
            return self._nothing(asked, tag)
        return self._answer(asked, tuple(Record(asked.name, PTR, settings.ttl, name) for name in names), (tag,))

    # --- the apex --------------------------------------------------------------------------------------------------------

    def _name_servers(self, asked: "_Asked") -> Reply:
        servers = apex.name_servers(self._catalog, self._settings.local, asked.zone, pod_names=self._settings.rules.pod_names)
        if not servers:
            return self._nodata(asked).but(life=None)
        ttl = self._settings.ttl
        records = tuple(Record(asked.name, NS, ttl, name) for name in servers)
        glue = tuple(
            Record(name, A if len(each) == 4 else AAAA, ttl, each) for name, addresses in servers.items() for each in addresses
        )
        return self._answer(asked, records, None).but(additional=glue)

    def _own_name(self, asked: "_Asked") -> Reply:
        servers = apex.name_servers(self._catalog, self._settings.local, asked.zone, pod_names=self._settings.rules.pod_names)
        every = tuple(Entry(each, -1) for addresses in servers.values() for each in addresses)
        return self._addresses(asked, every, ()).but(life=None)

    # --- replies ---------------------------------------------------------------------------------------------------------

    def _answer(self, asked: "_Asked", records: tuple[Record, ...], tags: tuple[Hashable, ...] | None) -> Reply:
        del asked
        return Reply(answer=records, flags=AA, plugin=PLUGIN, life=None if tags is None else Life(tags))

    def _nodata(self, asked: "_Asked", *tags: Hashable) -> Reply:
        return Reply(rcode=NOERROR, authority=(self.soa(asked.zone),), flags=AA, plugin=PLUGIN, life=Life(tags))

    def _nothing(self, asked: "_Asked", *tags: Hashable) -> Reply:
        return Reply(rcode=NXDOMAIN, authority=(self.soa(asked.zone),), flags=AA, plugin=PLUGIN, life=Life(tags))

    def denied(self, reply: Reply, key: bytes) -> Reply:
        """Return an NXDOMAIN for a name as it must be told now: SERVFAIL while what decides is not known yet (REC-110)."""
        catalog, zone = self._catalog, self.zone_of(key)
        known = catalog.synced and (catalog.imports_known or zone not in self._imported)
        if known and self._settings.pods == "verified" and not catalog.pods.known:
            known = zone is None or is_reverse(zone) or not key[: len(key) - len(zone)].endswith(POD)
        return reply if known else reply.but(rcode=SERVFAIL, life=None)


class _Asked(Struct, frozen=True, gc=False):
    """A query taken apart: `zone` in the client's spelling, the labels left of it in lower case."""

    query: Query
    zone: bytes
    labels: list[bytes]

    @property
    def name(self) -> bytes:
        return self.query.name

    @property
    def key(self) -> bytes:
        return self.query.key

    @property
    def qtype(self) -> int:
        return self.query.qtype
