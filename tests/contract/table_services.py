"""The Services of the contract table, as short descriptions, and the manifests that they stand for.

Every Service is dual stack and of type LoadBalancer unless it says otherwise, so that each has all four kinds of frontends. Endpoints are
pods (or nodes, for host-network pods) of the laboratory. Addresses follow from a Service's place in the list.
"""

from dataclasses import dataclass, field, replace

from pointsman.kube.decode import decode
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import KINDS, Kind
from pointsman.proxy.demo.lab import POD_PORT
from pointsman.proxy.demo.lab_topology import SERVICE_RANGE
from pointsman.routing.route import Family, Protocol
from pointsman.routing.snapshot import EMPTY, advance

V4, V6 = Family.IPV4, Family.IPV6
NAMESPACE = "table"
ZONES = {"n1": "zone-a", "n2": "zone-b"}


@dataclass(frozen=True)
class End:
    """An endpoint: the place that serves it, its conditions, and its hints."""

    place: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


def ready(*places):
    """Endpoints that are ready."""
    return tuple(End(place) for place in places)


def unready(*places):
    """Endpoints that are not ready, and not on their way out either."""
    return tuple(End(place, ready=False, serving=False) for place in places)


def draining(*places):
    """Endpoints that terminate and still serve."""
    return tuple(End(place, ready=False, terminating=True) for place in places)


def dead(*places):
    """Endpoints that terminate and no longer serve."""
    return tuple(End(place, ready=False, serving=False, terminating=True) for place in places)


@dataclass(frozen=True)
class Port:
    """One port of a Service: the number that clients use, its protocol, its name, and the pods' port."""

    number: int = 80
    protocol: Protocol = Protocol.TCP
    name: str = ""
    target: int = POD_PORT


@dataclass(frozen=True, eq=False)
class Configuration:
    """One Service and its endpoints. `number` makes its addresses and node ports unique."""

    name: str
    ends: tuple[End, ...]
    internal_local: bool = False
    external_local: bool = False
    type: str = "LoadBalancer"
    ports: tuple[Port, ...] = (Port(),)
    families: tuple[Family, ...] = (V4, V6)
    external: bool = True
    balancer: bool = True
    ip_mode: str | None = None
    ranges: tuple[str, ...] = ()
    affinity: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    situation: str = ""
    number: int = 0

    def cluster_ip(self, family):
        return f"10.96.1.{self.number}" if family is V4 else f"fd00:10:96::1{self.number:02x}"

    def external_ip(self, family):
        return f"192.0.2.{self.number}" if family is V4 else f"fd00:20::{self.number:x}"

    def balancer_ip(self, family):
        return f"203.0.113.{self.number}" if family is V4 else f"fd00:30::{self.number:x}"

    def node_port(self, port):
        """Return the node port of a port, 0 if the type has none."""
        return 0 if self.type == "ClusterIP" else 30000 + self.number * 5 + self.ports.index(port)


# --- the list ----------------------------------------------------------------------------------------------------------

SITUATIONS = {
    "both": ready("n1p1", "n1p2", "n2p1"),
    "local": ready("n1p1", "n1p2"),
    "remote": ready("n2p1", "n2p2"),
    "none": (),
    "unready": unready("n1p1", "n2p1"),
    "draining": draining("n1p1", "n2p1"),                            # nobody is ready: both policies fall back
    "local draining": (*draining("n1p1"), *ready("n2p1")),           # only the local list falls back
    "one ready": (*ready("n1p1"), *draining("n1p2", "n2p1")),        # ready wins over terminating
    "dead": dead("n1p1", "n2p1"),
}
POLICIES = [(False, False), (False, True), (True, False), (True, True)]


def letters(internal_local, external_local):
    """Return the policies in short: C or L for internal, then for external."""
    return "CL"[internal_local] + "CL"[external_local]


def _grid():
    for situation, ends in SITUATIONS.items():
        for policy in POLICIES:
            name = f"{letters(*policy).lower()}-{situation.replace(' ', '-')}"
            yield Configuration(name, ends, *policy, situation=situation)


def _protocols():
    for protocol in (Protocol.UDP, Protocol.SCTP):
        port = (Port(80, protocol),)
        for situation in ("both", "remote", "none"):
            for policy in ((False, False), (True, True)):
                name = f"{protocol.lower}-{letters(*policy).lower()}-{situation}"
                yield Configuration(name, SITUATIONS[situation], *policy, ports=port, situation=situation)


