"""Snapshot → Routing, all of it or only what changed: the same code, and the same result.

`Builder` remembers of every Service only what is needed to take it back: its routes' keys, its claims, its notices. An update makes the
facts of the dirty Services anew, settles who owns contested frontends, and routes the dirty Services and those that a settlement affects.
A route that equals the last one is not a change (IN-41), so the result depends on the state alone, never on the path to it: any sequence of
updates gives what `build` makes from scratch.

What an update costs: the dirty Services, one shallow copy of the map of routes, and where the facts of this node changed what depends on
them: name, zone and node IPs touch every route; addresses touch the Services that name them. `dataplane` takes the changes, the oracle and
people take the Routing.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace
from pointsman.kube.objects import Kind
from pointsman.routing import endpoint
from pointsman.routing.addresses import CidrSet, parse_cidr
from pointsman.routing.conflicts import Claims, note_crossing, note_loss
from pointsman.routing.endpoint import PortEndpoint, ServiceEndpoints, service_endpoints, unknown_types
from pointsman.routing.exposure import Exposure, Surroundings, Watchlist, refuse_local_dns, refuse_node_addresses, surroundings
from pointsman.routing.frontends import PortFrontends, ServiceFrontends, Wish, service_frontends
from pointsman.routing.ledger import Ledger, Tally
from pointsman.routing.node import ExternalIPPolicy, NodeFacts
from pointsman.routing.notices import Notes
from pointsman.routing.route import Family, FrontendKind, HealthCheck, Notice, RouteKey, Routing, ServiceRoute
from pointsman.routing.selection import select
from pointsman.routing.service import ServiceFacts, is_routed, service_facts
from pointsman.routing.snapshot import Dirty, ServiceKey, Snapshot, import_of
from pointsman.routing.weights import EVEN, NO_CHOICE

_NO_FACTS = ServiceFacts((), (), False, False, 0, 0, NO_CHOICE, EVEN, (), None)
_EVERYTHING = Dirty(kinds=frozenset(Kind))


class RoutingChange(Struct, frozen=True):
    """The Routing after an update, and the routes that differ from before it; None is a route that is gone."""

    routing: Routing
    changed: Mapping[RouteKey, ServiceRoute | None]


def build(snapshot: Snapshot, node: NodeFacts, policy: ExternalIPPolicy = ExternalIPPolicy()) -> Routing:  # noqa: B008 a frozen value
    """Return the routing of a snapshot, from scratch."""
    return Builder(policy).update(snapshot, _EVERYTHING, node).routing


class Builder:
    """Keeps the Routing of one node in step with its snapshot."""

    def __init__(self, policy: ExternalIPPolicy = ExternalIPPolicy()) -> None:  # noqa: B008 a frozen value
        """Honour external IPs by `policy`; ValueError if one of its ranges is no CIDR."""
        self._policy = _canonical(policy)
        self._node: NodeFacts | None = None
        self._exposure = Exposure(Surroundings())
        self._routing = Routing(0, {}, {family: frozenset() for family in Family}, dict.fromkeys(Family, ()), (), ())
        self._services: dict[ServiceKey, _Remembered] = {}
        self._claims = Claims()
        self._watchlist = Watchlist()
        self._cluster_ips = Tally()
        self._notices: Ledger[Notice] = Ledger(lambda notice: (notice.subject, notice.field, notice.text, notice.severity.value))
        self._health_checks: Ledger[HealthCheck] = Ledger(lambda check: (check.namespace, check.name, check.port))

    def update(self, snapshot: Snapshot, dirty: Dirty, node: NodeFacts) -> RoutingChange:
        """Route what is dirty, and what depends on facts of this node that changed; the first update routes everything."""
        keys = self._keys(snapshot, dirty, node)
        plans = {key: self._plan(snapshot, key) for key in keys}
        affected = self._claims.settle(snapshot.services) | self._claims.cross(self._exposure.around.local_addresses)
        for key in affected - plans.keys():
            plans[key] = self._plan(snapshot, key)
        exposed = {key: plan.facts for key, plan in plans.items() if plan.names_external_addresses}
        unexposed = plans.keys() - exposed.keys()
        changed: dict[RouteKey, ServiceRoute | None] = {}
        while plans:  # a plan is forgotten once it is routed, so that the first build needs no room for all at once
            key, plan = plans.popitem()
            self._route(snapshot, key, plan, node, changed)
        routes = self._apply(changed)
        self._watch(snapshot, routes, exposed, unexposed)
        for address in self._cluster_ips.take_shared():
            self._notices.put(("shared", address), self._sharing(address))
        self._routing = Routing(
            revision=snapshot.revision,
            routes=routes,
            cluster_ips=self._cluster_ips.value(),
            service_cidrs=self._exposure.around.service_cidrs,
            notices=self._notices.value(),
            health_checks=self._health_checks.value(),
        )
        return RoutingChange(self._routing, changed)

    def _keys(self, snapshot: Snapshot, dirty: Dirty, node: NodeFacts) -> set[ServiceKey]:
        """Return the Services to route, and take the new facts of this node."""
        before, self._node = self._node, node
        keys = set(dirty.services)
        if before is None or (before.name, before.zone, before.node_ips) != (node.name, node.zone, node.node_ips):
            keys |= snapshot.services.keys() | self._services.keys() | {key for key in snapshot.slices if not key.name}
        if before is not None and before == node and not dirty.kinds & {Kind.NODE, Kind.SERVICE_CIDR}:
            return keys
        around, former = surroundings(snapshot, node), self._exposure.around
        if around == former:
            return keys
        self._exposure = Exposure(around)
        self._notices.put("surroundings", around.notices)
        turned = around.node_addresses ^ former.node_addresses
        for key, remembered in self._services.items():
            if remembered.external_addresses or not turned.isdisjoint(remembered.cluster_addresses):
                keys.add(key)
        return keys

    def _plan(self, snapshot: Snapshot, key: ServiceKey) -> "_Plan":
        """Return what a Service asks for, and stake its claims."""
        service = snapshot.services.get(key)
        if service is None or not is_routed(service):
            self._claims.put(key, ())
            return _NO_PLAN
        subject = f"Service {key}"
        wanted = service_facts(service, self._policy)
        strict = self._policy.refuse_node_addresses
        facts = refuse_node_addresses(wanted, self._exposure.around, subject, every_kind=strict)
        frontends = refuse_local_dns(service_frontends(facts, subject), self._exposure.around, subject)
        self._claims.put(key, frontends.claims())
        return _Plan(facts, frontends, _every_address(wanted) if strict else _cluster_addresses(wanted))

    def _route(
        self, snapshot: Snapshot, key: ServiceKey, plan: "_Plan", node: NodeFacts, changed: dict[RouteKey, ServiceRoute | None]
    ) -> None:
        """Route one Service: add to `changed` what differs from its routes so far, and remember it."""
        notes = Notes(f"Service {key}")
        slices = snapshot.slices.get(key, {})
        weights = plan.facts.weights
        endpoints = {family.family: service_endpoints(slices, family.family, node.name, weights) for family in plan.facts.families}
        routes = []
        for port in plan.frontends.ports:
            kept = self._owned(key, port.wishes, notes)
            route = _service_route(plan.facts, port, kept, endpoints[port.family.family], node)
            taken = self._taken(key, kept, notes)
            routes.append(replace(route, node_port_taken=taken) if taken else route)
        check = plan.frontends.health_check
        if check is not None and self._owned(key, (check,), notes):
            counted = HealthCheck(key.namespace, key.name, check.claim.port, _local_endpoints(plan.facts, endpoints))
            self._health_checks.put(key, (counted,))
        else:
            self._health_checks.put(key, ())
        told = [notice for found in endpoints.values() for notice in found.notices]
        told += unknown_types(slices)
        orphans = _orphans(snapshot, key) if not key.name else ()
        self._notices.put(key, (*plan.facts.notices, *plan.frontends.notices, *told, *orphans, *notes.notices()))
        self._remember(key, plan, routes, changed)

    def _owned(self, key: ServiceKey, wishes: tuple[Wish, ...], notes: Notes) -> list[Wish]:
        """Return the wishes that no other Service owns."""
        kept = []
        for wish in wishes:
            owner = self._claims.owner(wish.claim)
            if owner == key or owner is None:
                kept.append(wish)
            else:
                note_loss(wish, owner, notes)
        return kept

    def _taken(self, key: ServiceKey, kept: list[Wish], notes: Notes) -> tuple[str, ...]:
        """Return the local addresses at which the node port is a frontend by itself, and tell of those that are another Service's."""
        for wish in kept:
            if wish.kind is FrontendKind.NODE_PORT:
                taken = self._claims.crossings(wish.claim)
                for place in taken:
                    owner = self._claims.owner(replace(wish.claim, place=place))
                    if owner is not None and owner != key:
                        note_crossing(wish, place, owner, notes)
                return taken
        return ()

    def _remember(self, key: ServiceKey, plan: "_Plan", routes: list[ServiceRoute], changed: dict[RouteKey, ServiceRoute | None]) -> None:
        """Note what differs from the Service's routes so far, and what must be taken back when it changes again."""
        before = self._services.get(key, _NOTHING)
        route_keys = tuple([route.key for route in routes])
        changed.update((route_key, None) for route_key in before.routes if route_key not in route_keys)
        known = self._routing.routes
        changed.update((route_key, route) for route_key, route in zip(route_keys, routes, strict=True) if known.get(route_key) != route)
        after = plan.remembered(route_keys)
        self._cluster_ips.replace(before.cluster_ips, after.cluster_ips)
        self._watchlist.put(key, before.external_ips, after.external_ips)
        if after == _NOTHING:
            self._services.pop(key, None)
        elif after != before:
            self._services[key] = after

    def _apply(self, changed: Mapping[RouteKey, ServiceRoute | None]) -> Mapping[RouteKey, ServiceRoute]:
        """Return the map of routes with the changes in it."""
        if not changed:
            return self._routing.routes
        routes = dict(self._routing.routes)
        for key, route in changed.items():
            self._watchlist.rerouted(routes.get(key), route)
            if route is None:
                del routes[key]
            else:
                routes[key] = route
        return routes

    def _watch(
        self,
        snapshot: Snapshot,
        routes: Mapping[RouteKey, ServiceRoute],
        exposed: dict[ServiceKey, ServiceFacts],
        unexposed: set[ServiceKey],
    ) -> None:
        """Tell what is suspicious about external addresses, now that all routes are known."""
        for key in self._watchlist.settle(routes) - exposed.keys():
            exposed[key] = service_facts(snapshot.services[key], self._policy)
        for key, facts in exposed.items():
            self._notices.put(("exposure", key), self._exposure.suspicions(facts, f"Service {key}", self._watchlist))
        for key in unexposed:
            self._notices.put(("exposure", key), ())


    def _sharing(self, address: str) -> list[Notice]:
        """Tell of Services that name one cluster IP: they are routed as far as their ports differ, but no API server allots it twice."""
        users = sorted(key for key, remembered in self._services.items() if address in remembered.cluster_ips)
        notices: list[Notice] = []
        for key in users if len(users) > 1 else ():
            notes = Notes(f"Service {key}")
            other = users[0] if key != users[0] else users[1]
            more = f" and {len(users) - 2} more" if len(users) > 2 else ""
            text = f"{address} is the cluster IP of Service {other}{more} too; give each Service an address of its own"
            notes.suspect("spec.clusterIP", text)
            notices += notes.notices()
        return notices


