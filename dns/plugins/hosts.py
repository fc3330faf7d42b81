"""hosts: names and addresses from a file and from the Corefile itself (section 3.5 of the specification).

The table is small and kept as wire. The file is looked at every few seconds by size and time, and read again when they changed; then
the hot table is emptied, for a name may have come that another plugin answered before. A name that is there has no other types than its
addresses (NODATA without SOA); one that is not there ends as SERVFAIL, unless fallthrough hands it on; any PTR that is not an address
with a name here is always handed on.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import HostsOptions
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Either, Quiet, Surroundings, Where
from pointsman.dns.question import SERVFAIL, Query
from pointsman.dns.reply import Life, Record, Reply, failure

A, PTR, AAAA = 1, 12, 28
NAME = "hosts"
SUPPORTED = frozenset((A, AAAA, PTR))
LARGEST = 32 << 20


class Table(Struct, frozen=True):
    """Names to addresses by type, addresses to names; a name whose first label is `*` stands for any one label there."""

    forward: dict[bytes, dict[int, list[bytes]]]
    reverse: dict[bytes, list[bytes]]
    wildcards: bool = False

    def find(self, key: bytes) -> Mapping[int, list[bytes]]:
        """Return the addresses of a name by type; a type that the name itself has not may come from a wildcard."""
        found = self.forward.get(key, {})
        if self.wildcards and key != names.ROOT:
            found = {**self.forward.get(b"\x01*" + names.parent(key), {}), **found}
        return found

    def __len__(self) -> int:
        """Return how many entries there are, both ways, as CoreDNS counts them (OBS-20)."""
        return sum(len(rdata) for types in self.forward.values() for rdata in types.values()) + sum(map(len, self.reverse.values()))


def table(lines: Iterable[str], zones: tuple[bytes, ...] = (names.ROOT,), *, reverse: bool = True) -> Table:
    """Read lines of a hosts file; what is no line of one is passed over, and so are names in none of the zones."""
    forward: dict[bytes, dict[int, list[bytes]]] = {}
    backward: dict[bytes, list[bytes]] = {}
    wildcards = False
    for line in lines:
        address, *hosts = line.partition("#")[0].split() or [""]
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            continue
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        rtype = A if ip.version == 4 else AAAA
        for host in hosts:
            try:
                wire = names.wire(host).lower()
            except ValueError:
                continue
            if not covers(zones, wire):
                continue
            wildcards = wildcards or host.startswith("*.")
            rdatas = forward.setdefault(wire, {}).setdefault(rtype, [])
            if ip.packed not in rdatas:
                rdatas.append(ip.packed)
            if reverse and not host.startswith("*.") and wire not in backward.setdefault(ip.packed, []):
                backward[ip.packed].append(wire)
    return Table(forward, backward, wildcards)


class Hosts(Quiet):
    """The hosts directive of a server block."""

    def __init__(self, options: HostsOptions, around: Surroundings) -> None:
        self._options = options
        self._around = around
        self._zones = tuple(names.wire(zone).lower() for zone in options.zones)
        self._on = None if options.fallthrough is None else tuple(names.wire(zone).lower() for zone in options.fallthrough.zones)
        self._seen: tuple[int, int] = (0, 0)
        self._watch: asyncio.Task[None] | None = None
        self._inline = self._read(options.inline)
        self._file = self._read(())
        self.refresh()

    def __contains__(self, key: object) -> bool:
        """Return whether a name is there now: then the short cut for unknown names is not taken."""
        return isinstance(key, bytes) and bool(self._find(key))

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            if query.qtype == PTR:
                targets = self._targets(query.key)
                return self._answer(query, targets) if targets else await following(query)
            if not covers(self._zones, query.key):
                return await following(query)
            if self._options.fallthrough_unsupported and query.qtype not in SUPPORTED and self._hands_on(query.key):
                return await following(query)
            found = self._find(query.key)
            if found:
                return self._answer(query, found.get(query.qtype, []))
            if self._hands_on(query.key):
                return await following(query)
            return failure(SERVFAIL, NAME, "the name is not in hosts, and there is no fallthrough")

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut without the names that are here."""
        if not covers(self._zones, plain.zone) and not any(names.cut(zone, plain.zone) >= 0 for zone in self._zones):
            return plain
        return msgspec.structs.replace(plain, exempt=Either(plain.exempt, self)) if self._hands_on(plain.zone) else None

    def _hands_on(self, key: bytes) -> bool:
        return self._on is not None and (not self._on or covers(self._on, key))

    def _read(self, lines: Iterable[str]) -> Table:
        return table(lines, self._zones, reverse=not self._options.no_reverse)

    def _find(self, key: bytes) -> dict[int, list[bytes]]:
        """Return the addresses of a name by type: those of the file, then those of the Corefile."""
        file, inline = self._file.find(key), self._inline.find(key)
        return {rtype: list(dict.fromkeys((*file.get(rtype, ()), *inline.get(rtype, ())))) for rtype in (*file, *inline)}

    def _targets(self, key: bytes) -> list[bytes]:
        address = names.address_of(key)
        if address is None:
            return []
        return list(dict.fromkeys((*self._file.reverse.get(address, ()), *self._inline.reverse.get(address, ()))))

    def _answer(self, query: Query, rdatas: list[bytes]) -> Reply:
        answer = tuple(Record(query.name, query.qtype, self._options.ttl, rdata) for rdata in rdatas)
        return Reply(answer=answer, plugin=NAME, life=Life())

    def start(self) -> None:
        """Watch the file."""
        if self._watch is None and self._options.reload:
            self._watch = asyncio.get_running_loop().create_task(self._look())

    def stop(self) -> None:
        """End watching."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._options.reload)
            self.refresh()

    def refresh(self) -> None:
        """Read the file if it changed; a file that is not there has no lines."""
        path = Path(self._options.file)
        try:
            state = path.stat()
            seen = (state.st_mtime_ns, state.st_size)
            if seen == self._seen:
                return
            lines = path.read_bytes()[:LARGEST].decode(errors="replace").splitlines()
        except OSError as error:
            if self._seen == (0, 0):
                return
            self._around.tell("warning", f"plugin/hosts: {self._options.file} cannot be read: {error.strerror}; its names are gone")
            seen, lines = (0, 0), []
        self._seen = seen
        self._file = self._read(lines)
        self._around.tally.cell("coredns_hosts_entries", self._options.file)[0] = len(self._file) + len(self._inline)
        self._around.tally.cell("coredns_hosts_reload_timestamp_seconds")[0] = seen[0] / 1e9
        self._around.forget()
