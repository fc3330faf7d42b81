"""One route in the filter table: what is refused, by exact destination.

What nat has sent to a backend no longer carries the frontend's address, so whatever still does was not taken, and here it is said what
becomes of it: rejected or dropped for want of endpoints (SEM-01, SEM-02, SEM-10, SEM-15), or dropped because its source may not use a
load-balancer IP (SEM-30), which is so even while there are no endpoints (SEM-33). `static` would reject by set what goes to a cluster IP
and was not taken; a Service without endpoints has its own rule all the same, because people look for its name and "has no endpoints".

Rules sit in the buckets below KUBE-PROXY-FIREWALL, those of node ports below KUBE-NP. They match disjoint packets; where order matters,
for a restricted load-balancer IP without endpoints, a chain KUBE-FW keeps it.
"""

from pointsman.iptables import dispatch, names
from pointsman.iptables.objects import Key, RuleKey, Value
from pointsman.iptables.rule import comment, host, unreachable
from pointsman.iptables.service import admitted_sources
from pointsman.routing.route import Family, Missing, ServiceRoute

_WHY = {Missing.REJECT: "has no endpoints", Missing.DROP: "has no local endpoints"}


def refusals(route: ServiceRoute) -> dict[Key, Value]:
    """Return a route's rules in filter; most routes have none."""
    found: dict[Key, Value] = {}
    if route.cluster_ip and route.internal_missing:
        _refuse(found, route, route.cluster_ip, _WHY[route.internal_missing], _verdict(route.family, route.internal_missing))
    missing = route.external_missing
    if missing:
        target = _verdict(route.family, missing)
        for address in route.external_ips:
            _refuse(found, route, address, _WHY[missing], target)
        if route.node_port:
            _refuse_node_port(found, route, _WHY[missing], target)
    if route.load_balancer_ips:
        _load_balancer(found, route, missing)
    return found


def _verdict(family: Family, missing: Missing) -> str:
    return "DROP" if missing is Missing.DROP else f"REJECT --reject-with {unreachable(family)}"


def _load_balancer(found: dict[Key, Value], route: ServiceRoute, missing: Missing | None) -> None:
    if not route.source_ranges:
        if not missing:
            return
        why, target = _WHY[missing], _verdict(route.family, missing)
    else:
        chain = names.service_chains(route.port_name).firewall
        why, target = f"traffic not accepted by {chain}", "DROP"
        if missing is Missing.REJECT:
            note, rejected = comment(f"{route.port_name} {_WHY[missing]}"), _verdict(route.family, missing)
            rules = [f"{source}{note} -j {rejected}" for source in admitted_sources(route)]
            found[RuleKey("filter", chain)] = "\n".join([*rules, "-j DROP"])
            why, target = "is restricted to source ranges", chain
    for address in route.load_balancer_ips:
        _refuse(found, route, address, why, target)


def _refuse(found: dict[Key, Value], route: ServiceRoute, address: str, why: str, target: str) -> None:
    leaf, jumps = dispatch.by_address("filter", names.PROXY_FIREWALL, route.family, address)
    for jump in jumps:
        found[jump] = ""
    proto, note = route.protocol.lower, comment(f"{route.port_name} {why}")
    found[RuleKey("filter", leaf, f"-d {host(address)} -p {proto} {note} -m {proto} --dport {route.port} -j {target}")] = ""


def _refuse_node_port(found: dict[Key, Value], route: ServiceRoute, why: str, target: str) -> None:
    leaf, jumps = dispatch.by_node_port("filter", names.NODE_PORT_BUCKETS, route.protocol, route.node_port)
    for jump in jumps:
        found[jump] = ""
    proto, note = route.protocol.lower, comment(f"{route.port_name} {why}")
    found[RuleKey("filter", leaf, f"-p {proto} {note} -m {proto} --dport {route.node_port} -j {target}")] = ""
