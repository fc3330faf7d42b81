"""dns64: an AAAA made from A for clients of a network without IPv4 (RFC 6147, addresses as in RFC 6052)."""

import ipaddress

from pointsman.dns.contract import Responder
from pointsman.dns.corefile.options import Dns64Options
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import IN, NXDOMAIN, TC, Query
from pointsman.dns.reply import Record, Reply

A, SOA, AAAA = 1, 6, 28
UNKNOWN_TTL = 600
"""The longest TTL where no SOA says how long the lack of an AAAA lasts."""


class Dns64(Quiet):
    """The dns64 directive of a server block."""

    def __init__(self, options: Dns64Options, around: Surroundings) -> None:
        self._options = options
        self._prefix = ipaddress.IPv6Network(options.prefix)
        self._around = around

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""
        translated = self._around.tally.cell("coredns_dns64_requests_translated_total", where.server)

        async def respond(query: Query) -> Reply | None:
            reply = await following(query)
            if reply is None or reply.bare or query.qtype != AAAA or query.qclass != IN:
                return reply
            if not self._options.allow_ipv4 and ":" not in query.client[0]:
                return reply.but(life=None)
            if reply.rcode == NXDOMAIN or (not self._options.translate_all and any(one.rtype == AAAA for one in reply.answer)):
                return reply.but(life=None)
            four = await where.everything(query.asking(query.name, A))
            if four is None:
                return reply.but(life=None)
            translated[0] += 1
            return self._made(reply, four)

        return respond

    def _made(self, six: Reply, four: Reply) -> Reply:
        longest = next((record.ttl for record in six.authority if record.rtype == SOA), UNKNOWN_TTL)
        answer = tuple(
            Record(one.owner, AAAA, min(one.ttl, longest), embedded(self._prefix, one.rdata), one.rclass) if one.rtype == A else one
            for one in four.answer
        )
        return four.but(answer=answer, flags=four.flags & TC, options=None, clear=0, plugin="dns64", life=None, error="", bare=False)


def embedded(prefix: ipaddress.IPv6Network, address: bytes) -> bytes:
    """Return the IPv6 address that stands for an IPv4 one under a prefix; bits 64 to 71 stay zero (RFC 6052, section 2.2)."""
    start = prefix.prefixlen // 8
    made = prefix.network_address.packed[:start] + address
    if start <= 8:
        made = made[:8] + b"\0" + made[8:]
    return made.ljust(16, b"\0")[:16]