class _Remembered(Struct, frozen=True, gc=False):
    """What must be known of a Service to take it back."""

    routes: tuple[RouteKey, ...] = ()
    cluster_ips: tuple[str, ...] = ()
    cluster_addresses: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    external_addresses: bool = False


_NOTHING = _Remembered()


class _Plan(Struct, frozen=True, gc=False):
    """What a Service asks for. `cluster_addresses` are its addresses that may not be a node's, also those that were refused as one."""

    facts: ServiceFacts
    frontends: ServiceFrontends
    cluster_addresses: tuple[str, ...] = ()

    @property
    def names_external_addresses(self) -> bool:
        """Return whether the Service has external or load-balancer IPs."""
        last = [family.vips[-1].kind for family in self.facts.families if family.vips]  # cluster IPs come first
        return last.count(FrontendKind.CLUSTER_IP) < len(last)

    def remembered(self, routes: tuple[RouteKey, ...]) -> _Remembered:
        """Return what to remember of the Service once it has these routes."""
        cluster_ips = _cluster_addresses(self.facts)
        external_ips = [address for family in self.facts.families for address in family.addresses(FrontendKind.EXTERNAL_IP)]
        same = cluster_ips == self.cluster_addresses
        return _Remembered(
            routes, cluster_ips, cluster_ips if same else self.cluster_addresses, tuple(external_ips), self.names_external_addresses
        )


