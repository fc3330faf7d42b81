"""The cluster's DNS Service, as this node's rules see it: where queries go while the resolver here does not answer. Pure.

Of the routes of the DNS Service at port 53 two things are changed before they are offered to a mode. The node's own DNS addresses become
further frontends, so that they too have somewhere to fall back to (NLD-42). And where a mode takes packets before the rules that lead them
to the resolver could (ipvs: by virtual servers at an address that is local), these frontends are withheld while the resolver answers; they
come back when it does not.

`node` keeps one of these; the agent passes each change through `offered`, and offers `again` what the resolver's state changes.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import cast

from msgspec import structs
from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Family, Protocol, RouteKey, Routing, ServiceRoute

PORT = 53
_Routes = MutableMapping[RouteKey, ServiceRoute]  # ChainMap asks for one, and writes to its first map only
_PROTOCOLS = frozenset({Protocol.UDP, Protocol.TCP})


class Frontends:
    """Changes the routes of one Service (`namespace/name`); `addresses` are the node's own DNS addresses, by family."""

    def __init__(self, service: str, addresses: Mapping[Family, tuple[str, ...]], *, withholds: bool) -> None:
        self.serving = False
        self._namespace, _, self._name = service.partition("/")
        self._addresses = addresses
        self._withholds = withholds
        self._keys: set[RouteKey] | None = None

    def offered(self, change: RoutingChange) -> RoutingChange:
        """Return a change as the modes are to see it."""
        self._note(change.routing.routes if self._keys is None else change.changed)
        shown = self._shown_routes(change.routing)
        if not shown:
            return change
        changed = {key: shown.get(key, route) for key, route in change.changed.items()}
        return RoutingChange(structs.replace(change.routing, routes=ChainMap(shown, cast("_Routes", change.routing.routes))), changed)

    def again(self, routing: Routing) -> RoutingChange | None:
        """Return what the resolver's state changes for the modes; None if nothing."""
        shown = self._shown_routes(routing) if self._withholds else {}
        if not shown:
            return None
        return RoutingChange(structs.replace(routing, routes=ChainMap(shown, cast("_Routes", routing.routes))), dict(shown))

    def _note(self, keys: Iterable[RouteKey]) -> None:
        if self._keys is None:
            self._keys = set()
        self._keys.update(key for key in keys if (key.port_name.namespace, key.port_name.name) == (self._namespace, self._name))

    def _shown_routes(self, routing: Routing) -> dict[RouteKey, ServiceRoute]:
        found = ((key, routing.routes.get(key)) for key in self._keys or ())
        return {key: self._shown(route) for key, route in found if route is not None and _is_dns(route)}

    def _shown(self, route: ServiceRoute) -> ServiceRoute:
        if self._withholds and self.serving:
            return structs.replace(route, cluster_ip="", external_ips=())
        own = tuple(address for address in self._addresses.get(route.family, ()) if address not in route.external_ips)
        return structs.replace(route, external_ips=(*route.external_ips, *own)) if route.cluster_ip else route


def _is_dns(route: ServiceRoute) -> bool:
    return route.port == PORT and route.protocol in _PROTOCOLS
