"""The cases of the contract table: who sends to what, and what the oracle says becomes of it.

Generated: every Service x every frontend of it x pod, node and outside x family. Listed: what does not fit that grid (backends that talk to
themselves, second addresses, loopback, denied clients, unused ports, addresses that nobody owns).
"""

import ipaddress
from dataclasses import dataclass
from functools import cache

from pointsman.proxy.demo.lab_topology import PlaceKind
from pointsman.routing.build import build
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet, SourcePlace, Verdict
from pointsman.routing.route import Family, FrontendKind, Protocol
from table_services import BY_NAME, CONFIGURATIONS, Configuration, manifests, snapshot_of
from table_worlds import HELD, TOPOLOGY, World

V4, V6 = Family.IPV4, Family.IPV6
KINDS = {
    "cluster IP": FrontendKind.CLUSTER_IP,
    "external IP": FrontendKind.EXTERNAL_IP,
    "load-balancer IP": FrontendKind.LOAD_BALANCER_IP,
    "node port": FrontendKind.NODE_PORT,
}
WHEREVER = {"both", "remote", "none"}
"""Situations that are asked in every world; the finer ones do not depend on the node's configuration."""
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}


@dataclass(frozen=True)
class Source:
    """Where a case's packets come from: a name for people, the place, the address they carry, and the interface by which they come."""

    name: str
    place: str
    address: str
    interface: str


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    world: World
    configuration: Configuration
    source: Source
    target: str
    destination: str
    port: int
    protocol: Protocol
    family: Family

    def __str__(self):
        where = f"[{self.destination}]" if self.family is V6 else self.destination
        return f"{self.configuration.name}: {self.source.name} -> {self.target} {where}:{self.port}/{self.protocol.lower}"

    @property
    def packet(self):
        return Packet(self.source.address, self.destination, self.protocol, self.port, self.source.interface)


def sources(world, family):
    """Return the sources of a world by name, for one family."""
    entry = world.entry
    pods = TOPOLOGY.pods_of(entry)
    remote = TOPOLOGY.pods_of("n2" if entry == "n1" else "n1")
    made = [
        Source("pod", pods[3].name, pods[3].addresses[family], TOPOLOGY.interface(pods[3].name)),
        Source("itself", pods[0].name, pods[0].addresses[family], TOPOLOGY.interface(pods[0].name)),
        Source("remote pod", remote[3].name, remote[3].addresses[family], "eth0"),
        Source("node", entry, TOPOLOGY.places[entry].addresses[family], ""),
        Source("second address", entry, TOPOLOGY.second(entry, family), ""),
        Source("loopback", entry, LOOPBACK[family], ""),
        Source("its own address", entry, world.held(family)[0], ""),
        Source("outside", "outside", TOPOLOGY.client(entry, family), "eth0"),
        Source("stranger", "outside", TOPOLOGY.client(entry, family, 1), "eth0"),
    ]
    return {source.name: source for source in made}


def targets(world, one, family):
    """Yield name, destination, port and protocol of each frontend of a Service; node ports at the node's own IP."""
    if family not in one.families:
        return
    for port in one.ports:
        yield "cluster IP", one.cluster_ip(family), port.number, port.protocol
        if one.external:
            yield "external IP", one.external_ip(family), port.number, port.protocol
        if one.balancer:
            yield "load-balancer IP", one.balancer_ip(family), port.number, port.protocol
        if one.node_port(port):
            yield "node port", TOPOLOGY.places[world.entry].addresses[family], one.node_port(port), port.protocol


def grid(world):
    """Every Service x frontend x pod, node, outside x family; worlds that are not complete leave out the finer situations."""
    for one in CONFIGURATIONS:
        if not world.complete and one.situation not in WHEREVER:
            continue
        for family in Family:
            known = sources(world, family)
            for target in targets(world, one, family):
                for name in ("pod", "node", "outside", "stranger") if one.ranges else ("pod", "node", "outside"):
                    yield Case(world, one, known[name], *target, family)


def backends_to_themselves(world):
    """A backend reaches its own Service, and may be sent to itself (SEM-20, pain 35)."""
    for name in ("cc-both", "cl-both", "lc-both", "ll-local", "single-local", "udp-cc-both", "sctp-cc-both", "cl-local-draining", "many"):
        one = BY_NAME[name]
        for family in Family:
            for target in targets(world, one, family):
                yield Case(world, one, sources(world, family)["itself"], *target, family)


