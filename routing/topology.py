"""Which topology hints are obeyed: all ready endpoints carry them and this node or zone is among them, or none at all.

Hints are an agreement among all endpoints of a Service port: if one has none, or nobody serves this zone, obeying the others would overload
or starve somebody, so they are ignored as a whole (SEL-10 to SEL-12). Users see that as "traffic crosses zones although I asked it not to",
so every hint that is ignored has its reason in words. `selection` asks here; nothing else does.
"""

from collections.abc import Iterable, Sequence

from pointsman.routing.endpoint import PortEndpoint
from pointsman.routing.route import Topology, TopologyMode

NO_HINTS = Topology()
"""No endpoint has hints, or nobody asks for them."""


def topology(endpoints: Sequence[PortEndpoint], node: str, zone: str) -> Topology:
    """Return the mode for the endpoints of one Service port on a node (SEL-10): node hints before zone hints, ready endpoints only."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    hinted = [endpoint for endpoint in ready if endpoint.nodes or endpoint.zones]
    if not hinted:
        return NO_HINTS
    reasons = []
    if any(endpoint.nodes for endpoint in hinted):
        reason = _node_objection(ready, node)
        if not reason:
            return Topology(TopologyMode.SAME_NODE)
        reasons.append(reason)
    if any(endpoint.zones for endpoint in hinted):
        reason = _zone_objection(ready, zone)
        if not reason:
            return Topology(TopologyMode.SAME_ZONE, "; ".join(reasons))
        reasons.append(reason)
    return Topology(TopologyMode.NONE, "; ".join(reasons))


def available(endpoints: Iterable[PortEndpoint], mode: TopologyMode, node: str, zone: str) -> list[PortEndpoint]:
    """Return the endpoints that the mode admits here (SEL-11)."""
    if mode is TopologyMode.SAME_NODE:
        return [endpoint for endpoint in endpoints if node in endpoint.nodes]
    if mode is TopologyMode.SAME_ZONE:
        return [endpoint for endpoint in endpoints if zone in endpoint.zones]
    return list(endpoints)


def _node_objection(ready: Sequence[PortEndpoint], node: str) -> str:
    without = next((endpoint for endpoint in ready if not endpoint.nodes), None)
    if without is not None:
        return f"endpoint {without.backend} has no node hint"
    if not node or all(node not in endpoint.nodes for endpoint in ready):
        return f"no endpoint hints node {node}"
    return ""


def _zone_objection(ready: Sequence[PortEndpoint], zone: str) -> str:
    without = next((endpoint for endpoint in ready if not endpoint.zones), None)
    if without is not None:
        return f"endpoint {without.backend} has no zone hint"
    if not zone:
        return "this node has no zone label"
    if all(zone not in endpoint.zones for endpoint in ready):
        return f"no endpoint hints zone {zone}"
    return ""
