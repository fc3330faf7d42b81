"""One route in the ipvs mode: its virtual servers, their real servers, its addresses, and its places in the sets.

    cluster IP, external, load-balancer IP   address on our device (unless the node holds it otherwise) + virtual server ADDRESS:PORT
    node port                                virtual server ADDRESS:NODEPORT for each accepted address of this node
    any external one, policy Local           the same with the endpoints of this node only (none: no virtual server, packets are dropped),
                                             and one virtual server by mark, with all endpoints, for pods and this node (SEM-12, SEM-13)

A frontend without endpoints has no virtual server; it is in the set that rejects or drops. Nor has one at which this node's own resolver
may answer (`dns_frontends`). Policy is read from the route; nothing is decided here. `filter` has the rules over these sets, `compile`
gathers.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct
from msgspec.structs import replace
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.rule import canonical
from pointsman.ipvs import dns_frontends, names, schedulers
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.names import SETS, SetNames
from pointsman.ipvs.objects import RealKey, RealServer, ServerFlag, VirtualKey, VirtualServer
from pointsman.ipvs.schedulers import Scheduler
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Missing, Protocol, ServiceRoute


class Options(Struct, frozen=True):
    """What the operator chose for this mode: the scheduler (IPVS-04), and CIDRs whose addresses are left to others."""

    scheduler: str = "rr"
    exclude_cidrs: tuple[str, ...] = ()

    def excludes(self, address: str) -> bool:
        """Return whether an address is left to others."""
        if not self.exclude_cidrs:
            return False
        found = ip_address(address)
        return any(found in ip_network(cidr, strict=False) for cidr in self.exclude_cidrs)


class _Place(Struct, frozen=True):
    """A frontend of one kind: address and port, and the set it is in while it forwards and the policy is not Local.

    `ruled` ones are led by rules instead of a virtual server.
    """

    address: str
    port: int
    forwarded: str
    ruled: bool = False


def fragment(route: ServiceRoute, node: NodeFacts, options: Options) -> dict[Key, Value]:
    """Return everything that one route needs."""
    found: dict[Key, Value] = {}
    sets = SETS[route.family]
    answered = dns_frontends.addresses(route, node)
    internal = [_Place(route.cluster_ip, route.port, sets.cluster_ip, route.cluster_ip in answered)] if route.cluster_ip else []
    vips = [_Place(address, route.port, sets.external_ip, address in answered) for address in route.external_ips]
    vips += [_Place(address, route.port, sets.load_balancer) for address in route.load_balancer_ips]
    node_ports = [_Place(address, route.node_port, sets.node_port) for address in node_port_addresses(route, node)]
    if options.exclude_cidrs:
        internal, vips, node_ports = ([one for one in some if not options.excludes(one.address)] for some in (internal, vips, node_ports))
    server = virtual_server(route, options)
    own, vips = [one for one in vips if one.ruled], [one for one in vips if not one.ruled]
    _bind(found, route, node, (*internal, *vips))
    for place in internal:
        _forward(found, route, place, place.forwarded, server)
    external = (*vips, *node_ports)
    if route.external_local and route.cluster and external:
        _by_mark(found, route, external, by_hash(server))
    for place in own:  # of this node's sources, which use all endpoints whatever the policy
        _forward(found, replace(route, external_local=False), place, place.forwarded, server)
    for place in external:
        _forward(found, route, place, "" if route.external_local else place.forwarded, server)
    _restrict(found, route, options)
    if any(isinstance(key, RealKey | RuleKey) for key in found):
        _loop_back(found, route)
    return found


def node_port_addresses(route: ServiceRoute, node: NodeFacts) -> tuple[str, ...]:
    """Return where a route's node port is accepted (SEM-40 to SEM-42); loopback addresses never are: IPVS does not leave them (SEM-65)."""
    if not route.node_port:
        return ()
    accepted = node.node_port_addresses(route.family)
    addresses = node.local_addresses.get(route.family, ()) if accepted.match_all else accepted.addresses
    return tuple(one for one in dict.fromkeys(addresses) if one not in route.node_port_taken and not ip_address(one).is_loopback)


def virtual_server(route: ServiceRoute, options: Options) -> VirtualServer:
    """Return how a route's virtual servers pick (IPVS-04, IPVS-12)."""
    scheduler = route.scheduler or options.scheduler
    own = route.scheduler_flags
    flags = schedulers.parse_flags(scheduler, own) if own else schedulers.default_flags(scheduler)
    if not route.affinity_seconds:
        return VirtualServer(scheduler, flags)
    return VirtualServer(scheduler, flags | ServerFlag.PERSISTENT, route.affinity_seconds)


