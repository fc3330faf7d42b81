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
            fitting = [(max(found, key=len), rules) for zones, rules in self._rules if (found := _having(zones, query.key))]
            zone, action = _decided(query, fitting)
            self._count(action, where.server, names.text(zone))
            if action == "allow":
                reply = await following(query)
                return reply.but(life=None) if reply and fitting else reply
            if action == "drop":
                return None
            if action == "block":
                return Reply(REFUSED, flags=0, plugin="acl", options=_extended(BLOCKED))
            return Reply(NOERROR, flags=0, plugin="acl", options=_extended(FILTERED))

        return respond

    def _count(self, action: str, server: str, zone: str) -> None:
        labels = (server, "") if action == "allow" else (server, zone, "")
        self._around.tally.cell(COUNTED[action], *labels)[0] += 1

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if no rule is about these names."""
        touched = any(covers(zones, plain.zone) or any(names.cut(zone, plain.zone) >= 0 for zone in zones) for zones, _ in self._rules)
        return None if touched else plain


def _having(zones: tuple[bytes, ...], key: bytes) -> list[bytes]:
    """Return those of some zones that have a name."""
    return [zone for zone in zones if names.cut(key, zone) >= 0]


def _decided(query: Query, fitting: Sequence[tuple[bytes, Sequence[Rule]]]) -> tuple[bytes, str]:
    """Return what the first rule that fits says, and the zone that it is for."""
    if not fitting:
        return names.ROOT, "allow"
    client = ipaddress.ip_address(query.client[0].partition("%")[0])
    return next(((zone, rule.action) for zone, rules in fitting for rule in rules if rule.fits(query.qtype, client)), (names.ROOT, "allow"))


def _extended(code: int) -> bytes:
    return EXTENDED_ERROR.to_bytes(2, "big") + (2).to_bytes(2, "big") + code.to_bytes(2, "big")
