"""One route in the nat table: where its frontends lead.

    leaf bucket: cluster IP ───────────────────────────► KUBE-SVC (all backends) or KUBE-SVL (those on this node)
    leaf bucket: external IP, node port ──► KUBE-EXT ──► KUBE-SVC, KUBE-SVL
    leaf bucket: load-balancer IP ──► [KUBE-FW ──►] KUBE-EXT

A backend is one rule inside KUBE-SVC or KUBE-SVL, with session affinity a chain of its own, KUBE-SEP (`balance`). KUBE-EXT marks for
masquerade and sends pods and this node to all backends even where the policy is Local (SEM-11 to SEM-14). Every chain exists exactly if
something leads to it (IPT-24). Policy is read from the route; nothing is decided here.

This is the hot path: ten thousand Services are compiled in a second, so text is built directly. `firewall` writes the same route's filter
rules.
"""

from pointsman.iptables import dispatch, names
from pointsman.iptables.balance import balance, leading
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.iptables.rule import canonical, comment, host, network, pods
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import ServiceRoute


def nat(route: ServiceRoute, node: NodeFacts) -> dict[Key, Value]:
    """Return a route's chains, its places in the shared chains, and its elements of the sets."""
    chains = names.service_chains(route.port_name)
    found: dict[Key, Value] = {}
    outside = route.any_endpoint and route.externally_accessible
    inside = bool(route.cluster_ip and route.internal)
    if route.cluster_ip:
        found[SetKey(names.cluster_ip_set(route.family), canonical(route.cluster_ip))] = ""
    if inside:
        _vip(found, route, route.cluster_ip, "cluster IP", chains.local if route.internal_local else chains.cluster)
    if outside:
        _external(found, route, node, chains)
    if route.cluster and ((inside and not route.internal_local) or outside):
        balance(found, route, chains.cluster, route.cluster, names.endpoint_chain)
    if route.local and ((inside and route.internal_local) or (outside and route.external_local)):
        balance(found, route, chains.local, route.local, names.endpoint_chain)
    if inside or outside:
        _hairpins(found, route)
    return found


def _vip(found: dict[Key, Value], route: ServiceRoute, address: str, kind: str, target: str) -> None:
    """Lead a virtual address to a chain."""
    leaf, jumps = dispatch.by_address("nat", names.DESTINATIONS, route.family, address)
    for jump in jumps:
        found[jump] = ""
    found[RuleKey("nat", leaf, leading(route, address, kind, target))] = ""


# --- external frontends ----------------------------------------------------------------------------------------------


def _external(found: dict[Key, Value], route: ServiceRoute, node: NodeFacts, chains: names.ServiceChains) -> None:
    found[RuleKey("nat", chains.external)] = "\n".join(_external_rules(route, node, chains))
    for address in route.external_ips:
        _vip(found, route, address, "external IP", chains.external)
    restricted = bool(route.load_balancer_ips and route.source_ranges)
    if restricted:
        found[RuleKey("nat", chains.firewall)] = "\n".join(_admit(route, chains))
    for address in route.load_balancer_ips:
        _vip(found, route, address, "loadbalancer IP", chains.firewall if restricted else chains.external)
    if route.node_port:
        leaf, jumps = dispatch.by_node_port("nat", names.NODE_PORTS, route.protocol, route.node_port)
        for jump in jumps:
            found[jump] = ""
        proto = route.protocol.lower
        rule = f"-p {proto} {comment(str(route.port_name))} -m {proto} --dport {route.node_port} -j {chains.external}"
        found[RuleKey("nat", leaf, rule)] = ""


def _external_rules(route: ServiceRoute, node: NodeFacts, chains: names.ServiceChains) -> list[str]:
    """Return KUBE-EXT's rules, in order (IPT-21)."""
    name = route.port_name
    if not route.external_local:
        note = comment(f"masquerade traffic for {name} external destinations")
        return [f"{note} -j {names.MARK_MASQ}", f"-j {chains.cluster}"] if route.cluster else []
    rules: list[str] = []
    if route.cluster:
        detector = node.detector(route.family)
        if detector:
            source = str(pods(detector, (), "")).strip()
            rules.append(f"{source} {comment(f'pod traffic for {name} external destinations')} -j {chains.cluster}".lstrip())
        mark = comment(f"masquerade LOCAL traffic for {name} external destinations")
        lead = comment(f"route LOCAL traffic for {name} external destinations")
        rules.append(f"{mark} -m addrtype --src-type LOCAL -j {names.MARK_MASQ}")
        rules.append(f"{lead} -m addrtype --src-type LOCAL -j {chains.cluster}")
    if route.local:
        rules.append(f"-j {chains.local}")
    return rules


def _admit(route: ServiceRoute, chains: names.ServiceChains) -> list[str]:
    """Return KUBE-FW's rules: sources that may use the load-balancer IPs go on; others are dropped in filter (IPT-22, SEM-34)."""
    note = comment(f"{route.port_name} loadbalancer IP")
    rules = [f"{source}{note} -j {chains.external}" for source in admitted_sources(route)]
    return [*rules, comment(f"other traffic to {route.port_name} will be dropped by {names.PROXY_FIREWALL}")]


def admitted_sources(route: ServiceRoute) -> list[str]:
    """Return the source matches, with a space behind each, that may use a route's load-balancer IPs (SEM-30, SEM-32)."""
    sources = [network(cidr) for cidr in route.source_ranges]
    if route.vip_is_source:
        sources += [host(address) for address in route.load_balancer_ips]
    return [f"-s {source} " if source else "" for source in dict.fromkeys(sources)]


def _hairpins(found: dict[Key, Value], route: ServiceRoute) -> None:
    """Register the connections of backends to themselves, whose replies must come back through this node (SEM-20)."""
    name, proto = names.hairpin_set(route.family), route.protocol.lower
    for backend in route.reachable:
        if backend.hairpin:
            address = canonical(backend.address)
            found[SetKey(name, f"{address},{proto}:{backend.port},{address}")] = ""
