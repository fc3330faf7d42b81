"""Routes of every shape, for tests of the modes: few addresses, so that they meet, and policies as `routing` would combine them."""

from hypothesis import strategies as st
from pointsman.routing.node import DetectLocal, LocalDetector, NodeFacts, NodePortAddresses
from pointsman.routing.route import Backend, Family, Protocol, Routing, ServicePortName, ServiceRoute

V4, V6 = Family.IPV4, Family.IPV6
NODE_ADDRESS = {V4: "192.168.7.1", V6: "fd00:7::1"}
OTHER_NODE_ADDRESS = {V4: "192.168.8.1", V6: "fd00:8::1"}
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
POD_RANGE = {V4: "10.244.0.0/16", V6: "fd00:244::/64"}
SERVICE_RANGE = {V4: "10.96.0.0/16", V6: "fd00:96::/108"}
CLIENT = {V4: "203.0.113.9", V6: "2001:db8::9"}
RANGES = {V4: ("203.0.113.0/24", "10.244.0.0/24", "0.0.0.0/0"), V6: ("2001:db8::/64", "fd00:244::/96", "::/0")}


def pod(family, number):
    return f"10.244.{number >> 8}.{number & 255}" if family is V4 else f"fd00:244::{number:x}"


def vip(family, kind, number):
    """Return an address for a frontend of the number-th Service; kind 96 is the Service range."""
    return f"10.{kind}.{number >> 8}.{number & 255}" if family is V4 else f"fd00:{kind}::{number:x}"


def backend(family, number, local=False, port=8080):
    return Backend(pod(family, number), port, local, local)


def route(family=V4, *, name="web", protocol=Protocol.TCP, backends=(), **changes):
    """Return a route whose backends are what `routing` would make of the policies: all are ready."""
    port_name = ServicePortName("shop", name, "http", protocol)
    made = ServiceRoute(port_name, family, changes.pop("cluster_ip", vip(family, 96, 58)), changes.pop("port", 80), **changes)
    external = made.externally_accessible
    cluster = tuple(backends) if external or not made.internal_local else ()
    local = tuple(b for b in backends if b.local) if made.internal_local or (made.external_local and external) else ()
    reachable = tuple(b for b in backends if b in cluster or b in local)
    fields = {"cluster": cluster, "local": local, "reachable": reachable, "any_endpoint": bool(backends)}
    return ServiceRoute(port_name, family, made.cluster_ip, made.port, **changes, **fields)


def routing(*routes, cidrs=True):
    families = {r.family for r in routes} or {V4, V6}
    return Routing(
        revision=1,
        routes={r.key: r for r in routes},
        cluster_ips={f: frozenset(r.cluster_ip for r in routes if r.family is f and r.cluster_ip) for f in families},
        service_cidrs={f: (SERVICE_RANGE[f],) for f in families} if cidrs else {},
        notices=(),
        health_checks=(),
    )


def node(family=V4, *, detector="source", node_ports=None, **changes):
    """Return a node with one family; detector is source, bridge, prefix or None."""
    detectors = {
        "source": LocalDetector(DetectLocal.CLUSTER_CIDR, POD_RANGE[family]),
        "bridge": LocalDetector(DetectLocal.BRIDGE_INTERFACE, "cbr0"),
        "prefix": LocalDetector(DetectLocal.INTERFACE_NAME_PREFIX, "cbr"),
    }
    return NodeFacts(
        name="n1",
        node_ips={family: NODE_ADDRESS[family]},
        local_addresses={family: (NODE_ADDRESS[family], LOOPBACK[family])},
        detectors={family: detectors[detector]} if detector else {},
        node_ports={family: node_ports or NodePortAddresses()},
        **changes,
    )


def nodes(family):
    accepted = st.sampled_from([
        NodePortAddresses(),
        NodePortAddresses(loopback=family is V4),
        NodePortAddresses(match_all=False, addresses=(NODE_ADDRESS[family],)),
        NodePortAddresses(match_all=False),
    ])
    return st.builds(
        lambda d, a, m: node(family, detector=d, node_ports=a, masquerade_all=m),
        st.sampled_from(["source", "source", "bridge", "prefix", None]), accepted, st.booleans(),
    )


@st.composite
def routes(draw, family, number):
    """Return the number-th route; no two numbers claim the same place, but all may share addresses' buckets."""
    protocol = draw(st.sampled_from(list(Protocol)))
    count = draw(st.sampled_from([0, 0, 1, 2, 3, 4]))
    backends = [backend(family, number * 16 + i, draw(st.booleans()), 8080 + i) for i in range(count)]
    return route(
        family,
        name=f"web{number}",
        protocol=protocol,
        backends=backends,
        cluster_ip=vip(family, 96, number) if draw(st.integers(0, 7)) else "",
        port=draw(st.sampled_from([53, 80])),
        node_port=draw(st.sampled_from([0, 30000 + number, 30064 + number])),
        external_ips=(vip(family, 97, number),) if draw(st.booleans()) else (),
        load_balancer_ips=tuple(vip(family, 98, number + 16 * i) for i in range(draw(st.integers(0, 2)))),
        source_ranges=tuple(draw(st.sets(st.sampled_from(RANGES[family]), max_size=2))),
        vip_is_source=draw(st.booleans()),
        internal_local=draw(st.booleans()),
        external_local=draw(st.booleans()),
        affinity_seconds=draw(st.sampled_from([0, 0, 10800])),
    )


def some_routes(family):
    return st.tuples(*(routes(family, number) for number in (1, 2, 3)))
