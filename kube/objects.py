"""Kubernetes objects, reduced to the fields that this program reads.

Every struct mirrors the API's own shape, so `msgspec` decodes bytes straight into it and ignores all else. Labels and annotations are
structs too: a Service may carry kilobytes of them, and only a handful is ever read. Optional means absent or null in the API.
Values are as the API wrote them (an address may have leading zeros, a port may be out of range): judging them is `routing`'s task.
`decode` makes these structs, `events` carries them, `routing.snapshot` keeps them.

Sources: Kubernetes API v1 and discovery.k8s.io/v1, multicluster.x-k8s.io; docs/services.md IN-01 to IN-56, REC-01 to REC-11.
"""

from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct, field

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""A number as the API types it; what does not fit never gets in."""


class Kind(Enum):
    """The kinds of objects that are watched; the value is the API's own name."""

    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    NODE = "Node"
    NAMESPACE = "Namespace"
    POD = "Pod"
    SERVICE_CIDR = "ServiceCIDR"
    SERVICE_IMPORT = "ServiceImport"


class ObjectRef(Struct, frozen=True, gc=False, order=True):
    """Which object: kind, namespace (empty for cluster-scoped kinds) and name."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `Service shop/web` or `Node n1`."""
        return f"{self.kind.value} {self.namespace}/{self.name}" if self.namespace else f"{self.kind.value} {self.name}"


class Labels(Struct, frozen=True, gc=False):
    """The labels that are read; None where the object does not carry the label (an empty value is the empty string)."""

    service_name: str | None = field(default=None, name="kubernetes.io/service-name")
    headless: str | None = field(default=None, name="service.kubernetes.io/headless")
    service_proxy_name: str | None = field(default=None, name="service.kubernetes.io/service-proxy-name")
    zone: str | None = field(default=None, name="topology.kubernetes.io/zone")
    share: str | None = field(default=None, name="pointsman.dev/share")
    import_name: str | None = field(default=None, name="multicluster.kubernetes.io/service-name")
    source_cluster: str | None = field(default=None, name="multicluster.kubernetes.io/source-cluster")


class Annotations(Struct, frozen=True, gc=False):
    """The annotations that are read."""

    last_change_trigger_time: str | None = field(default=None, name="endpoints.kubernetes.io/last-change-trigger-time")
    ipvs_scheduler: str | None = field(default=None, name="pointsman.dev/ipvs-scheduler")
    ipvs_weights: str | None = field(default=None, name="pointsman.dev/ipvs-weights")
    on_endpoint_removal: str | None = field(default=None, name="pointsman.dev/on-endpoint-removal")


class ObjectMeta(Struct, frozen=True, gc=False, rename="camel"):
    """Identity and age of an object."""

    name: str
    namespace: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Labels | None = None
    annotations: Annotations | None = None


# --- Service ---------------------------------------------------------------------------------------------------------


class ServicePort(Struct, frozen=True, gc=False, rename="camel"):
    """One entry of spec.ports. `targetPort` is not read: the slice carries the port (IN-14)."""

    port: Int32
    name: str | None = None
    protocol: str | None = None
    node_port: Int32 | None = None


class ClientIPConfig(Struct, frozen=True, gc=False, rename="camel"):
    """spec.sessionAffinityConfig.clientIP; seconds."""

    timeout_seconds: Int32 | None = None


class SessionAffinityConfig(Struct, frozen=True, gc=False):
    """spec.sessionAffinityConfig."""

    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Struct, frozen=True, gc=False, rename="camel"):
    """spec of a Service."""

    type: str | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: tuple[str, ...] | None = field(default=None, name="clusterIPs")
    ip_families: tuple[str, ...] | None = None
    ports: tuple[ServicePort, ...] | None = None
    external_ips: tuple[str, ...] | None = field(default=None, name="externalIPs")
    external_name: str | None = None
    session_affinity: str | None = None
    session_affinity_config: SessionAffinityConfig | None = None
    external_traffic_policy: str | None = None
    internal_traffic_policy: str | None = None
    health_check_node_port: Int32 | None = None
    load_balancer_source_ranges: tuple[str, ...] | None = None
    publish_not_ready_addresses: bool | None = None


class LoadBalancerIngress(Struct, frozen=True, gc=False, rename="camel"):
    """One entry of status.loadBalancer.ingress."""

    ip: str | None = None
    hostname: str | None = None
    ip_mode: str | None = None


class LoadBalancerStatus(Struct, frozen=True, gc=False):
    """status.loadBalancer."""

    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Struct, frozen=True, gc=False, rename="camel"):
    """status of a Service."""

    load_balancer: LoadBalancerStatus | None = None


