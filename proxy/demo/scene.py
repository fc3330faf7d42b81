"""What the demonstration tries: every Service of the shop, from a pod, from a node and from outside, in both families.

Pure: objects and the laboratory's map in, cases out. A case is one question with one answer of the oracle: who sends, to which address and
port, and on which node that is decided. The choice is small enough to be read by a person and holds every outcome once: forwarded,
masqueraded or not, affinity, hairpin, rejected, dropped. `trial` sends the traffic, `judgement` compares.
"""

import ipaddress
from collections.abc import Iterator, Mapping

from msgspec import Struct
from pointsman.proxy.demo.lab_topology import Place, PlaceKind, Topology
from pointsman.routing.packet import Packet
from pointsman.routing.route import Family, Frontend, FrontendKind, Protocol, Routing, ServiceRoute
from pointsman.routing.snapshot import Snapshot

TOPOLOGY = Topology(nodes=2, pods_per_node=6)
"""Two nodes with room for the shop's pods."""

HOME = "n1"
"""The node whose pod and which itself send."""


class SceneError(Exception):
    """The manifests do not fit the laboratory; the text says what is missing."""


class Sender(Struct, frozen=True):
    """Who sends: in words, from which place and address per family; the node where it arrives, and by which interface (empty: its own)."""

    words: str
    place: str
    v4: str
    v6: str
    node: str
    interface: str

    def address(self, family: Family) -> str:
        """Return the source address in a family."""
        return self.v4 if family is Family.IPV4 else self.v6


class Case(Struct, frozen=True):
    """One question: `subject` is the Service port, or what stands in its place; `frontend` its address in words."""

    subject: str
    frontend: str
    family: Family
    destination: str
    port: int
    protocol: Protocol
    sender: Sender

    @property
    def packet(self) -> Packet:
        """Return the packet that opens a connection, as the deciding node sees it."""
        return Packet(self.sender.address(self.family), self.destination, self.protocol, self.port, self.sender.interface)


class Opening(Struct, frozen=True, order=True):
    """A port on which a place must answer."""

    place: str
    protocol: str
    port: int


def pods(snapshot: Snapshot, topology: Topology = TOPOLOGY) -> dict[str, str]:
    """Return the name of the pod that each place plays; raises SceneError if a pod has no place."""
    by_address = {place.addresses[Family.IPV4]: place.name for place in topology.places.values()}
    found = {}
    for pod in snapshot.pods.values():
        place = by_address.get(pod.status.pod_ip or "")
        if place is None or topology.places[place].node != pod.spec.node_name:
            raise SceneError(f"Pod {pod.metadata.namespace}/{pod.metadata.name}: no place with {pod.status.pod_ip} on {pod.spec.node_name}")
        found[place] = pod.metadata.name
    return found


def openings(snapshot: Snapshot, topology: Topology = TOPOLOGY) -> tuple[Opening, ...]:
    """Return the ports on which the shop's endpoints answer."""
    by_address = {address: place.name for place in topology.places.values() for address in place.addresses.values()}
    found = {
        Opening(by_address[address], port.protocol or Protocol.TCP.value, port.port)
        for slices in snapshot.slices.values()
        for one in slices.values()
        for endpoint in one.endpoints or ()
        for address in endpoint.addresses or ()
        for port in one.ports or ()
        if port.port and address in by_address
    }
    return tuple(sorted(found))


def senders(snapshot: Snapshot, topology: Topology = TOPOLOGY) -> dict[str, Sender]:
    """Return who sends: `pod`, `node`, and `outside` through each node (`outside n1`); raises SceneError without a pod that only asks."""
    names = pods(snapshot, topology)
    serving = {opening.place for opening in openings(snapshot, topology)}
    asking = [place for place in topology.pods_of(HOME) if place.name in names and place.name not in serving]
    if not asking:
        raise SceneError(f"no Pod on {HOME} that serves nothing: one is needed to ask")
    found = {"pod": _pod(asking[0], f"pod {names[asking[0].name]}", topology)}
    found["node"] = _sender(f"node {HOME}", HOME, topology.places[HOME].addresses, HOME, "")
    outside = next(place for place in topology.places.values() if place.kind is PlaceKind.OUTSIDE)
    for node in topology.node_names:
        addresses = {family: topology.client(node, family) for family in Family}
        found[f"outside {node}"] = _sender(f"outside via {node}", outside.name, addresses, node, "eth0")
    return found


