"""The cluster's DNS Service, as this node's rules see it: where queries go while the resolver here does not answer. Pure.

The node's own DNS addresses become further frontends of its port 53 before it is offered to a mode, so that they too have somewhere to fall
back to (NLD-42). No Service has them before: `routing.exposure` takes them off whoever names them. `node` keeps one of these, and the agent
passes each change through it.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import cast

from msgspec import structs
from pointsman.iptables.local_dns import concerns
from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Family, RouteKey, Routing, ServiceRoute

_Routes = MutableMapping[RouteKey, ServiceRoute]  # ChainMap asks for one, and writes to its first map only


class Frontends:
    """Changes the routes of one Service (`namespace/name`); `addresses` are the node's own DNS addresses, by family."""

    def __init__(self, service: str, addresses: Mapping[Family, tuple[str, ...]]) -> None:
        self._namespace, _, self._name = service.partition("/")
        self._addresses = addresses
        self._keys: set[RouteKey] | None = None

    def offered(self, change: RoutingChange) -> RoutingChange:
        """Return a change as the modes are to see it."""
        self._note(change.routing.routes if self._keys is None else change.changed)
        shown = self._shown_routes(change.routing)
        if not shown:
            return change
        changed = {key: shown.get(key, route) for key, route in change.changed.items()}
        return RoutingChange(structs.replace(change.routing, routes=ChainMap(shown, cast("_Routes", change.routing.routes))), changed)

    def _note(self, keys: Iterable[RouteKey]) -> None:
        if self._keys is None:
            self._keys = set()
        self._keys.update(key for key in keys if (key.port_name.namespace, key.port_name.name) == (self._namespace, self._name))

    def _shown_routes(self, routing: Routing) -> dict[RouteKey, ServiceRoute]:
        found = ((key, routing.routes.get(key)) for key in self._keys or ())
        return {key: self._shown(route) for key, route in found if route is not None and concerns(route)}

    def _shown(self, route: ServiceRoute) -> ServiceRoute:
        """Return a route with the node's own addresses; they lead where the cluster IP does if it had no other external frontend."""
        own = tuple(address for address in self._addresses.get(route.family, ()) if address != route.cluster_ip)
        if not route.cluster_ip:
            return route
        return structs.replace(route, external_ips=(*route.external_ips, *own), cluster=route.cluster or route.local)