class Service(Struct, frozen=True, gc=False):
    """A Service (v1)."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus | None = None


# --- EndpointSlice ---------------------------------------------------------------------------------------------------


class EndpointConditions(Struct, frozen=True, gc=False):
    """Conditions as written; None means absent (IN-36 gives the defaults)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Hint(Struct, frozen=True, gc=False):
    """A zone or a node for which an endpoint should be used."""

    name: str


class EndpointHints(Struct, frozen=True, gc=False, rename="camel"):
    """Topology hints of an endpoint."""

    for_zones: tuple[Hint, ...] | None = None
    for_nodes: tuple[Hint, ...] | None = None


class TargetRef(Struct, frozen=True, gc=False):
    """What stands behind an endpoint, in practice a Pod of the slice's namespace."""

    kind: str | None = None
    name: str | None = None


class Endpoint(Struct, frozen=True, gc=False, rename="camel"):
    """One entry of a slice's endpoints."""

    addresses: tuple[str, ...] | None = None
    conditions: EndpointConditions | None = None
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: TargetRef | None = None


class EndpointPort(Struct, frozen=True, gc=False):
    """One entry of a slice's ports."""

    name: str | None = None
    port: Int32 | None = None
    protocol: str | None = None


class EndpointSlice(Struct, frozen=True, gc=False, rename="camel"):
    """An EndpointSlice (discovery.k8s.io/v1)."""

    metadata: ObjectMeta
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


# --- Node, Namespace, Pod, ServiceCIDR, ServiceImport ----------------------------------------------------------------


class NodeAddress(Struct, frozen=True, gc=False):
    """One entry of status.addresses: InternalIP, ExternalIP or a name."""

    type: str
    address: str


class Taint(Struct, frozen=True, gc=False):
    """A taint's key (HLT-03 reads nothing else)."""

    key: str


class NodeSpec(Struct, frozen=True, gc=False, rename="camel"):
    """spec of a Node."""

    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: tuple[str, ...] | None = field(default=None, name="podCIDRs")
    taints: tuple[Taint, ...] | None = None


class NodeStatus(Struct, frozen=True, gc=False):
    """status of a Node."""

    addresses: tuple[NodeAddress, ...] | None = None


class Node(Struct, frozen=True, gc=False):
    """A Node (v1)."""

    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(Struct, frozen=True, gc=False):
    """A Namespace (v1); only its existence is read."""

    metadata: ObjectMeta


class PodIP(Struct, frozen=True, gc=False):
    """One entry of status.podIPs."""

    ip: str


class PodSpec(Struct, frozen=True, gc=False, rename="camel"):
    """spec of a Pod."""

    node_name: str | None = None
    host_network: bool | None = None


class PodStatus(Struct, frozen=True, gc=False):
    """status of a Pod."""

    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: tuple[PodIP, ...] | None = field(default=None, name="podIPs")


class Pod(Struct, frozen=True, gc=False):
    """A Pod (v1)."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServiceCIDRSpec(Struct, frozen=True, gc=False):
    """spec of a ServiceCIDR."""

    cidrs: tuple[str, ...] | None = None


class ServiceCIDR(Struct, frozen=True, gc=False):
    """A ServiceCIDR (networking.k8s.io/v1)."""

    metadata: ObjectMeta
    spec: ServiceCIDRSpec = ServiceCIDRSpec()


class ServiceImportSpec(Struct, frozen=True, gc=False):
    """spec of a ServiceImport: type is ClusterSetIP or Headless; `ips` are of the first only."""

    type: str | None = None
    ips: tuple[str, ...] | None = None
    ports: tuple[ServicePort, ...] | None = None


class ServiceImport(Struct, frozen=True, gc=False):
    """A ServiceImport (multicluster.x-k8s.io): a Service that clusters of a set offer together (KEP-1645)."""

    metadata: ObjectMeta
    spec: ServiceImportSpec = ServiceImportSpec()


KubeObject = Service | EndpointSlice | Node | Namespace | Pod | ServiceCIDR | ServiceImport

STRUCTS: dict[Kind, type[KubeObject]] = {
    Kind.SERVICE: Service,
    Kind.ENDPOINT_SLICE: EndpointSlice,
    Kind.NODE: Node,
    Kind.NAMESPACE: Namespace,
    Kind.POD: Pod,
    Kind.SERVICE_CIDR: ServiceCIDR,
    Kind.SERVICE_IMPORT: ServiceImport,
}
KINDS: dict[type[KubeObject], Kind] = {struct: kind for kind, struct in STRUCTS.items()}


def ref_of(value: KubeObject) -> ObjectRef:
    """Return the reference of an object."""
    return ObjectRef(KINDS[type(value)], value.metadata.namespace, value.metadata.name)