_NO_PLAN = _Plan(_NO_FACTS, ServiceFrontends(()))


def _cluster_addresses(facts: ServiceFacts) -> tuple[str, ...]:
    return tuple([address for family in facts.families for address in family.addresses(FrontendKind.CLUSTER_IP)])


def _every_address(facts: ServiceFacts) -> tuple[str, ...]:
    return tuple([vip.address for family in facts.families for vip in family.vips])


def _service_route(
    facts: ServiceFacts, frontends: PortFrontends, kept: list[Wish], endpoints: ServiceEndpoints, node: NodeFacts
) -> ServiceRoute:
    """Return the route of one Service port in one family, with the frontends that it may have."""
    family, name = frontends.family, frontends.port.port_name
    by_kind: dict[FrontendKind, tuple[str, ...]] = {}
    node_port = 0
    for wish in kept:
        if wish.kind is FrontendKind.NODE_PORT:
            node_port = wish.claim.port
        else:
            by_kind[wish.kind] = (*by_kind.get(wish.kind, ()), wish.claim.place)
    external_ips, balancer_ips = by_kind.get(FrontendKind.EXTERNAL_IP, ()), by_kind.get(FrontendKind.LOAD_BALANCER_IP, ())
    accessible = bool(node_port or external_ips or balancer_ips)
    selection = select(
        endpoints.of(name.port, name.protocol),
        uses_cluster=accessible or not facts.internal_local,
        uses_local=facts.internal_local or (accessible and facts.external_local),
        node=node.name,
        zone=node.zone,
    )
    return ServiceRoute(
        port_name=name,
        family=family.family,
        cluster_ip=by_kind.get(FrontendKind.CLUSTER_IP, ("",))[0],
        port=frontends.port.port,
        node_port=node_port,
        external_ips=external_ips,
        load_balancer_ips=balancer_ips,
        source_ranges=family.source_ranges,
        vip_is_source=bool(balancer_ips) and _holds_node(family.source_ranges, node.node_ips.get(family.family, "")),
        internal_local=facts.internal_local,
        external_local=facts.external_local,
        affinity_seconds=facts.affinity_seconds,
        scheduler=facts.scheduler.scheduler,
        scheduler_flags=facts.scheduler.flags,
        cluster=selection.cluster,
        local=selection.local,
        reachable=selection.reachable,
        any_endpoint=selection.any_endpoint,
        topology=selection.topology,
        lingering=selection.lingering,
        reset_after=facts.reset_after,
    )


