"""The rules that lead DNS queries to this node's own resolver, past every Service rule, for as long as it answers. Pure.

A packet that is not tracked never meets the nat table, so no Service rule translates it, and as the address is this host's own it is
delivered here (NLD-22). Tracking nothing is also what ends the lost packets of A and AAAA from one socket (NLD-30, pain 74). Both
directions, both protocols, and this node's own programs count (NLD-45).

Whether the resolver answers is no rule, but a time stamp in the kernel: queries are taken aside only while the address was named within
the last second in a list of `recent` (`LISTS`). The resolver names its addresses several times a second as long as it works. When it is
killed, and whoever watches it too, the stamps grow old, and without any further act the next packet meets the ordinary Service rules,
which lead to the cluster's DNS (NLD-42). Taking the addresses back at once is removing them from the list: one write, no rule changes.

Rules are `iptables-save`'s text, as everywhere. Modes put them into chains of their own: `static` here, `filter` of the ipvs mode. Who
writes the lists is `dns.heartbeat`. Sources: DNS specification NLD-20 to NLD-45; xt_recent in iptables-extensions(8).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from pointsman.iptables.rule import WHOLE_ADDRESS, host
from pointsman.routing.node import DNS_PORT, DNS_PROTOCOLS
from pointsman.routing.route import Family, ServiceRoute

SECONDS: Final = 1
"""So long a stamp is good; the kernel counts whole seconds, from the stamp on."""

LISTS: Final[Mapping[Family, str]] = {Family.IPV4: "POINTSMAN-DNS", Family.IPV6: "POINTSMAN-DNS-6"}
"""Names of the lists, in /proc/net/xt_recent."""


def concerns(route: ServiceRoute) -> bool:
    """Return whether queries may come to a route."""
    return route.port == DNS_PORT and route.protocol in DNS_PROTOCOLS


def rules(addresses: Iterable[str]) -> dict[str, list[str]]:
    """Return the rules for addresses of one family, by table: raw takes queries and replies aside, filter lets them pass."""
    raw: list[str] = []
    passing: list[str] = []
    for address in addresses:
        for protocol in (one.lower for one in DNS_PROTOCOLS):
            to, back = f"-d {host(address)} -p {protocol}", f"-s {host(address)} -p {protocol}"
            raw += [
                f"{to} -m {protocol} --dport {DNS_PORT} {_alive(address)} -j CT --notrack",
                f"{back} -m {protocol} --sport {DNS_PORT} -j CT --notrack",
            ]
            passing += [
                f"{to} -m {protocol} --dport {DNS_PORT} -j ACCEPT",
                f"{back} -m {protocol} --sport {DNS_PORT} -j ACCEPT",
            ]
    return {"raw": raw, "filter": passing}


def _alive(address: str) -> str:
    family = Family.IPV6 if ":" in address else Family.IPV4
    return f"-m recent --rcheck --seconds {SECONDS} --name {LISTS[family]} --mask {WHOLE_ADDRESS[family]} --rdest"
