"""What happens to the first packet of a connection: the one definition of Service semantics.

The oracle answers from the values that every mode programs (`Routing`, `NodeFacts`), never from a kernel. A mode is right when real packets
meet the outcomes told here; the contract table proves that, the demo and explanations print the same words. So the decision is written as
the specification has it (docs/services.md section 3), one short function per question, each answer with its number:

- which frontend: virtual addresses first, then node ports on accepted addresses (3.1, 3.5);
- where from: pod, node or other, in this order (3.1);
- which backends, or reject, or drop (3.2, source ranges 3.4, addresses without a frontend SEM-27 and SEM-28);
- masqueraded or not, and why (3.2, hairpin SEM-20).

Where kube-proxy's modes differ, nftables' strictness holds in every mode (docs/modes.md). Only new connections are judged: packets
of established ones follow conntrack (SEM-24). Masquerading speaks of packets that leave the node or enter a pod's namespace; a backend in
the node's own namespace is delivered locally, where no postrouting happens, and sees its client's address as it was.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from msgspec import Struct, structs
from pointsman.routing.node import DetectLocal, LocalDetector, NodeFacts
from pointsman.routing.packet import Outcome, Packet, Share, SourcePlace, Verdict
from pointsman.routing.route import Backend, Family, Frontend, FrontendKind, Protocol, Routing, ServiceRoute

Network = IPv4Network | IPv6Network
_LOOPBACK: Mapping[Family, Network] = {Family.IPV4: ip_network("127.0.0.0/8"), Family.IPV6: ip_network("::1/128")}


class _Match(Struct, frozen=True, gc=False):
    """The frontend that a packet met, and its route."""

    frontend: Frontend
    route: ServiceRoute


class _Masquerade(Struct, frozen=True, gc=False):
    """Whether a source is masqueraded before hairpin is looked at, and why."""

    wanted: bool
    reason: str


class Oracle:
    """Tells the outcome of packets on one node; made once per Routing, then each question costs a few dictionary look-ups."""

    def __init__(self, routing: Routing, node: NodeFacts) -> None:
        self._node = node
        self._cluster_ips = routing.cluster_ips
        self._service_cidrs = {
            family: tuple(ip_network(cidr, strict=False) for cidr in cidrs) for family, cidrs in routing.service_cidrs.items()
        }
        self._local = {family: frozenset(map(_normal, addresses)) for family, addresses in node.local_addresses.items()}
        self._is_pod = {family: _pod_test(node.detector(family)) for family in Family}
        self._vips: dict[tuple[str, Protocol, int], _Match] = {}
        self._node_ports: dict[tuple[Family, Protocol, int], _Match] = {}
        for route in routing.routes.values():
            for frontend in route.frontends():
                self._index(_Match(frontend, route))

    def trace(self, packet: Packet) -> Outcome:
        """Return what happens to a packet that opens a connection.

        Addresses may be written in any way; a text that is no address, or two addresses of different families, is a ValueError.
        """
        source, destination = ip_address(_unscoped(packet.source)), ip_address(_unscoped(packet.destination))
        if source.version != destination.version:
            raise ValueError(f"packet from {packet.source} to {packet.destination}: the addresses are of different families")
        family = Family.IPV4 if source.version == 4 else Family.IPV6
        packet = structs.replace(packet, source=str(source), destination=str(destination))
        place = self._place(packet, family)
        match = self._match(packet, family)
        return self._without_frontend(packet, family, place) if match is None else self._outcome(packet, place, match)

    def frontend_at(self, destination: str, protocol: Protocol, port: int) -> tuple[Frontend, ServiceRoute] | None:
        """Return the frontend that packets to an address meet, and its route; None if it is nobody's. The address is normalised."""
        family = Family.IPV6 if ":" in destination else Family.IPV4
        match = self._match(Packet(destination, destination, protocol, port), family)
        return (match.frontend, match.route) if match is not None else None

    # --- which frontend ----------------------------------------------------------------------------------------------

    def _index(self, match: _Match) -> None:
        """Remember a frontend; of two that claim the same place the first stays (SEM-29: `conflicts` leaves only one)."""
        frontend = match.frontend
        if frontend.kind is FrontendKind.NODE_PORT:
            self._node_ports.setdefault((match.route.family, frontend.protocol, frontend.port), match)
        else:
            self._vips.setdefault((_normal(frontend.address), frontend.protocol, frontend.port), match)

    def _match(self, packet: Packet, family: Family) -> _Match | None:
        """Return the frontend: a virtual address, else a node port (3.1)."""
        vip = self._vips.get((packet.destination, packet.protocol, packet.port))
        if vip is not None:
            return vip
        node_port = self._node_ports.get((family, packet.protocol, packet.port))
        return node_port if node_port is not None and self._accepts_node_ports(packet.destination, family) else None

    def _accepts_node_ports(self, destination: str, family: Family) -> bool:
        """Return whether node ports are accepted on an address (SEM-40 to SEM-43); IPv6 loopback never is (SEM-41)."""
        accepted = self._node.node_port_addresses(family)
        if _loopback(destination, family) and (family is Family.IPV6 or not accepted.loopback):
            return False
        if accepted.match_all:
            return self._is_local(destination, family)
        return destination in set(map(_normal, accepted.addresses))

    # --- where from --------------------------------------------------------------------------------------------------

    def _place(self, packet: Packet, family: Family) -> SourcePlace:
        """Return where a packet comes from; the detector is asked first (3.1)."""
        is_pod = self._is_pod[family]
        if is_pod is not None and is_pod(packet):
            return SourcePlace.POD
        if not packet.interface or self._is_local(packet.source, family):
            return SourcePlace.NODE
        return SourcePlace.OTHER

    def _is_local(self, address: str, family: Family) -> bool:
        """Return whether an address is one of this host's (addrtype LOCAL)."""
        return address in self._local.get(family, ()) or _loopback(address, family)

    # --- the outcome -------------------------------------------------------------------------------------------------

    def _without_frontend(self, packet: Packet, family: Family, place: SourcePlace) -> Outcome:
        """Return the outcome of a packet that meets no Service port."""
        if packet.destination in self._cluster_ips.get(family, ()):
            reason = f"SEM-27: {packet.destination} is a cluster IP, but {packet.protocol.value} port {packet.port} is no Service port"
            return Outcome(Verdict.REJECT, reason, place)
        address = ip_address(packet.destination)
        if any(address in cidr for cidr in self._service_cidrs.get(family, ())):
            reason = f"SEM-28: no Service owns {packet.destination}, which lies in the cluster's Service range"
            return Outcome(Verdict.DROP, reason, place)
        if (family, packet.protocol, packet.port) in self._node_ports and self._is_local(packet.destination, family):
            reason = f"{_node_port_refusal(packet.destination, family)}: {packet.destination} does not accept node ports"
            return Outcome(Verdict.UNTOUCHED, reason, place)
        return Outcome(Verdict.UNTOUCHED, "no Service has this address, protocol and port", place)

    def _outcome(self, packet: Packet, place: SourcePlace, match: _Match) -> Outcome:
        """Return the outcome of a packet that meets a frontend."""
        kind, route = match.frontend.kind, match.route
        if kind is FrontendKind.LOAD_BALANCER_IP and not _source_allowed(packet.source, route):
            number = "SEM-30" if route.any_endpoint else "SEM-33"
            return _refused(match, place, Verdict.DROP, f"{number}: {packet.source} is in none of the load balancer's source ranges")
        internal = kind is FrontendKind.CLUSTER_IP
        if not route.any_endpoint:
            number = "SEM-01" if internal else "SEM-10"
            return _refused(match, place, Verdict.REJECT, f"{number}: no endpoint of {route.port_name} is ready anywhere in the cluster")
        backends, reason = _internal(route) if internal else _external(route, place)
        if not backends:
            return _refused(match, place, Verdict.DROP, reason)
        masquerade = self._internal_masquerade(route, place) if internal else _external_masquerade(route, place)
        shares = tuple(_share(backend, len(backends), packet.source, masquerade) for backend in backends)
        return Outcome(Verdict.FORWARD, reason, place, route.port_name, match.frontend, shares, route.affinity_seconds)

    def _internal_masquerade(self, route: ServiceRoute, place: SourcePlace) -> _Masquerade:
        """Return whether traffic to the cluster IP is masqueraded (SEM-03 to SEM-07); the traffic policy plays no part."""
        if self._node.masquerade_all:
            return _Masquerade(wanted=True, reason="SEM-06: all traffic to cluster IPs is masqueraded, as configured")
        detector = self._node.detector(route.family)
        if detector is None:
            return _Masquerade(wanted=False, reason="SEM-05: nothing tells pods apart, so no traffic to cluster IPs is masqueraded")
        if place is SourcePlace.POD:
            return _Masquerade(wanted=False, reason=f"SEM-03: the source is a pod: {_pods(detector)}")
        return _Masquerade(wanted=True, reason=f"SEM-04: the source is not a pod: not {_pods(detector)}")