def _hints():
    by_zone = (End("n1p1", zones=("zone-a",)), End("n2p1", zones=("zone-b",)))
    yield Configuration("hints-zone", by_zone)
    by_node = (End("n1p1", nodes=("n1",), zones=("zone-b",)), End("n1p2", nodes=("n2",)), End("n2p1", nodes=("n2",), zones=("zone-a",)))
    yield Configuration("hints-node", by_node)
    yield Configuration("hints-missing-on-one", (*by_zone, End("n2p2")))
    yield Configuration("hints-elsewhere", (End("n1p1", zones=("zone-c",)), End("n2p1", zones=("zone-c",))))
    yield Configuration("hints-local", (End("n1p1", zones=("zone-b",)), End("n2p1", zones=("zone-a",))), external_local=True)
    yield Configuration("hints-unready", (End("n1p1", zones=("zone-a",)), End("n2p1", ready=False, serving=False)))


CLIENT_RANGES = ("198.18.1.10/32", "198.18.2.10/32", "fd00:18:1::10/128", "fd00:18:2::10/128")
NODE_RANGES = (*CLIENT_RANGES, " 192.168.50.0/24 ", "fd00:50::/64")


def _ranges():
    for situation in ("both", "remote", "none"):
        yield Configuration(f"ranges-cc-{situation}", SITUATIONS[situation], ranges=CLIENT_RANGES)
        yield Configuration(f"ranges-cl-{situation}", SITUATIONS[situation], external_local=True, ranges=CLIENT_RANGES)
    yield Configuration("ranges-with-node", SITUATIONS["both"], ranges=NODE_RANGES)
    yield Configuration("ranges-with-node-local", SITUATIONS["remote"], external_local=True, ranges=NODE_RANGES)
    yield Configuration("ranges-ipv4-only", SITUATIONS["both"], ranges=("198.18.1.10/32", "198.18.2.10/32"))
    udp = (Port(80, Protocol.UDP),)
    yield Configuration("ranges-udp", SITUATIONS["both"], ports=udp, ranges=CLIENT_RANGES)


def _kinds():
    two = (Port(80, name="http"), Port(443, name="https", target=9443))
    yield Configuration("ports-two", SITUATIONS["both"], ports=two)
    same = (Port(53, Protocol.TCP, "dns-tcp"), Port(53, Protocol.UDP, "dns"), Port(53, Protocol.SCTP, "dns-sctp"))
    yield Configuration("ports-one-number", ready("n1p1", "n2p1"), ports=same)
    yield Configuration("sticky", SITUATIONS["both"], affinity=10800)
    yield Configuration("sticky-local", SITUATIONS["both"], True, True, affinity=600)
    yield Configuration("sticky-udp", SITUATIONS["both"], ports=(Port(80, Protocol.UDP),), affinity=600)
    yield Configuration("cluster-ip-only", SITUATIONS["both"], type="ClusterIP", external=False, balancer=False)
    yield Configuration("external-ip-local", SITUATIONS["remote"], external_local=True, type="ClusterIP", balancer=False)
    yield Configuration("node-port-only", SITUATIONS["both"], external_local=True, type="NodePort", external=False, balancer=False)
    yield Configuration("mode-proxy", SITUATIONS["both"], ip_mode="Proxy")
    yield Configuration("mode-vip", SITUATIONS["both"], ip_mode="VIP")
    yield Configuration("ipv4-only", SITUATIONS["both"], families=(V4,))
    yield Configuration("ipv6-only", SITUATIONS["both"], families=(V6,))
    yield Configuration("host-network", ready("n1", "n2"))
    yield Configuration("host-network-local", ready("n1", "n2"), external_local=True)
    yield Configuration("single-local", ready("n1p1"))
    yield Configuration("single-remote", ready("n2p1"), True)
    yield Configuration("many", ready("n1p1", "n1p2", "n1p3", "n2p1", "n2p2", "n2p3"))
    yield Configuration("other-proxy", SITUATIONS["both"], labels={"service.kubernetes.io/service-proxy-name": "other"})


def _all():
    made = [*_grid(), *_protocols(), *_hints(), *_ranges(), *_kinds()]
    return tuple(replace(one, number=number) for number, one in enumerate(made, start=10))


CONFIGURATIONS = _all()
BY_NAME = {one.name: one for one in CONFIGURATIONS}


