"""What is wanted in the kernel, kept up to date with routing.

Offers only note what must be compiled anew, so they are cheap and coalesce: a route that changed ten times since the last run is compiled
once. The work of one change is the work of that route alone. The static part is compiled anew only if what it may depend on has changed;
the routes all together only if facts of this node have changed that a compiler can see. Compiling is lazy (`compiled` is an iterator), so
the loop may pause between any two routes, and all of it enters the desired state in one step (`enter`), but for routes that contradict
others.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic

from msgspec import Struct, structs
from pointsman.dataplane.contract import Compiler, Fragment, K, Mark, V
from pointsman.dataplane.fragment import Desired, OwnersDisagreeError
from pointsman.dataplane.plan import STATIC
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, HealthCheck, RouteKey, Routing, ServiceRoute


class _Ground(Struct, frozen=True):
    """Everything that a static part may depend on, for one family."""

    node: NodeFacts
    service_cidrs: tuple[str, ...]
    cluster_ips: frozenset[str]
    health_checks: tuple[HealthCheck, ...]


class Wanted(Generic[K, V]):
    """The desired state of one family, and what of it must be compiled anew."""

    def __init__(self, family: Family, compiler: Compiler[K, V]) -> None:
        self.desired: Desired[K, V] = Desired()
        self._family = family
        self._compiler = compiler
        self._dirty: dict[RouteKey, ServiceRoute | None] = {}
        self._ground: _Ground | None = None
        self._routing: Routing | None = None
        self._stale = False
        self._refused: dict[Hashable, tuple[Fragment[K, V], OwnersDisagreeError]] = {}

    @property
    def refused(self) -> Mapping[Hashable, OwnersDisagreeError]:
        """Return the owners that are left out because they disagree with others, each with what it is about."""
        return {owner: error for owner, (_, error) in self._refused.items()}

    @property
    def offered(self) -> bool:
        """Return whether there has been an offer."""
        return self._routing is not None

    def offer(self, change: RoutingChange, node: NodeFacts) -> None:
        """Note a change of routing or of the node. The first offer counts as a change of every route."""
        facts, routing = visible(node, self._family), change.routing
        ground = _Ground(
            facts,
            routing.service_cidrs.get(self._family, ()),
            routing.cluster_ips.get(self._family, frozenset()),
            routing.health_checks,
        )
        if self._ground is None or facts != self._ground.node:
            self._dirty.update((key, route) for key, route in routing.routes.items() if key.family is self._family)
        self._dirty.update((key, route) for key, route in change.changed.items() if key.family is self._family)
        self._stale = self._stale or ground != self._ground
        self._ground = ground
        self._routing = routing

    def compiled(self) -> Iterator[tuple[Hashable, Fragment[K, V] | None]]:
        """Return an iterator that compiles what must be; offers that come meanwhile wait for the next call.

        Iterate it to its end and give everything to `enter`: it is compiled only once.
        """
        dirty, ground, routing, stale = self._dirty, self._ground, self._routing, self._stale
        self._dirty, self._stale = {}, False
        if ground is not None and routing is not None:
            return self._fragments(dirty, ground.node, routing if stale else None)
        return iter(())

    def enter(self, fragments: Mapping[Hashable, Fragment[K, V] | None]) -> Mapping[K, V | Mark]:
        """Take compiled fragments into the desired state in one step; return the changed keys as `Desired.update` does.

        A route that wants an object of the kernel otherwise than another owner is left out and tried again with the next step: it may
        never stop the others. The static part is nobody's rival, so a disagreement about it is raised.
        """
        batch: dict[Hashable, Fragment[K, V] | None] = dict(fragments)
        for owner, (fragment, _) in self._refused.items():
            batch.setdefault(owner, fragment)
        self._refused = {}
        while True:
            try:
                return self.desired.update(batch)
            except OwnersDisagreeError as error:
                loser = error.second[0]
                refused = batch[loser]
                if loser == STATIC or not refused:
                    raise
                self._refused[loser] = (refused, error)
                batch[loser] = None

    def _fragments(
        self, dirty: Mapping[RouteKey, ServiceRoute | None], node: NodeFacts, static: Routing | None
    ) -> Iterator[tuple[Hashable, Fragment[K, V] | None]]:
        if static is not None:
            yield STATIC, self._compiler.static(node, static)
        for key, route in dirty.items():
            yield key, None if route is None else self._compiler.compile(route, node)


def visible(node: NodeFacts, family: Family) -> NodeFacts:
    """Return the facts that a compiler of one family may depend on: those of the other family, and of other nodes, are left out."""
    return structs.replace(
        node,
        node_ips={key: value for key, value in node.node_ips.items() if key is family},
        local_addresses={key: value for key, value in node.local_addresses.items() if key is family},
        detectors={key: value for key, value in node.detectors.items() if key is family},
        node_ports={key: value for key, value in node.node_ports.items() if key is family},
        all_node_addresses=frozenset(),
        local_dns={key: value for key, value in node.local_dns.items() if key is family},
    )
