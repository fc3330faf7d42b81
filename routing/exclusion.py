"""Why an endpoint takes no new connection here: made on demand for people, kept nowhere.

The question behind it is always "my pod runs, why does it get nothing from this node?". The answer follows the rules of `selection` (SEL-02
to SEL-14) and never contradicts it: an endpoint is excluded if and only if the route does not reach it.
"""

from collections.abc import Mapping, Sequence

from pointsman.kube.objects import EndpointSlice
from pointsman.routing.endpoint import PortEndpoint, service_endpoints
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Excluded, ServiceRoute, TopologyMode


def excluded(route: ServiceRoute, slices: Mapping[str, EndpointSlice], node: NodeFacts) -> tuple[Excluded, ...]:
    """Return the endpoints in the Service's slices (by name) that a route does not reach, each with the reason, sorted as the route."""
    endpoints = service_endpoints(slices, route.family, node.name).of(route.port_name.port, route.port_name.protocol)
    reached = {str(backend) for backend in route.reachable}
    left_out = [endpoint for endpoint in endpoints if str(endpoint.backend) not in reached]
    return tuple(Excluded(str(endpoint.backend), _reason(endpoint, route, endpoints, node)) for endpoint in left_out)


def _reason(endpoint: PortEndpoint, route: ServiceRoute, endpoints: Sequence[PortEndpoint], node: NodeFacts) -> str:
    if not endpoint.ready:
        return _unready(endpoint, route, endpoints)
    if not _uses_cluster(route):
        return f"{_place(endpoint)}, and the traffic policy is Local"
    if route.topology.mode is TopologyMode.SAME_NODE:
        return f"meant for node {', '.join(endpoint.nodes)}"
    if route.topology.mode is TopologyMode.SAME_ZONE:
        return f"meant for zone {', '.join(endpoint.zones)}; this node is in zone {node.zone}"
    return "not taken into account yet"


def _unready(endpoint: PortEndpoint, route: ServiceRoute, endpoints: Sequence[PortEndpoint]) -> str:
    if not endpoint.terminating:
        return "not ready"
    if not endpoint.serving:
        return "terminating and no longer serving"
    if not _uses_cluster(route) and not endpoint.backend.local:
        return f"terminating, {_place(endpoint)}, and the traffic policy is Local"
    ready = sum(1 for other in endpoints if other.ready)
    return f"terminating; new connections go to ready endpoints ({ready} ready)"


def _uses_cluster(route: ServiceRoute) -> bool:
    """Return whether some frontend can reach all of the cluster (IN-22)."""
    return not route.internal_local or route.externally_accessible


def _place(endpoint: PortEndpoint) -> str:
    return f"on node {endpoint.backend.node}" if endpoint.backend.node else "on no known node"
