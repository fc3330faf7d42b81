"""Plugins that answer a few questions from what they are: whoami, any, chaos, local. Only whoami says AA, as CoreDNS's do."""

import ipaddress

from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import ChaosOptions, LocalOptions
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import NXDOMAIN, Query
from pointsman.dns.reply import Life, Record, Reply

A, NS, SOA, PTR, HINFO, TXT, AAAA, SRV, ANY = 1, 2, 6, 12, 13, 16, 28, 33, 255
CHAOS = 3
ANY_TTL = 8482
LOCAL_TTL = 604800
LOCALHOST = names.wire("localhost")
LOCAL_ZONES = tuple(names.wire(zone) for zone in ("localhost", "0.in-addr.arpa", "127.in-addr.arpa", "255.in-addr.arpa"))
LOCAL_REVERSE = names.wire("1.0.0.127.in-addr.arpa")
LOOPBACK = {A: ipaddress.ip_address("127.0.0.1").packed, AAAA: ipaddress.ip_address("::1").packed}


def text_rdata(text: str) -> bytes:
    """Return a TXT rdata of one text, in strings of at most 255 bytes."""
    raw = text.encode()
    parts = [raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""]
    return b"".join(bytes((len(part),)) + part for part in parts)


class Whoami(Quiet):
    """whoami: the client's address and port in the additional section."""

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - nothing follows
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            host, port = query.client
            address = ipaddress.ip_address(host.partition("%")[0])
            service = (b"\x04_udp" if query.udp else b"\x04_tcp") + query.name
            additional = (
                Record(query.name, A if address.version == 4 else AAAA, 0, address.packed, query.qclass),
                Record(service, SRV, 0, b"\0\0\0\0" + port.to_bytes(2, "big") + names.ROOT, query.qclass),
            )
            return Reply(additional=additional, plugin="whoami")

        return respond


class Any(Quiet):
    """any: the short answer to ANY (RFC 8482, WIR-60)."""

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""
        rdata = b"".join(bytes((len(text),)) + text for text in (b"ANY obsoleted", b"See RFC 8482"))

        async def respond(query: Query) -> Reply | None:
            if query.qtype != ANY:
                return await following(query)
            return Reply(answer=(Record(query.name, HINFO, ANY_TTL, rdata),), flags=0, plugin="any", life=Life())

        return respond

    def plain(self, plain: Plain) -> Plain | None:  # noqa: ARG002 - one form for all plugins
        """Return nothing: unknown names have an answer to ANY."""
        return None


class Chaos(Quiet):
    """chaos: version, authors and host name, in class CH (WIR-09)."""

    def __init__(self, options: ChaosOptions, around: Surroundings) -> None:
        version = options.version or f"pointsman-{around.version}"
        host = (around.hostname,)
        self._texts = {
            names.wire("version.bind"): (version,),
            names.wire("version.server"): (version,),
            names.wire("authors.bind"): options.authors or ("the pointsman authors",),
            names.wire("hostname.bind"): host,
            names.wire("id.server"): host,
        }

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            if query.qclass != CHAOS or query.qtype != TXT or query.key not in self._texts:
                return await following(query)
            answer = tuple(Record(query.name, TXT, 0, text_rdata(text), CHAOS) for text in self._texts[query.key])
            return Reply(answer=answer, flags=0, plugin="chaos")

        return respond


class Local(Quiet):
    """local: names of this machine itself, which must not go to the world."""

    def __init__(self, options: LocalOptions, around: Surroundings) -> None:
        self._prefix = options.prefix
        self._asked = around.tally.cell("coredns_local_localhost_requests_total")

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            key = query.key
            below = key != LOCALHOST and names.cut(key, LOCALHOST) > 0
            if below or (self._prefix and key.startswith(b"\x09localhost") and key != LOCALHOST):
                self._asked[0] += 1
                return self._here(query)
            zone = next((zone for zone in LOCAL_ZONES if names.cut(key, zone) >= 0), None)
            return await following(query) if zone is None else self._in_zone(query, zone)

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut, unless `localhost` under any domain is answered here."""
        return None if self._prefix else plain

    def _here(self, query: Query) -> Reply:
        if query.qtype in LOOPBACK:
            return _fixed(answer=(Record(query.name, query.qtype, LOCAL_TTL, LOOPBACK[query.qtype]),))
        return _fixed(authority=(_soa(query.name),))

    def _in_zone(self, query: Query, zone: bytes) -> Reply:
        if query.key == zone:
            if query.qtype == SOA:
                return _fixed(answer=(_soa(query.name),))
            if query.qtype == NS:
                return _fixed(answer=(Record(query.name, NS, LOCAL_TTL, LOCALHOST),))
            return self._here(query) if zone == LOCALHOST else _fixed(authority=(_soa(query.name),))
        apex = query.name[-len(zone) :]
        if query.key == LOCAL_REVERSE:
            if query.qtype == PTR:
                return _fixed(answer=(Record(query.name, PTR, LOCAL_TTL, LOCALHOST),))
            return _fixed(authority=(_soa(apex),))
        return _fixed(authority=(_soa(apex),)).but(rcode=NXDOMAIN)


def _fixed(answer: tuple[Record, ...] = (), authority: tuple[Record, ...] = ()) -> Reply:
    return Reply(answer=answer, authority=authority, flags=0, plugin="local", life=Life())


def _soa(owner: bytes) -> Record:
    numbers = (1, 0, 0, 0, LOCAL_TTL)
    rdata = LOCALHOST + names.wire("root.localhost") + b"".join(number.to_bytes(4, "big") for number in numbers)
    return Record(owner, SOA, LOCAL_TTL, rdata)
