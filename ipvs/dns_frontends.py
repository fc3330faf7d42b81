"""The cluster's DNS addresses on a node that has a resolver of its own: no virtual servers, but rules. Pure.

IPVS takes every packet to the address and port of a virtual server, also one that raw has meant for a program of this node; and nothing in
the kernel lets a virtual server come and go with the time stamps by which the resolver is known to be alive (`iptables.local_dns`). So
where it may answer there is none, and who is not taken aside is tracked and meets the nat table:

    nat KUBE-IPVS-SERVICES: the masquerade mark ──► KUBE-IPVS-DNS: a rule per frontend ──► KUBE-IPVS-DNS-UDP-...: one of the endpoints

From the last stamp's end on, that leads queries to the cluster's DNS, whoever is dead (NLD-42). IPVS never sees them, neither there nor
here, and no connection of it can keep a client from the resolver when it is back. What else belongs to these frontends is as for all: their
places in the sets, which mark and refuse, the address of a cluster IP, hairpins. Backends have equal shares; schedulers, weights and
draining are for virtual servers. The node's own DNS addresses are not bound to the device: other programs may answer at other ports.

`frontends` asks which are such, and calls this for them; `filter` has the fixed part.
"""

from collections.abc import Collection, Hashable, Iterable
from contextlib import suppress

from pointsman.iptables.balance import balance, leading
from pointsman.iptables.local_dns import concerns
from pointsman.iptables.objects import Key as RulesKey
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.rule import canonical, parse
from pointsman.ipvs import names
from pointsman.ipvs.objects import VirtualKey
from pointsman.routing.node import DNS_PORT, NodeFacts
from pointsman.routing.route import ServiceRoute

Ruled = tuple[str, str]
"""Protocol and address, as rules print them, of a frontend that they lead."""


def addresses(route: ServiceRoute, node: NodeFacts) -> Collection[str]:
    """Return the addresses at which this node's own resolver may answer instead of a route."""
    return node.local_dns.get(route.family, ()) if concerns(route) else ()


def lead(route: ServiceRoute, address: str, kind: str, *, local: bool) -> dict[RulesKey, str]:
    """Return what leads one frontend of a route to all its endpoints, or to those of this node; there are some."""
    chain = names.dns_chain(route.port_name, local=local)
    found: dict[RulesKey, str] = {RuleKey("nat", names.LOCAL_DNS, leading(route, address, kind, chain)): ""}
    balance(found, route, chain, route.local if local else route.cluster, names.dns_endpoint_chain)
    return found


def ruled(keys: Iterable[Hashable]) -> frozenset[Ruled]:
    """Return the frontends that rules lead, of all keys that are there; what somebody else put there counts as far as it can be read."""
    found: set[Ruled] = set()
    for key in keys:
        if isinstance(key, RuleKey) and key.rule and names.is_shared(key.table, key.chain):
            with suppress(ValueError):
                rule = parse(key.rule)
                found.add((rule.protocol, rule.destination.partition("/")[0]))
    return frozenset(found)


def is_ruled(key: VirtualKey, frontends: Collection[Ruled]) -> bool:
    """Return whether rules lead what comes to a virtual server's address and port."""
    return key.protocol is not None and key.port == DNS_PORT and (key.protocol.lower, canonical(key.address)) in frontends