def others():
    """Return other Services of the same names: other endpoints, policies, affinity, ranges; some are missing, one is not in the table."""
    turned = CONFIGURATIONS[7:] + CONFIGURATIONS[:7]
    made = []
    for place, (one, other) in enumerate(zip(CONFIGURATIONS, turned, strict=True)):
        if place % 5:
            policies = {"internal_local": not one.internal_local, "external_local": not one.external_local}
            rest = {"ranges": () if one.ranges else ("172.16.0.0/12", "fd00:99::/64"), "affinity": 0 if one.affinity else 300}
            made.append(replace(one, ends=other.ends, **policies, **rest))
    return (*made, replace(BY_NAME["sticky"], name="gone", number=222))


# --- manifests ---------------------------------------------------------------------------------------------------------


def service(one):
    """Return the Service object of a configuration."""
    ports = [
        {"port": port.number, "protocol": port.protocol.value, "name": port.name or None, "nodePort": one.node_port(port) or None}
        for port in one.ports
    ]
    spec = {
        "type": one.type,
        "clusterIP": one.cluster_ip(one.families[0]),
        "clusterIPs": [one.cluster_ip(family) for family in one.families],
        "ipFamilies": [family.value for family in one.families],
        "ports": [{key: value for key, value in port.items() if value is not None} for port in ports],
        "internalTrafficPolicy": "Local" if one.internal_local else "Cluster",
        "externalTrafficPolicy": "Local" if one.external_local else "Cluster",
    }
    if one.external_local and one.type == "LoadBalancer":
        spec["healthCheckNodePort"] = 32000 + one.number
    if one.external:
        spec["externalIPs"] = [one.external_ip(family) for family in one.families]
    if one.ranges:
        spec["loadBalancerSourceRanges"] = list(one.ranges)
    if one.affinity:
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": one.affinity}}
    metadata = {"name": one.name, "namespace": NAMESPACE, "labels": one.labels}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    if one.balancer:
        mode = {"ipMode": one.ip_mode} if one.ip_mode else {}
        made["status"] = {"loadBalancer": {"ingress": [{"ip": one.balancer_ip(family), **mode} for family in one.families]}}
    return made


def endpoint(end, family, topology):
    """Return one endpoint of a slice."""
    place = topology.places[end.place]
    made = {
        "addresses": [place.addresses[family]],
        "conditions": {"ready": end.ready, "serving": end.serving, "terminating": end.terminating},
        "nodeName": place.node,
        "zone": ZONES[place.node],
        "targetRef": {"kind": "Pod", "name": end.place, "namespace": NAMESPACE},
    }
    hints = {"forZones": [{"name": zone} for zone in end.zones], "forNodes": [{"name": node} for node in end.nodes]}
    if end.zones or end.nodes:
        made["hints"] = {key: value for key, value in hints.items() if value}
    return made


def slices(one, topology):
    """Return the EndpointSlices of a configuration, one per family."""
    for family in one.families:
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{one.name}-{family.value.lower()}",
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": one.name},
            },
            "addressType": family.value,
            "endpoints": [endpoint(end, family, topology) for end in one.ends],
            "ports": [{"name": port.name, "port": port.target, "protocol": port.protocol.value} for port in one.ports],
        }


def nodes(topology):
    """Return the Node objects of the laboratory."""
    for node in topology.node_names:
        place = topology.places[node]
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node, "labels": {"topology.kubernetes.io/zone": ZONES[node]}},
            "spec": {"podCIDR": topology.pod_range(node, V4), "podCIDRs": [topology.pod_range(node, family) for family in Family]},
            "status": {"addresses": [{"type": "InternalIP", "address": place.addresses[family]} for family in Family]},
        }


def manifests(configurations, topology):
    """Return every object of a cluster with these Services."""
    made = list(nodes(topology))
    made.append({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [SERVICE_RANGE[family] for family in Family]},
    })
    for one in configurations:
        made.append(service(one))
        made.extend(slices(one, topology))
    return made


def snapshot_of(objects):
    """Return the snapshot that a daemon has once it has read these objects."""
    values = {kind: [] for kind in Kind}
    for entry in decode({"apiVersion": "v1", "kind": "List", "items": objects}):
        values[KINDS[type(entry.outcome)]].append(entry.outcome)
    snapshot, _ = advance(EMPTY, Batch(tuple(Replace(kind, tuple(found)) for kind, found in values.items())))
    return snapshot
