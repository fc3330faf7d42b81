"""Service → facts about it: per family its addresses, and its ports, policies and affinity (IN-10 to IN-22).

A field that cannot be used loses itself only, with a Notice that names field, value and what to do; an unusable port does not take the
other ports with it. Nothing here depends on other Services, endpoints or this node: who owns a contested address is decided by `conflicts`,
what looks dangerous around here by `exposure`. `frontends` takes the facts next.

Facts are made anew whenever a Service is routed; keeping them for 10,000 Services would cost more than making them.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from pointsman.kube.objects import Service, ServicePort, ServiceSpec
from pointsman.routing.addresses import CidrSet, family_of, parse_address, parse_cidr, special
from pointsman.routing.endpoint import MAX_PORT, PROTOCOLS
from pointsman.routing.node import ExternalIPPolicy
from pointsman.routing.notices import Notes
from pointsman.routing.removal import reset_after
from pointsman.routing.route import Family, FrontendKind, Notice, Protocol, ServicePortName
from pointsman.routing.weights import Choice, Weights, scheduler, weights

DEFAULT_AFFINITY_SECONDS = 10800
MAX_AFFINITY_SECONDS = 86400

_TYPES = frozenset({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"})
_POLICIES = frozenset({"Cluster", "Local"})
_FAMILIES = {family.value: family for family in Family}
_UNFIT: Final = frozenset({"unspecified", "loopback", "multicast", "broadcast"})


class Vip(Struct, frozen=True, gc=False):
    """An address at which the Service wants to be reached, normalised, and the field that says so."""

    kind: FrontendKind
    address: str
    field: str


class FamilyFacts(Struct, frozen=True, gc=False):
    """What a Service wants in one family. Cluster IP first, then load-balancer IPs, then external IPs.

    `source_ranges` is empty if everybody may reach the load-balancer IPs, also where a range says so (a zero CIDR).
    """

    family: Family
    vips: tuple[Vip, ...] = ()
    source_ranges: tuple[str, ...] = ()

    def addresses(self, kind: FrontendKind) -> tuple[str, ...]:
        """Return the addresses of one kind."""
        return tuple([vip.address for vip in self.vips if vip.kind is kind])


class PortFacts(Struct, frozen=True, gc=False):
    """One usable entry of spec.ports: its key, port, node port (0 = none) and place in the list."""

    port_name: ServicePortName
    port: int
    node_port: int
    index: int


class ServiceFacts(Struct, frozen=True, gc=False):
    """What a Service wants. `families` are those in which it is routed (IN-11), in the order of the spec."""

    families: tuple[FamilyFacts, ...]
    ports: tuple[PortFacts, ...]
    internal_local: bool
    external_local: bool
    affinity_seconds: int
    health_check_port: int
    scheduler: Choice
    weights: Weights
    notices: tuple[Notice, ...]
    reset_after: float | None


def is_routed(service: Service) -> bool:
    """Return whether a Service is this program's: not another proxy's (IN-01), not headless, no ExternalName (IN-10)."""
    labels, spec = service.metadata.labels, service.spec
    if labels is not None and labels.service_proxy_name is not None:
        return False
    return spec.cluster_ip != "None" and spec.type != "ExternalName"


def service_facts(service: Service, policy: ExternalIPPolicy) -> ServiceFacts:
    """Judge a Service that is routed."""
    spec = service.spec
    notes = Notes(f"Service {service.metadata.namespace}/{service.metadata.name}")
    if spec.type is not None and spec.type not in _TYPES:
        notes.refuse("spec.type", f"{spec.type!r} is not known and is treated as ClusterIP; use ClusterIP, NodePort or LoadBalancer")
    cluster_ips = _cluster_ips(spec, notes)
    others = [*_load_balancer_ips(service, notes), *_external_ips(spec, policy, notes)]
    ranges = _source_ranges(spec, notes)
    _warn_of_dropped_ranges(spec, ranges, cluster_ips, notes)
    families = []
    for family, cluster in cluster_ips.items():
        vips = [cluster] if cluster is not None else []
        vips += [vip for vip in others if family_of(vip.address) is family]
        zero = any(cidr.endswith("/0") for cidr in ranges[family])
        families.append(FamilyFacts(family, tuple(vips), () if zero else ranges[family]))
    external_local = _is_local(spec.external_traffic_policy, "spec.externalTrafficPolicy", notes) and (
        spec.type in {"LoadBalancer", "NodePort"} or bool(spec.external_ips)
    )
    return ServiceFacts(
        families=tuple(families),
        ports=_ports(service, notes),
        internal_local=_is_local(spec.internal_traffic_policy, "spec.internalTrafficPolicy", notes),
        external_local=external_local,
        affinity_seconds=_affinity(spec, notes),
        health_check_port=_health_check_port(spec, notes) if external_local and spec.type == "LoadBalancer" else 0,
        scheduler=scheduler(service, notes),
        weights=weights(service, notes),
        reset_after=reset_after(service, notes),
        notices=notes.notices(),
    )


# --- addresses -------------------------------------------------------------------------------------------------------


def _cluster_ips(spec: ServiceSpec, notes: Notes) -> dict[Family, Vip | None]:
    """Return the cluster IP per family in which the Service is routed; None where its family is known, but not a usable address."""
    if not spec.cluster_ip:
        notes.refuse("spec.clusterIP", "is empty, so nothing is routed; give the Service a cluster IP, or None if it is headless")
        return {}
    if not spec.ip_families:
        if spec.cluster_ips and len(spec.cluster_ips) > 1:
            notes.refuse("spec.clusterIPs[1]", f"{spec.cluster_ips[1]} is not used because spec.ipFamilies is empty; name both families")
        vip = _vip(FrontendKind.CLUSTER_IP, spec.cluster_ip, "spec.clusterIP", notes)
        # Of an unusable address the family is still evident, and node ports need nothing else.
        return {family_of(parse_address(spec.cluster_ip) or spec.cluster_ip): vip}
    addresses = spec.cluster_ips or (spec.cluster_ip,)
    if addresses[0] != spec.cluster_ip:
        notes.suspect("spec.clusterIP", f"{spec.cluster_ip} is not spec.clusterIPs[0], {addresses[0]}, which is used; make them equal")
    found: dict[Family, Vip | None] = {}
    for index, name in enumerate(spec.ip_families):
        family = _FAMILIES.get(name)
        if family is None:
            notes.refuse(f"spec.ipFamilies[{index}]", f"{name!r} is not known; use IPv4 or IPv6")
        elif family in found:
            notes.refuse(f"spec.ipFamilies[{index}]", f"{name} is named twice; the second is not used")
        elif index >= len(addresses) or not addresses[index]:
            notes.refuse(f"spec.ipFamilies[{index}]", f"{name} has no address at spec.clusterIPs[{index}], so nothing is routed in {name}")
        else:
            found[family] = _cluster_ip(addresses[index], f"spec.clusterIPs[{index}]", family, notes)
    for index in range(len(spec.ip_families), len(addresses)):
        notes.refuse(f"spec.clusterIPs[{index}]", f"{addresses[index]} is not used because spec.ipFamilies[{index}] is missing")
    return found


def _cluster_ip(text: str, field: str, family: Family, notes: Notes) -> Vip | None:
    vip = _vip(FrontendKind.CLUSTER_IP, text, field, notes)
    if vip is not None and family_of(vip.address) is not family:
        notes.refuse(field, f"{text} is not an {family.value} address as spec.ipFamilies says; the cluster IP is not programmed")
        return None
    return vip


def _vip(kind: FrontendKind, text: str, field: str, notes: Notes) -> Vip | None:
    """Return a frontend address, None (and a notice) if it cannot be one."""
    address = parse_address(text)
    if address is None:
        notes.refuse(field, f"{text!r} is not an IP address; the {kind.value} is not programmed")
        return None
    why = special(address)
    if why in _UNFIT:
        notes.refuse(field, f"{text} is a {why} address; the {kind.value} is not programmed")
        return None
    if why:
        notes.suspect(field, f"{text} is a {why} address, which belongs to one link and not to a Service")
    return Vip(kind, address, field)


def _load_balancer_ips(service: Service, notes: Notes) -> list[Vip]:
    """Return the load-balancer IPs of both families (IN-16)."""
    status = service.status
    entries = status.load_balancer.ingress if status is not None and status.load_balancer is not None else None
    found: dict[str, Vip] = {}
    for index, entry in enumerate(entries or ()):
        field = f"status.loadBalancer.ingress[{index}]"
        if not entry.ip or entry.ip_mode == "Proxy":
            continue
        if entry.ip_mode not in {None, "VIP"}:
            notes.suspect(f"{field}.ipMode", f"{entry.ip_mode!r} is not known and is treated as VIP; use VIP or Proxy")
        vip = _vip(FrontendKind.LOAD_BALANCER_IP, entry.ip, f"{field}.ip", notes)
        if vip is not None:
            found.setdefault(vip.address, vip)
    return list(found.values())


def _external_ips(spec: ServiceSpec, policy: ExternalIPPolicy, notes: Notes) -> list[Vip]:
    """Return the external IPs of both families that the policy admits (IN-15)."""
    if not spec.external_ips:
        return []
    allowed = CidrSet(policy.allowed_ranges)
    found: dict[str, Vip] = {}
    for index, text in enumerate(spec.external_ips):
        field = f"spec.externalIPs[{index}]"
        vip = _vip(FrontendKind.EXTERNAL_IP, text, field, notes)
        if vip is None:
            continue
        if policy.deny:
            notes.refuse(field, f"{text} is not programmed: this node is configured to deny external IPs")
        elif policy.allowed_ranges and allowed.find(vip.address) is None:
            ranges = ", ".join(policy.allowed_ranges)
            notes.refuse(field, f"{text} is not programmed: it is in none of the ranges allowed on this node ({ranges})")
        else:
            found.setdefault(vip.address, vip)
    return list(found.values())


def _source_ranges(spec: ServiceSpec, notes: Notes) -> Mapping[Family, tuple[str, ...]]:
    """Return the usable source ranges per family (IN-17)."""
    found: dict[Family, dict[str, None]] = {family: {} for family in Family}
    for index, text in enumerate(spec.load_balancer_source_ranges or ()):
        cidr = parse_cidr(text.strip())
        if cidr is None:
            notes.refuse(f"spec.loadBalancerSourceRanges[{index}]", f"{text!r} is not a CIDR and is not used; write it as 192.0.2.0/24")
        else:
            found[family_of(cidr)][cidr] = None
    return {family: tuple(cidrs) for family, cidrs in found.items()}


def _warn_of_dropped_ranges(
    spec: ServiceSpec, ranges: Mapping[Family, tuple[str, ...]], families: Mapping[Family, Vip | None], notes: Notes
) -> None:
    """Tell when ranges were given, but a family is left without any and is therefore open (IN-17)."""
    if spec.load_balancer_source_ranges and spec.type == "LoadBalancer":
        for family in families:
            if not ranges[family]:
                notes.suspect(
                    "spec.loadBalancerSourceRanges",
                    f"holds no {family.value} range, so everybody may reach the {family.value} load-balancer IPs; add one to restrict them",
                )


# --- ports -----------------------------------------------------------------------------------------------------------


def _ports(service: Service, notes: Notes) -> tuple[PortFacts, ...]:
    """Return the usable ports (IN-12); of two with the same name and protocol the first."""
    meta = service.metadata
    found: dict[ServicePortName, PortFacts] = {}
    for index, port in enumerate(service.spec.ports or ()):
        field = f"spec.ports[{index}]"
        protocol = Protocol.TCP if port.protocol is None else PROTOCOLS.get(port.protocol)
        if protocol is None:
            notes.refuse(f"{field}.protocol", f"{port.protocol!r} is not known, so the port is not routed; use TCP, UDP or SCTP")
        elif not 0 < port.port <= MAX_PORT:
            notes.refuse(f"{field}.port", f"{port.port} is not a port (1 to {MAX_PORT}), so it is not routed")
        else:
            name = ServicePortName(meta.namespace, meta.name, port.name or "", protocol)
            if name in found:
                other = f"spec.ports[{found[name].index}]"
                notes.refuse(f"{field}.name", f"{port.name or ''!r} is also the name of {other}, so this port is not routed; rename one")
            else:
                found[name] = PortFacts(name, port.port, _node_port(port, field, notes), index)
    if not found and not service.spec.ports:
        notes.refuse("spec.ports", "is empty, so nothing is routed")
    return tuple(found.values())


def _node_port(port: ServicePort, field: str, notes: Notes) -> int:
    if not port.node_port:
        return 0
    if 0 < port.node_port <= MAX_PORT:
        return port.node_port
    notes.refuse(f"{field}.nodePort", f"{port.node_port} is not a port (1 to {MAX_PORT}); the node port is not programmed")
    return 0


# --- policies --------------------------------------------------------------------------------------------------------


def _is_local(policy: str | None, field: str, notes: Notes) -> bool:
    if policy and policy not in _POLICIES:
        notes.refuse(field, f"{policy!r} is not known and is treated as Cluster; use Cluster or Local")
    return policy == "Local"


def _affinity(spec: ServiceSpec, notes: Notes) -> int:
    """Return the affinity timeout in seconds, 0 without session affinity (IN-21)."""
    if spec.session_affinity != "ClientIP":
        if spec.session_affinity not in {None, "", "None"}:
            notes.refuse("spec.sessionAffinity", f"{spec.session_affinity!r} is not known and is treated as None; use ClientIP or None")
        return 0
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config is not None and config.client_ip is not None else None
    if seconds is None:
        return DEFAULT_AFFINITY_SECONDS
    if 0 < seconds <= MAX_AFFINITY_SECONDS:
        return seconds
    notes.refuse(
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        f"{seconds} is not within 1 and {MAX_AFFINITY_SECONDS}; the default, {DEFAULT_AFFINITY_SECONDS}, is used",
    )
    return DEFAULT_AFFINITY_SECONDS


def _health_check_port(spec: ServiceSpec, notes: Notes) -> int:
    """Return the health-check node port, 0 if there is no usable one (IN-20)."""
    port = spec.health_check_node_port or 0
    if 0 < port <= MAX_PORT:
        return port
    what = f"{port} is not a port (1 to {MAX_PORT})" if port else "is 0 although externalTrafficPolicy is Local"
    notes.refuse("spec.healthCheckNodePort", f"{what}; load balancers cannot ask which nodes have endpoints")
    return 0