def node_ports_by_address(world):
    """Node ports on each kind of address of the node, from every kind of source (SEM-40 to SEM-46)."""
    for name in ("cc-both", "cl-both", "cl-remote", "cc-none", "udp-cc-both", "udp-cc-none", "sctp-cc-both"):
        one = BY_NAME[name]
        [port] = one.ports
        for family in Family:
            known = sources(world, family)
            addresses = {
                "node port at a second address": TOPOLOGY.second(world.entry, family),
                "node port at the pods' gateway": TOPOLOGY.gateway(world.entry, family),
                "node port at a held load-balancer IP": world.held(family)[0],
            }
            for target, address in addresses.items():
                for source in ("pod", "node", "outside"):
                    yield Case(world, one, known[source], target, address, one.node_port(port), port.protocol, family)
            yield Case(world, one, known["remote pod"], "node port", TOPOLOGY.places[world.entry].addresses[family],
                       one.node_port(port), port.protocol, family)
            yield Case(world, one, known["loopback"], "node port at loopback", LOOPBACK[family], one.node_port(port), port.protocol, family)
            yield Case(world, one, known["second address"], "node port", TOPOLOGY.places[world.entry].addresses[family],
                       one.node_port(port), port.protocol, family)


def from_second_address(world):
    """The node sends from an address that is not its first: masquerading shows."""
    for name in ("cc-both", "cl-remote", "lc-both", "cc-none", "udp-cc-both"):
        one = BY_NAME[name]
        for family in Family:
            for target in targets(world, one, family):
                yield Case(world, one, sources(world, family)["second address"], *target, family)


def held_addresses(world):
    """The node holds a load-balancer IP and uses it as source towards itself (SEM-32)."""
    one = BY_NAME[HELD[0]]
    for family in Family:
        source = sources(world, family)["its own address"]
        yield Case(world, one, source, "load-balancer IP", one.balancer_ip(family), 80, Protocol.TCP, family)


def without_a_frontend(world):
    """Ports that no Service has, addresses that no Service owns (SEM-27, SEM-28), frontends that are not programmed."""
    for family in Family:
        known = sources(world, family)
        one = BY_NAME["cc-both"]
        for source in ("pod", "node", "outside"):
            for protocol in Protocol:
                yield Case(world, one, known[source], "unused port of a cluster IP", one.cluster_ip(family), 81, protocol, family)
            for protocol in (Protocol.UDP, Protocol.SCTP):
                yield Case(world, one, known[source], "other protocol of a cluster IP", one.cluster_ip(family), 80, protocol, family)
            nobody = {V4: "10.96.200.200", V6: "fd00:10:96::c8c8"}[family]
            for protocol in Protocol:
                yield Case(world, one, known[source], "cluster IP of nobody", nobody, 80, protocol, family)
            for protocol in (Protocol.TCP, Protocol.UDP):
                yield Case(world, one, known[source], "unused port of an external IP", one.external_ip(family), 81, protocol, family)
                yield Case(world, one, known[source], "unused port of a load-balancer IP", one.balancer_ip(family), 81, protocol, family)


@cache
def routes_by_name(world):
    """Return a world's routes by port name and family."""
    return {(route.port_name, route.family): route for route in routing_of(world).routes.values()}


@cache
def routing_of(world):
    """Return what a world's node routes."""
    return build(snapshot_of(manifests(CONFIGURATIONS, TOPOLOGY)), world.facts())


@cache
def oracle_of(world):
    """Return the oracle of a world."""
    return Oracle(routing_of(world), world.facts())


def replies_come_back(case, outcome):
    """Return whether every reply passes the entry node; else the connection cannot work whatever is programmed.

    A pod of another node that is forwarded, unmasqueraded, to a backend of its own node gets its reply from there directly.
    """
    source = TOPOLOGY.places[case.source.place]
    if source.kind is not PlaceKind.POD or source.node == case.world.entry:
        return True
    return all(share.masquerade or share.backend.local for share in outcome.shares)


def feasible(case, outcome):
    """Return whether the kernel would let such packets out at all: loopback addresses never leave a host."""
    if not ipaddress.ip_address(case.source.address).is_loopback:
        return replies_come_back(case, outcome)
    return outcome.verdict is not Verdict.FORWARD or case.family is V4


@cache
def cases(world):
    """Return the cases of a world with their outcomes, each once."""
    made = {}
    makers = (grid, backends_to_themselves, node_ports_by_address, from_second_address, held_addresses, without_a_frontend)
    for make in makers:
        for case in make(world):
            outcome = oracle_of(world).trace(case.packet)
            if feasible(case, outcome):
                made[case] = outcome
    return made


def cell(case, outcome):
    """Return the cell of the specification's table that a case lies in, None if it meets no frontend.

    Frontend kind, whether the policy for it is Local, place, and which endpoints there are: none, remote only, local ones.
    """
    if outcome.frontend is None:
        return None
    route = routes_by_name(case.world)[outcome.port_name, case.family]
    is_local = route.internal_local if outcome.frontend.kind is FrontendKind.CLUSTER_IP else route.external_local
    somewhere = "local" if any(backend.local for backend in route.reachable) else "remote"
    endpoints = somewhere if route.any_endpoint else "none"
    return outcome.frontend.kind, is_local, outcome.place, endpoints


ALL_CELLS = frozenset(
    (kind, is_local, place, endpoints)
    for kind in FrontendKind
    for is_local in (False, True)
    for place in SourcePlace
    for endpoints in ("none", "remote", "local")
)