def _internal(route: ServiceRoute) -> tuple[tuple[Backend, ...], str]:
    """Return the backends of the cluster IP, and why these (SEM-02, SEM-03, SEM-07, SEM-17)."""
    if not route.internal_local:
        return route.cluster, "SEM-03: internal traffic policy Cluster, every endpoint"
    if route.local:
        return route.local, "SEM-07: internal traffic policy Local, endpoints of this node only"
    return (), f"SEM-02: internal traffic policy Local, and no endpoint of {route.port_name} is on this node"


def _external(route: ServiceRoute, place: SourcePlace) -> tuple[tuple[Backend, ...], str]:
    """Return the backends of an external frontend for a place, and why these (SEM-11 to SEM-16, SEM-18)."""
    if not route.external_local:
        return route.cluster, "SEM-11: external traffic policy Cluster, every endpoint"
    if place is SourcePlace.POD:
        return route.cluster, "SEM-12: external traffic policy Local, but a pod of this cluster may use every endpoint"
    if place is SourcePlace.NODE:
        return route.cluster, "SEM-13: external traffic policy Local, but this node itself may use every endpoint"
    if route.local:
        return route.local, "SEM-14: external traffic policy Local, endpoints of this node only"
    return (), f"SEM-15: external traffic policy Local, and no endpoint of {route.port_name} is on this node"


