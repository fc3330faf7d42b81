"""Endpoints that a route used and uses no more: who they were, for as long as connections to them may be left. Pure.

The kernel knows a server that drains by its address only, and the cluster has forgotten it. So the names are kept from the last route that
had it: for people, who ask which pod still has connections, and to notice that its node is gone as well, in whichever order the cluster
tells of both (pain 90). `agent` feeds it with each change of the routing. A process that starts later does not know who left before.
"""

from collections.abc import Iterable, Mapping, Set

from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Backend, RouteKey, ServiceRoute
from pointsman.routing.snapshot import Snapshot

ROOM = 1000
"""So many are kept before those are forgotten that nothing drains for."""

Endpoint = tuple[str, int]


class Departed:
    """Who left, by address and port, and which nodes did."""

    def __init__(self) -> None:
        self._backends: dict[Endpoint, Backend] = {}
        self._lost: frozenset[str] = frozenset()
        self._listed: set[str] = set()

    def follow(self, before: Mapping[RouteKey, ServiceRoute], change: RoutingChange) -> bool:
        """Take note of a change from these routes; return whether anybody left."""
        left = False
        for key, after in change.changed.items():
            former = before.get(key)
            present = {(one.address, one.port) for one in after.reachable} if after is not None else frozenset[Endpoint]()
            for endpoint in present & self._backends.keys():
                del self._backends[endpoint]  # somebody is there again, perhaps somebody else
            self._listed.difference_update(address for address, _ in present)
            for one in former.reachable if former is not None else ():
                if (one.address, one.port) not in present:
                    self._backends[one.address, one.port] = one
                    left = True
        return left

    def pod(self, endpoint: Endpoint) -> str:
        """Return the pod that was at an address and port, or its node if it was none; empty if nobody knows."""
        one = self._backends.get(endpoint)
        return (one.pod or one.node) if one is not None else ""

    def lose(self, before: Set[str], snapshot: Snapshot) -> None:
        """Take note of the nodes that there were and are. Only a node that was there can be lost: a source may know none but this one's."""
        now = snapshot.nodes.keys()
        self._lost = frozenset((self._lost | before) - now) if now else frozenset()
        slices = (value for each in snapshot.slices.values() for value in each.values()) if self._lost else ()
        endpoints = (one for value in slices for one in value.endpoints or ())
        self._listed = {one.addresses[0] for one in endpoints if one.node_name in self._lost and one.addresses}

    def buried(self) -> frozenset[str]:
        """Return the addresses of endpoints on lost nodes: those who left, and those whom slices placed there when it was lost."""
        if not self._lost:
            return frozenset()
        return frozenset(self._listed | {one.address for one in self._backends.values() if one.node in self._lost})

    def forget_others(self, draining: Iterable[Endpoint]) -> None:
        """Keep only who still drains, once there are many."""
        if len(self._backends) > ROOM:
            kept = set(draining)
            self._backends = {endpoint: one for endpoint, one in self._backends.items() if endpoint in kept}
