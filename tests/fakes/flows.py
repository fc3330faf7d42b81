"""Routes, flows and judges that the tests of connection tracking share."""

from pointsman.conntrack.classify import Judge
from pointsman.conntrack.flow import NUMBERS, Direction, Flow, Status
from pointsman.conntrack.names import NOBODY, Names
from pointsman.conntrack.tombstones import Tombstones
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Family, Protocol, Routing, ServicePortName, ServiceRoute

V4, V6 = Family.IPV4, Family.IPV6
TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
NODE = NodeFacts("n1", local_addresses={V4: ("127.0.0.1", "172.20.0.1"), V6: ("::1", "fd00:20::1")})
CIDRS = {V4: ("10.96.0.0/16",), V6: ("fd00:96::/112",)}


def backend(address: str, pod: str = "", port: int = 53) -> Backend:
    return Backend(address, port, local=False, hairpin=False, pod=pod)


def route(
    name: str = "dns",
    *,
    cluster_ip: str = "10.96.0.10",
    ends: tuple[Backend, ...] = (backend("10.2.0.7", "dns-1"), backend("10.2.0.8", "dns-2")),
    lingering: tuple[Backend, ...] = (),
    protocol: Protocol = UDP,
    port: int = 53,
    node_port: int = 30053,
    external_ips: tuple[str, ...] = ("192.0.2.1",),
    reset_after: float | None = None,
) -> ServiceRoute:
    return ServiceRoute(
        ServicePortName("shop", name, "", protocol),
        V6 if ":" in cluster_ip else V4,
        cluster_ip,
        port,
        node_port=node_port,
        external_ips=external_ips,
        cluster=ends,
        reachable=ends,
        any_endpoint=bool(ends),
        lingering=lingering,
        reset_after=reset_after,
    )


def routing(*routes: ServiceRoute, revision: int = 1) -> Routing:
    owned = {family: frozenset(one.cluster_ip for one in routes if one.family is family) for family in Family}
    return Routing(revision, {one.key: one for one in routes}, owned, CIDRS, (), ())


def judge(*routes: ServiceRoute, names: Names = NOBODY, tombstones: Tombstones | None = None) -> Judge:
    return Judge(routing(*routes), NODE, names, tombstones)


def flow(
    to: str = "10.96.0.10:53",
    at: str = "10.2.0.7:53",
    client: str = "10.5.0.1:40000",
    *,
    back: str = "",
    protocol: Protocol | int = UDP,
    status: int = Status.SEEN_REPLY | Status.CONFIRMED,
    timeout: int = 100,
    zone: int = 0,
    state: str = "",
) -> Flow:
    """Return a flow; `back` is to whom the answer goes, the client unless it is masqueraded."""
    ends = (client, to, at, back or client)
    (source, source_port), (destination, destination_port), (end, end_port), (home, home_port) = map(_split, ends)
    number = protocol if isinstance(protocol, int) else NUMBERS[protocol]
    return Flow(
        V6 if ":" in source else V4,
        number,
        Direction(source, destination, source_port, destination_port),
        Direction(end, home, end_port, home_port),
        status=status,
        timeout=timeout,
        zone=zone,
        state=state,
    )


def _split(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)
