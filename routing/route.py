"""What every mode programs: a ServiceRoute says which backends each frontend of one Service port uses on this node.

All policy is decided here, once (docs/services.md): family, topology, traffic policies, terminating fallback, conflicts. A mode
only translates; the oracle reads the same value. Routes compare by value, so an unchanged route costs nothing further. `build` makes them,
the modes' `compile` and `oracle` read them.

Vocabulary of docs/services.md section 2: `cluster` is C, `local` is L, `reachable` is R, `any_endpoint` is any.
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct


class Family(Enum):
    """An IP family; each is routed and programmed on its own."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is Python code, and these are in every key

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class Protocol(Enum):
    """A transport protocol, as the API writes it."""

    __hash__ = object.__hash__

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"

    @property
    def lower(self) -> str:
        """Return the name as netfilter writes it."""
        return self.value.lower()


class ServicePortName(Struct, frozen=True, gc=False, order=True):
    """The key of a Service port: namespace, Service name, port name (empty if unnamed) and protocol (IN-12)."""

    namespace: str
    name: str
    port: str
    protocol: Protocol

    def __str__(self) -> str:
        """Return `namespace/name:port`, or `namespace/name` for an unnamed port."""
        return f"{self.namespace}/{self.name}:{self.port}" if self.port else f"{self.namespace}/{self.name}"


class RouteKey(Struct, frozen=True, gc=False):
    """The key of a route: a Service port in one family."""

    family: Family
    port_name: ServicePortName


class FrontendKind(Enum):
    """The four kinds of addresses by which clients reach a Service port."""

    __hash__ = object.__hash__

    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    LOAD_BALANCER_IP = "load-balancer IP"
    NODE_PORT = "node port"


class Frontend(Struct, frozen=True, gc=False):
    """Address (empty for a node port), port and protocol that clients use."""

    kind: FrontendKind
    address: str
    port: int
    protocol: Protocol