def _external_masquerade(route: ServiceRoute, place: SourcePlace) -> _Masquerade:
    """Return whether traffic to an external frontend is masqueraded (SEM-11 to SEM-16)."""
    if not route.external_local:
        return _Masquerade(wanted=True, reason="SEM-11: external traffic policy Cluster masquerades every source")
    if place is SourcePlace.POD:
        return _Masquerade(wanted=False, reason="SEM-12: external traffic policy Local, and the source is a pod")
    if place is SourcePlace.NODE:
        return _Masquerade(wanted=True, reason="SEM-13: external traffic policy Local, and the source is this node")
    return _Masquerade(wanted=False, reason="SEM-14: external traffic policy Local keeps the client's address")


def _share(backend: Backend, count: int, source: str, masquerade: _Masquerade) -> Share:
    """Return a backend's share: all are equally likely (SEM-26); a connection to itself is masqueraded (SEM-20)."""
    if backend.hairpin and backend.address == source:
        reason = "SEM-20: the source is the backend itself, so the reply must come back through this node"
        return Share(backend, 1 / count, masquerade=True, reason=reason)
    return Share(backend, 1 / count, masquerade.wanted, masquerade.reason)


def _refused(match: _Match, place: SourcePlace, verdict: Verdict, reason: str) -> Outcome:
    """Return the outcome of a packet that meets a frontend and goes nowhere."""
    return Outcome(verdict, reason, place, match.route.port_name, match.frontend)


def _source_allowed(source: str, route: ServiceRoute) -> bool:
    """Return whether the load balancer's source ranges admit a source (SEM-30 to SEM-32)."""
    if not route.source_ranges:
        return True
    if route.vip_is_source and source in map(_normal, route.load_balancer_ips):
        return True
    address = ip_address(source)
    return any(address in ip_network(cidr, strict=False) for cidr in route.source_ranges)


def _pod_test(detector: LocalDetector | None) -> Callable[[Packet], bool] | None:
    """Return the test of a detector, None if it is not implemented (CFG-30 to CFG-34); a packet without an interface matches none."""
    if detector is None:
        return None
    value = detector.value
    if detector.by_source:
        cidr = ip_network(value, strict=False)
        return lambda packet: ip_address(packet.source) in cidr
    if detector.mode is DetectLocal.BRIDGE_INTERFACE:
        return lambda packet: bool(packet.interface) and packet.interface == value
    return lambda packet: bool(packet.interface) and packet.interface.startswith(value)


def _pods(detector: LocalDetector) -> str:
    """Return in words what the detector holds to be pods."""
    match detector.mode:
        case DetectLocal.CLUSTER_CIDR:
            return f"in the cluster's pod range {detector.value}"
        case DetectLocal.NODE_CIDR:
            return f"in this node's pod range {detector.value}"
        case DetectLocal.BRIDGE_INTERFACE:
            return f"from interface {detector.value}"
        case DetectLocal.INTERFACE_NAME_PREFIX:
            return f"from an interface {detector.value}*"


def _node_port_refusal(destination: str, family: Family) -> str:
    """Return the number of the rule that keeps node ports off a local address."""
    return "SEM-41" if _loopback(destination, family) else "SEM-42"


def _loopback(address: str, family: Family) -> bool:
    """Return whether an address is a loopback address."""
    return ip_address(address) in _LOOPBACK[family]


def _unscoped(address: str) -> str:
    """Return an address without its zone (`fe80::1%eth0`): a packet carries none."""
    return address.partition("%")[0]


def _normal(address: str) -> str:
    """Return an address in its one canonical spelling."""
    return str(ip_address(_unscoped(address)))