def cases(snapshot: Snapshot, routing: Routing, topology: Topology = TOPOLOGY) -> tuple[Case, ...]:
    """Return every case, Service by Service, IPv4 before IPv6."""
    who = senders(snapshot, topology)
    routes = sorted(routing.routes.values(), key=lambda route: (str(route.port_name), route.family.value))
    names = pods(snapshot, topology)
    own = {family: _self_serving(routes, family, names, topology) for family in Family}
    found: list[Case] = []
    for route in routes:
        found += _route_cases(route, who, topology)
        found += [case for case in (own[route.family],) if case is not None and case.subject == str(route.port_name)]
    found += [case for family in Family for case in _strays(routing, family, who["pod"])]
    return tuple(found)


def _pod(place: Place, words: str, topology: Topology) -> Sender:
    return _sender(words, place.name, place.addresses, place.node, topology.interface(place.name))


def _sender(words: str, place: str, addresses: Mapping[Family, str], node: str, interface: str) -> Sender:
    return Sender(words, place, addresses[Family.IPV4], addresses[Family.IPV6], node, interface)


def _route_cases(route: ServiceRoute, who: Mapping[str, Sender], topology: Topology) -> Iterator[Case]:
    """Yield the cases of one Service port: cluster IP from inside; its outermost frontends from everywhere."""
    for frontend in route.frontends():
        if frontend.kind is FrontendKind.NODE_PORT and (route.load_balancer_ips or route.external_ips):
            continue
        everywhere = frontend.kind is not FrontendKind.CLUSTER_IP
        for name, sender in who.items():
            if everywhere or name in {"pod", "node"}:
                yield _case(route, frontend, sender, topology)


def _case(route: ServiceRoute, frontend: Frontend, sender: Sender, topology: Topology) -> Case:
    destination = frontend.address or topology.places[sender.node].addresses[route.family]
    words = f"{frontend.kind.value} {_address(destination, frontend.port)}"
    return Case(str(route.port_name), words, route.family, destination, frontend.port, frontend.protocol, sender)


def _self_serving(routes: list[ServiceRoute], family: Family, names: Mapping[str, str], topology: Topology) -> Case | None:
    """Return a case in which a pod asks a Service that it serves itself, among many others (SEM-20)."""
    by_address = {place.addresses[family]: place for place in topology.pods_of(HOME)}
    fitting = [
        (len(route.internal), str(route.port_name), route, by_address[backend.address])
        for route in routes
        if route.family is family and len(route.internal) > 1 and not route.affinity_seconds
        for backend in route.internal
        if backend.address in by_address
    ]
    if not fitting:
        return None
    _, _, route, place = max(fitting, key=lambda one: one[:2])
    return _case(route, route.frontends()[0], _pod(place, f"its pod {names[place.name].rpartition('-')[2]}", topology), topology)


def _strays(routing: Routing, family: Family, sender: Sender) -> Iterator[Case]:
    """Yield a port that no Service has (SEM-27), and an address that none owns (SEM-28)."""
    if routing.cluster_ips.get(family):
        address = min(routing.cluster_ips[family], key=lambda text: ipaddress.ip_address(text).packed)
        yield _stray("no such port", address, family, sender)
    for cidr in routing.service_cidrs.get(family, ())[:1]:
        network = ipaddress.ip_network(cidr)
        yield _stray("no such Service", str(network[network.num_addresses - 2]), family, sender)


def _stray(subject: str, destination: str, family: Family, sender: Sender) -> Case:
    port = 9999
    return Case(subject, f"cluster IP {_address(destination, port)}", family, destination, port, Protocol.TCP, sender)


def _address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
