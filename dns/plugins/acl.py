"""acl: who may ask what (WIR-61). The first rule that fits decides; what no rule fits is allowed."""

import ipaddress
from collections.abc import Sequence

from msgspec import Struct
from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import AclOptions
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import NOERROR, REFUSED, Query
from pointsman.dns.reply import Reply

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXTENDED_ERROR = 15
BLOCKED, FILTERED = 15, 17
"""Codes of extended errors (RFC 8914)."""
COUNTED = {
    "allow": "coredns_acl_allowed_requests_total",
    "block": "coredns_acl_blocked_requests_total",
    "filter": "coredns_acl_filtered_requests_total",
    "drop": "coredns_acl_dropped_requests_total",
}


class Rule(Struct, frozen=True):
    """A rule, ready to be compared."""

    action: str
    types: frozenset[int]
    networks: tuple[Network, ...]

    def fits(self, qtype: int, client: Address) -> bool:
        """Return whether the rule is for this type and client."""
        return (not self.types or qtype in self.types) and (not self.networks or any(client in network for network in self.networks))


class Acl(Quiet):
    """All acl directives of a server block."""

    def __init__(self, options: Sequence[AclOptions], around: Surroundings) -> None:
        self._around = around
        self._rules: list[tuple[tuple[bytes, ...], list[Rule]]] = [
            (
                tuple(names.wire(zone).lower() for zone in one.zones),
                [Rule(rule.action, rule.types, tuple(ipaddress.ip_network(text) for text in rule.networks)) for rule in one.rules],
            )
            for one in options
        ]

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            zones = [(zones, rules) for zones, rules in self._rules if covers(zones, query.key)]
            if not zones:
                return await following(query)
            action = _decide(query, [rule for _, rules in zones for rule in rules])
            self._count(action, where.server, names.text(zones[0][0][0]))
            if action == "allow":
                reply = await following(query)
                return reply and reply.but(life=None)
            if action == "drop":
                return None
            if action == "block":
                return Reply(REFUSED, flags=0, plugin="acl", options=_extended(query, BLOCKED))
            return Reply(NOERROR, flags=0, plugin="acl", options=_extended(query, FILTERED))

        return respond

    def _count(self, action: str, server: str, zone: str) -> None:
        labels = (server, "") if action == "allow" else (server, zone, "")
        self._around.tally.cell(COUNTED[action], *labels)[0] += 1

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if no rule is about these names."""
        touched = any(covers(zones, plain.zone) or any(names.cut(zone, plain.zone) >= 0 for zone in zones) for zones, _ in self._rules)
        return None if touched else plain


def _decide(query: Query, rules: Sequence[Rule]) -> str:
    client = ipaddress.ip_address(query.client[0].partition("%")[0])
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return next((rule.action for rule in rules if rule.fits(query.qtype, client)), "allow")


def _extended(query: Query, code: int) -> bytes:
    if query.edns is None:
        return b""
    return EXTENDED_ERROR.to_bytes(2, "big") + (2).to_bytes(2, "big") + code.to_bytes(2, "big")