class Backend(Struct, frozen=True, gc=False):
    """An endpoint behind a Service port: normalised address, port, whether it is on this node, and names for people.

    `hairpin` is true where a connection from the backend to itself can pass this node: it is on this node, or nobody says where it is
    (SEM-20). Names are empty where the slice does not give them. `weight` counts only where a mode's scheduler weighs (ipvs).
    """

    address: str
    port: int
    local: bool
    hairpin: bool
    pod: str = ""
    node: str = ""
    zone: str = ""
    weight: int = 1

    def __str__(self) -> str:
        """Return `ip:port`, IPv6 in brackets: the endpoint's identity (IN-39)."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Missing(Enum):
    """What happens to a new connection for which there is no backend."""

    REJECT = "reject"  # no usable endpoint anywhere in the cluster (SEM-01, SEM-10)
    DROP = "drop"      # usable endpoints exist, but none on this node and the policy is Local (SEM-02, SEM-15)


class TopologyMode(Enum):
    """Which hints are obeyed (SEL-10)."""

    NONE = "none"
    SAME_ZONE = "same zone"
    SAME_NODE = "same node"


class Topology(Struct, frozen=True, gc=False):
    """The hints obeyed, and in words why others are ignored (empty if there are none to ignore)."""

    mode: TopologyMode = TopologyMode.NONE
    reason: str = ""


class Excluded(Struct, frozen=True, gc=False):
    """An endpoint that takes no new connection here: its `ip:port` and why (not ready, terminating, other zone ...)."""

    backend: str
    reason: str


class ServiceRoute(Struct, frozen=True, gc=False):
    """Everything a mode needs to program one Service port in one family.

    `cluster_ip` is empty if another Service owns that address and port, or it may not be used; lost or refused external addresses are
    absent, a lost node port is 0. `node_port_taken` are addresses of this node at which the node port is no node port, but a frontend that
    is somebody's. Addresses are normalised. `source_ranges` restricts load-balancer IPs only (SEM-30), empty = everybody;
    `vip_is_source` admits the load-balancer IPs as sources too (SEM-32). `affinity_seconds` 0 = no session affinity.
    `scheduler` and its flags are what the Service asks for (ipvs only), empty = as the mode has it.
    `internal_local` and `external_local` are the traffic policies (IN-19). Backends are sorted by their text, bytewise (IN-40).
    `lingering` are endpoints that serve and take no new connection here: what they have may go on (CT-02). `reset_after` says how many
    seconds after an endpoint has left its established connections are ended (`removal`); None keeps them.
    """

    port_name: ServicePortName
    family: Family
    cluster_ip: str
    port: int
    node_port: int = 0
    node_port_taken: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    vip_is_source: bool = False
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    scheduler: str = ""
    scheduler_flags: tuple[str, ...] = ()
    cluster: tuple[Backend, ...] = ()
    local: tuple[Backend, ...] = ()
    reachable: tuple[Backend, ...] = ()
    any_endpoint: bool = False
    topology: Topology = Topology()
    lingering: tuple[Backend, ...] = ()
    reset_after: float | None = None

    @property
    def key(self) -> RouteKey:
        """Return the route's key."""
        return RouteKey(self.family, self.port_name)

    @property
    def protocol(self) -> Protocol:
        """Return the protocol of the Service port."""
        return self.port_name.protocol

    @property
    def externally_accessible(self) -> bool:
        """Return whether it has a node port, an external IP or a load-balancer IP (IN-22)."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def internal(self) -> tuple[Backend, ...]:
        """Return the backends of the cluster IP (SEM-03, SEM-07)."""
        return self.local if self.internal_local else self.cluster

    @property
    def external(self) -> tuple[Backend, ...]:
        """Return the backends of external frontends for sources that are neither pods nor this node (SEM-11, SEM-14)."""
        return self.local if self.external_local else self.cluster

    @property
    def internal_missing(self) -> Missing | None:
        """Return what happens at the cluster IP when it has no backend; None if it has one."""
        if self.internal:
            return None
        return Missing.DROP if self.any_endpoint else Missing.REJECT

    @property
    def external_missing(self) -> Missing | None:
        """Return what happens at external frontends when they have no backend for outside sources; None if they have one."""
        if self.external:
            return None
        return Missing.DROP if self.any_endpoint else Missing.REJECT

    def holds(self, address: str, port: int) -> bool:
        """Return whether a connection to an endpoint may go on: it serves, whatever policy, topology and readiness say (CT-02)."""
        return any(one.port == port and one.address == address for one in (*self.reachable, *self.lingering))

    def frontends(self) -> tuple[Frontend, ...]:
        """Return every frontend, cluster IP first."""
        proto = self.protocol
        vips = [(FrontendKind.CLUSTER_IP, self.cluster_ip)] if self.cluster_ip else []
        vips += [(FrontendKind.EXTERNAL_IP, address) for address in self.external_ips]
        vips += [(FrontendKind.LOAD_BALANCER_IP, address) for address in self.load_balancer_ips]
        found = [Frontend(kind, address, self.port, proto) for kind, address in vips]
        if self.node_port:
            found.append(Frontend(FrontendKind.NODE_PORT, "", self.node_port, proto))
        return tuple(found)


class Severity(Enum):
    """How much a notice matters."""

    REFUSED = "refused"        # something that was asked for is not programmed
    SUSPICIOUS = "suspicious"  # it is programmed, and somebody should look


class Notice(Struct, frozen=True, gc=False, order=True):
    """Something an operator should know about one object: `Service shop/web`, its field, the value, and why."""

    subject: str
    field: str
    text: str
    severity: Severity = Severity.REFUSED

    def __str__(self) -> str:
        """Return `Service shop/web: spec.externalIPs[0]: text`."""
        return f"{self.subject}: {self.field}: {self.text}"


class HealthCheck(Struct, frozen=True, gc=False):
    """What a Service's healthCheckNodePort must answer: the port, and the number of local ready endpoint addresses (HLT-12)."""

    namespace: str
    name: str
    port: int
    local_endpoints: int


class Routing(Struct, frozen=True):
    """All routes of this node at one revision, with what was refused or looks wrong.

    `cluster_ips` holds, per family, every cluster IP that some Service owns (SEM-27: its other ports are rejected). `service_cidrs` holds
    the known ServiceCIDRs per family (SEM-28).
    """

    revision: int
    routes: Mapping[RouteKey, ServiceRoute]
    cluster_ips: Mapping[Family, frozenset[str]]
    service_cidrs: Mapping[Family, tuple[str, ...]]
    notices: tuple[Notice, ...]
    health_checks: tuple[HealthCheck, ...]
