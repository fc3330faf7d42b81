"""Which claimed addresses look dangerous around here.

Whoever may write a Service can draw traffic for any address to their pods (CVE-2020-8554). By default external IPs are honoured all the
same, as kube-proxy does; this module sees to it that somebody notices: an external IP that is an address of a node, of this machine, of an
endpoint, or that lies in a pod or Service range; a load-balancer IP that is an address of a node. A cluster IP that is a node's address is
refused, since a cluster IP's other ports are rejected (SEM-27), which would cut the node off. An external or load-balancer IP is refused at
port 53 where this node's own resolver answers there: it would get the queries that the cluster's DNS is to have else (NLD-42).

`Surroundings` are the addresses in use, from Nodes, ServiceCIDRs and the kernel. `Watchlist` knows which external IPs are endpoints without
an index of all endpoints: it counts only addresses that some Service names as external IP, and looks at all routes only when a new one
comes up.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace
from pointsman.kube.objects import Node, ServiceCIDR
from pointsman.routing.addresses import CidrSet, family_of, parse_address, parse_cidr
from pointsman.routing.frontends import ServiceFrontends, Wish
from pointsman.routing.node import DNS_PORT, DNS_PROTOCOLS, NodeFacts
from pointsman.routing.notices import Notes
from pointsman.routing.route import Family, FrontendKind, Notice, RouteKey, ServiceRoute
from pointsman.routing.service import FamilyFacts, ServiceFacts, Vip
from pointsman.routing.snapshot import ServiceKey, Snapshot


class Surroundings(Struct, frozen=True):
    """Addresses in use around here, canonical; ranges by family, sorted. `notices` tell of ranges that are none.

    `local_dns` are those at which this node's own resolver answers.
    """

    node_addresses: frozenset[str] = frozenset()
    local_addresses: frozenset[str] = frozenset()
    local_dns: frozenset[str] = frozenset()
    pod_ranges: tuple[str, ...] = ()
    service_cidrs: Mapping[Family, tuple[str, ...]] = {}
    notices: tuple[Notice, ...] = ()


def surroundings(snapshot: Snapshot, node: NodeFacts) -> Surroundings:
    """Gather the surroundings of a node."""
    notices: list[Notice] = []
    pods: set[str] = set()
    for name in sorted(snapshot.nodes):
        pods |= _pod_ranges(snapshot.nodes[name], notices)
    services: set[str] = set()
    for name in sorted(snapshot.service_cidrs):
        services |= _service_ranges(snapshot.service_cidrs[name], notices)
    if snapshot.nodes and node.name not in snapshot.nodes:
        notes = Notes(f"Node {node.name}")
        known = ", ".join(sorted(snapshot.nodes)[:5]) + (" ..." if len(snapshot.nodes) > 5 else "")
        notes.suspect("metadata.name", f"no Node has this name (known: {known}), so its zone is unknown; set --hostname-override")
        notices += notes.notices()
    return Surroundings(
        node_addresses=_canonical([*node.all_node_addresses, *node.node_ips.values()]),
        local_addresses=_canonical(address for addresses in node.local_addresses.values() for address in addresses),
        local_dns=_canonical(address for addresses in node.local_dns.values() for address in addresses),
        pod_ranges=tuple(sorted(pods)),
        service_cidrs={family: tuple(sorted(cidr for cidr in services if family_of(cidr) is family)) for family in Family},
        notices=tuple(notices),
    )


def refuse_node_addresses(facts: ServiceFacts, around: Surroundings, subject: str, *, every_kind: bool = False) -> ServiceFacts:
    """Return the facts without cluster IPs, or without any addresses, that are addresses of a node."""
    if all(vip.address not in around.node_addresses for family in facts.families for vip in family.vips):
        return facts
    notes = Notes(subject)
    families = tuple(_refuse(family, around, notes, every_kind=every_kind) for family in facts.families)
    return replace(facts, families=families, notices=(*facts.notices, *notes.notices()))


def refuse_local_dns(frontends: ServiceFrontends, around: Surroundings, subject: str) -> ServiceFrontends:
    """Return the frontends without external and load-balancer IPs at which this node's own resolver answers; cluster IPs stay."""
    if not around.local_dns or not any(_is_local_dns(wish, around) for port in frontends.ports for wish in port.wishes):
        return frontends
    notes = Notes(subject)
    ports = []
    for port in frontends.ports:
        for wish in port.wishes:
            if _is_local_dns(wish, around):
                what = f"{wish.claim} is answered by DNS of this node"
                notes.refuse(wish.field, f"{what}; this {wish.kind.value} is not programmed for it: name another address")
        ports.append(replace(port, wishes=tuple(wish for wish in port.wishes if not _is_local_dns(wish, around))))
    return replace(frontends, ports=tuple(ports), notices=(*frontends.notices, *notes.notices()))