def _holds_node(ranges: tuple[str, ...], node_ip: str) -> bool:
    """Return whether a source range holds this node's IP (SEM-32)."""
    return bool(ranges and node_ip) and CidrSet(ranges).find(node_ip) is not None


def _local_endpoints(facts: ServiceFacts, endpoints: Mapping[Family, ServiceEndpoints]) -> int:
    """Return how many addresses are local and ready, over all ports (SEL-15, HLT-12).

    Counted in the Service's first family: a Pod with an address in each is one endpoint to a load balancer, not two.
    """
    found: set[str] = set()
    for port in facts.ports:
        candidates: list[PortEndpoint] = list(endpoints[facts.families[0].family].of(port.port_name.port, port.port_name.protocol))
        found.update(one.backend.address for one in candidates if one.ready and one.backend.local)
    return len(found)


def _orphans(snapshot: Snapshot, key: ServiceKey) -> list[Notice]:
    """Tell of slices that name no owner (IN-31)."""
    notices: list[Notice] = []
    for name, value in snapshot.slices.get(key, {}).items():
        if not endpoint.is_routed(value) or import_of(value) is not None:
            continue
        notes = Notes(f"EndpointSlice {key.namespace}/{name}")
        notes.refuse("metadata.labels", "there is no label kubernetes.io/service-name, so its endpoints belong to no Service; add it")
        notices += notes.notices()
    return notices


def _canonical(policy: ExternalIPPolicy) -> ExternalIPPolicy:
    ranges = []
    for text in policy.allowed_ranges:
        cidr = parse_cidr(text)
        if cidr is None:
            raise ValueError(f"external IP range {text!r} is not a CIDR; write it as 192.0.2.0/24")
        ranges.append(cidr)
    return ExternalIPPolicy(policy.deny, tuple(ranges), policy.refuse_node_addresses)
