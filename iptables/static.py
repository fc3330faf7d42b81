"""What belongs to no single Service: hooks, the masquerade mark, dispatch, forwarding, refusals by set, canaries.

nat `KUBE-SERVICES`: mark what must be masqueraded on its way to a cluster IP; look the destination up; take the mark back from what no
Service took, so that `KUBE-FORWARD` does not let it pass as ours; node ports come last. Hairpin connections get the mark in
`KUBE-POSTROUTING`. filter: `KUBE-PROXY-FIREWALL`, the first of our chains on every hook, refuses by exact address and port (`firewall`
fills it); `KUBE-SERVICES` then refuses what else goes to a cluster IP (SEM-27: no rule per Service is needed for that) and drops what
goes to an address that is no Service's (SEM-28); `KUBE-EXTERNAL-SERVICES` refuses at node ports. All of it answers only packets that open
a connection (SEM-24).

Roots of the buckets, and the canaries, are chains that exist without a rule. `compile` calls this whenever facts of the node or of the
whole routing change; it depends on nothing else.
"""

from pointsman.iptables import counters, local_dns, names
from pointsman.iptables.names import HOOKS, ROOTS, TABLES
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.iptables.rule import (
    Match,
    Rule,
    address_type,
    everything,
    host,
    in_set,
    marked,
    network,
    noted,
    pods,
    ports,
    state,
    unreachable,
)
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol, Routing

_LOOPBACK = {Family.IPV4: "127.0.0.0/8", Family.IPV6: "::1/128"}
_LAST = noted("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
_REFUSED = noted("node ports without endpoints")


def static(family: Family, node: NodeFacts, routing: Routing) -> dict[Key, Value]:
    """Return everything that does not belong to one route."""
    bodies = {
        ("nat", names.SERVICES): _services(family, node),
        ("nat", names.MARK_MASQ): [Rule(target="MARK", target_options=("--set-xmark", f"{_mark(node):#x}/{_mark(node):#x}"))],
        ("nat", names.POSTROUTING): _postrouting(family, node),
        ("filter", names.SERVICES): [*_counted(family, node), *_refuse_cluster_ips(family, routing)],
        ("filter", names.EXTERNAL_SERVICES): _to_node_ports(family, node, _REFUSED, names.NODE_PORT_BUCKETS),
        ("filter", names.NODE_PORTS): _health_checks(routing),
        ("filter", names.FORWARD): _forward(node),
    }
    found: dict[Key, Value] = {SetKey(name): kind for name, kind in names.set_types(family).items()}
    found |= {RuleKey(table, chain): "\n".join(map(str, rules)) for (table, chain), rules in bodies.items()}
    found |= {RuleKey(table, names.CANARY): "" for table in TABLES}
    found |= {RuleKey(table, chain): "" for table, chains in ROOTS.items() for chain in chains}
    found |= {hook.key: "" for hook in HOOKS}
    found[RuleKey("filter", names.KUBELET_FIREWALL)] = ""
    if addresses := node.local_dns.get(family):
        found |= {RuleKey(table, names.LOCAL_DNS): "\n".join(rules) for table, rules in local_dns.rules(addresses).items()}
        found |= {hook.key: "" for hook in names.DNS_HOOKS}
    if family is Family.IPV4:  # also without node ports on loopback: route_localnet, once set, is never set back (SEM-45)
        found[RuleKey("filter", names.KUBELET_FIREWALL, names.LOCALNET_RULE)] = ""
    return found


def _mark(node: NodeFacts) -> int:
    return 1 << node.masquerade_bit


# --- nat -------------------------------------------------------------------------------------------------------------


def _services(family: Family, node: NodeFacts) -> list[Rule]:
    cluster_ips = in_set(names.cluster_ip_set(family), "dst")
    rules: list[Rule] = []
    detector = node.detector(family)
    if node.masquerade_all:
        rules.append(Rule(matches=(cluster_ips,), target=names.MARK_MASQ))
    elif detector and not everything(detector):
        rules.append(pods(detector, (cluster_ips,), names.MARK_MASQ, negated=True))
    rules.append(Rule(target=names.DESTINATIONS))
    if rules[:-1]:
        untaken = noted("cluster IP without endpoints: not masqueraded")
        rules.append(Rule(matches=(cluster_ips, untaken), target="MARK", target_options=("--set-xmark", f"0x0/{_mark(node):#x}")))
    return rules + _to_node_ports(family, node, _LAST, names.NODE_PORTS)


def _to_node_ports(family: Family, node: NodeFacts, note: Match, target: str) -> list[Rule]:
    """Return the jumps for packets to an accepted node address (SEM-41, SEM-42)."""
    accepted = node.node_port_addresses(family)
    if not accepted.match_all:
        return [Rule(destination=host(address), matches=(note,), target=target) for address in accepted.addresses]
    except_loopback = "" if accepted.loopback and family is Family.IPV4 else f"! {_LOOPBACK[family]}"
    return [Rule(destination=except_loopback, matches=(note, address_type("dst", "LOCAL")), target=target)]


def _postrouting(family: Family, node: NodeFacts) -> list[Rule]:
    mark = _mark(node)
    hairpin = (in_set(names.hairpin_set(family), "dst,dst,src"), state("DNAT"))
    return [
        Rule(matches=hairpin, target=names.MARK_MASQ),
        Rule(matches=(marked(mark, negated=True),), target="RETURN"),
        Rule(target="MARK", target_options=("--set-xmark", f"{mark:#x}/0x0")),
        Rule(
            matches=(noted("kubernetes service traffic requiring SNAT"),),
            target="MASQUERADE",
            target_options=("--random-fully",),
        ),
    ]


# --- filter ----------------------------------------------------------------------------------------------------------


def _counted(family: Family, node: NodeFacts) -> list[Rule]:
    """Return the rule that only counts connections to node ports on loopback addresses, on their way to the backend (MET-12)."""
    if family is Family.IPV6 or not node.node_port_addresses(family).loopback:
        return []
    return [Rule(source=_LOOPBACK[family], matches=(noted(counters.LOOPBACK), state("DNAT")))]


def _refuse_cluster_ips(family: Family, routing: Routing) -> list[Rule]:
    cluster_ips = in_set(names.cluster_ip_set(family), "dst")
    rejected = Rule(
        matches=(cluster_ips, noted("cluster IP: no such port")),
        target="REJECT",
        target_options=("--reject-with", unreachable(family)),
    )
    ranges = map(network, routing.service_cidrs.get(family, ()))
    dropped = [Rule(destination=cidr, matches=(noted("unallocated service address"),), target="DROP") for cidr in ranges]
    return [rejected, *dropped]


def _health_checks(routing: Routing) -> list[Rule]:
    """Return the admission of load balancers' health checks (IPT-18, SEM-72)."""
    return [
        Rule(
            protocol="tcp",
            matches=(noted(f"{check.namespace}/{check.name} health check node port"), ports(Protocol.TCP, check.port)),
            target="ACCEPT",
        )
        for check in routing.health_checks
    ]


def _forward(node: NodeFacts) -> list[Rule]:
    """Return what is forwarded whatever other rules say, and the guard against spurious resets (IPT-13, SEM-70, SEM-71)."""
    rules = [] if node.tcp_be_liberal else [Rule(matches=(state("INVALID"),), target="DROP")]
    rules.append(Rule(matches=(noted("kubernetes forwarding rules"), marked(_mark(node))), target="ACCEPT"))
    established = (noted("kubernetes forwarding conntrack rule"), state("RELATED,ESTABLISHED"))
    return [*rules, Rule(matches=established, target="ACCEPT")]