class Exposure:
    """Tells what is suspicious about the external addresses of a Service, in given surroundings."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._pods = CidrSet(around.pod_ranges)
        self._services = CidrSet(cidr for cidrs in around.service_cidrs.values() for cidr in cidrs)

    def suspicions(self, facts: ServiceFacts, subject: str, watchlist: "Watchlist") -> tuple[Notice, ...]:
        """Return a notice for each suspicious external or load-balancer IP."""
        notes = Notes(subject)
        for family in facts.families:
            for vip in family.vips:
                if vip.kind is FrontendKind.EXTERNAL_IP:
                    self._examine(vip, watchlist, notes)
                elif vip.kind is FrontendKind.LOAD_BALANCER_IP and vip.address in self.around.node_addresses:
                    notes.suspect(vip.field, f"{vip.address} is an address of a node: its connections to this port go to the Service")
        return notes.notices()

    def _examine(self, vip: Vip, watchlist: "Watchlist", notes: Notes) -> None:
        pods, services = self._pods.find(vip.address), self._services.find(vip.address)
        what = ""
        if vip.address in self.around.node_addresses:
            what = "an address of a node"
        elif vip.address in self.around.local_addresses:
            what = "an address of this machine"
        elif watchlist.is_endpoint(vip.address):
            what = "the address of an endpoint"
        elif pods is not None:
            what = f"in the pod range {pods}"
        elif services is not None:
            what = f"in the Service range {services}"
        if what:
            notes.suspect(vip.field, f"{vip.address} is {what}: the Service takes over connections that are not meant for it")


class Watchlist:
    """Which external IPs are addresses of endpoints that some route reaches."""

    def __init__(self) -> None:
        self._claimants: dict[str, set[ServiceKey]] = {}
        self._reached: dict[str, int] = {}
        self._new: set[str] = set()
        self._turned: dict[str, bool] = {}  # addresses whose count changed, and whether they were endpoints before

    def put(self, service: ServiceKey, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Replace a Service's external IPs."""
        if before == after:
            return
        for address in after:
            if address not in self._claimants:
                self._claimants[address] = set()
                self._new.add(address)
            self._claimants[address].add(service)
        for address in before:
            if address in after:
                continue
            self._claimants[address].discard(service)
            if not self._claimants[address]:
                del self._claimants[address]
                self._reached.pop(address, None)
                self._turned.pop(address, None)
                self._new.discard(address)

    def rerouted(self, before: ServiceRoute | None, after: ServiceRoute | None) -> None:
        """Take note of a changed route."""
        if not self._reached:
            return
        for route, step in ((before, -1), (after, 1)):
            for backend in route.reachable if route is not None else ():
                if backend.address in self._reached:
                    self._turned.setdefault(backend.address, self.is_endpoint(backend.address))
                    self._reached[backend.address] += step

    def settle(self, routes: Mapping[RouteKey, ServiceRoute]) -> set[ServiceKey]:
        """Count new addresses in all routes; return the Services for which an older external IP became or ceased to be an endpoint."""
        turned = {address for address, before in self._turned.items() if self.is_endpoint(address) != before}
        if self._new:
            self._reached |= dict.fromkeys(self._new, 0)
            for route in routes.values():
                for backend in route.reachable:
                    if backend.address in self._new:
                        self._reached[backend.address] += 1
        self._new.clear()
        self._turned.clear()
        return {service for address in turned for service in self._claimants[address]}

    def is_endpoint(self, address: str) -> bool:
        """Return whether a watched address is an endpoint's."""
        return self._reached.get(address, 0) > 0


def _is_local_dns(wish: Wish, around: Surroundings) -> bool:
    claim = wish.claim
    if wish.kind is FrontendKind.CLUSTER_IP or claim.place not in around.local_dns:
        return False
    return claim.port == DNS_PORT and claim.protocol in DNS_PROTOCOLS


def _refuse(family: FamilyFacts, around: Surroundings, notes: Notes, *, every_kind: bool) -> FamilyFacts:
    kept = []
    for vip in family.vips:
        if (every_kind or vip.kind is FrontendKind.CLUSTER_IP) and vip.address in around.node_addresses:
            kind = vip.kind.value
            article = "an" if kind[0] == "e" else "a"
            text = f"{vip.address} is an address of a node, which {article} {kind} would cut off; the {kind} is not programmed"
            notes.refuse(vip.field, text)
        else:
            kept.append(vip)
    return FamilyFacts(family.family, tuple(kept), family.source_ranges)


def _pod_ranges(node: Node, notices: list[Notice]) -> set[str]:
    single = (node.spec.pod_cidr,) if node.spec.pod_cidr else ()
    return _ranges(f"Node {node.metadata.name}", "spec.podCIDRs", node.spec.pod_cidrs or single, notices)


def _service_ranges(value: ServiceCIDR, notices: list[Notice]) -> set[str]:
    return _ranges(f"ServiceCIDR {value.metadata.name}", "spec.cidrs", value.spec.cidrs or (), notices)


def _ranges(subject: str, field: str, texts: Iterable[str], notices: list[Notice]) -> set[str]:
    notes = Notes(subject)
    found = set()
    for index, text in enumerate(texts):
        cidr = parse_cidr(text)
        if cidr is None:
            notes.refuse(f"{field}[{index}]", f"{text!r} is not a CIDR and is not used; write it as 10.96.0.0/16")
        else:
            found.add(cidr)
    notices += notes.notices()
    return found


def _canonical(addresses: Iterable[str]) -> frozenset[str]:
    return frozenset(address for address in map(parse_address, addresses) if address is not None)