def by_hash(server: VirtualServer) -> VirtualServer:
    """Return a virtual server for a mark: a persistent one keeps clients by hash of their address instead.

    The kernel does not translate the port of a connection that is persistent by mark (`ip_vs_sched_persist`), and a Service port is
    seldom the port of its endpoints. Maglev's table keeps nearly every client where it is when endpoints come and go.
    """
    if not server.flags & ServerFlag.PERSISTENT:
        return server
    return VirtualServer(Scheduler.MH.value, schedulers.FALLBACK)


def frontend(address: str, port: int, protocol: Protocol) -> str:
    """Return a frontend as ipset prints it."""
    return f"{canonical(address)},{protocol.lower}:{port}"


def entry(address: str, port: int, route: ServiceRoute) -> str:
    """Return a frontend of a route as ipset prints it."""
    return frontend(address, port, route.protocol)


def _bind(found: dict[Key, Value], route: ServiceRoute, node: NodeFacts, places: Iterable[_Place]) -> None:
    """Put addresses on our device, except those that the node has on another one (IPVS-11)."""
    held = node.local_addresses.get(route.family, ())
    for place in places:
        if place.address not in held:
            found[AddressKey(place.address)] = ""
            found[SetKey(SETS[route.family].addresses, canonical(place.address))] = ""


def _forward(found: dict[Key, Value], route: ServiceRoute, place: _Place, forwarded: str, server: VirtualServer) -> None:
    """Give a frontend its virtual server or its rules, or the place among those that have no endpoints."""
    sets = SETS[route.family]
    internal = place.forwarded == sets.cluster_ip
    missing = route.internal_missing if internal else route.external_missing
    where = entry(place.address, place.port, route)
    if missing:
        found[SetKey(sets.no_endpoints if missing is Missing.REJECT else sets.no_local_endpoints, where)] = ""
        return
    if forwarded:
        found[SetKey(forwarded, where)] = ""
    if place.ruled:
        local, kind = (route.internal_local, "cluster IP") if internal else (route.external_local, "external IP")
        found.update(dns_frontends.lead(route, place.address, kind, local=local).items())
        return
    key = VirtualKey(route.family, route.protocol, place.address, place.port)
    _serve(found, key, server, route.internal if internal else route.external)


def _serve(found: dict[Key, Value], key: VirtualKey, server: VirtualServer, backends: Iterable[Backend]) -> None:
    found[key] = server
    for backend in backends:
        found[RealKey(key, backend.address, backend.port)] = _real_server(backend.weight)


@lru_cache(maxsize=1024)
def _real_server(weight: int) -> RealServer:
    return RealServer(weight)


def _by_mark(found: dict[Key, Value], route: ServiceRoute, places: Iterable[_Place], server: VirtualServer) -> None:
    """Give pods and this node a virtual server with all endpoints (SEM-12, SEM-13).

    Should two Service ports have one mark, they must not share their endpoints. So the value tells them apart, in a field that means
    nothing as long as the server is not persistent: the second one is refused and told.
    """
    mark = names.mark(route)
    server = replace(server, persistence_seconds=names.identity(route))
    _serve(found, VirtualKey(route.family, mark=mark), server, route.cluster)
    for place in places:
        found[SetKey(SETS[route.family].short_circuit, entry(place.address, place.port, route))] = f"skbmark {mark:#x}"


def _restrict(found: dict[Key, Value], route: ServiceRoute, options: Options) -> None:
    """Keep everybody else from load-balancer IPs with source ranges (SEM-30 to SEM-33)."""
    ranges = [ip_network(cidr, strict=False) for cidr in route.source_ranges]
    if not ranges or any(not one.prefixlen for one in ranges):
        return
    sets: SetNames = SETS[route.family]
    for address in route.load_balancer_ips:
        if options.excludes(address):
            continue
        where = entry(address, route.port, route)
        found[SetKey(sets.restricted, where)] = ""
        for one in ranges:
            whole = one.prefixlen == one.max_prefixlen
            source = canonical(str(one.network_address)) + ("" if whole else f"/{one.prefixlen}")
            found[SetKey(sets.source_cidr, f"{where},{source}")] = ""
        if route.vip_is_source:
            for source in route.load_balancer_ips:
                found[SetKey(sets.source_ip, f"{where},{canonical(source)}")] = ""


def _loop_back(found: dict[Key, Value], route: ServiceRoute) -> None:
    """Register the connections of endpoints to themselves, whose replies must come back through this node (SEM-20)."""
    name = SETS[route.family].loop_back
    for backend in route.reachable:
        if backend.hairpin:
            found[SetKey(name, f"{entry(backend.address, backend.port, route)},{canonical(backend.address)}")] = ""


