"""Which endpoints of a Service port take new connections on this node: the lists C, L and R of docs/services.md section 2.

C serves the Cluster traffic policy, L the Local one, R is every endpoint that either can reach. Ready endpoints win; only where a list has
none, terminating endpoints that still serve fill in, for each list on its own (SEL-02, SEL-06). `build` puts the lists into a ServiceRoute.

Equal lists are one tuple, and L holds the same Backend objects as C: at 100,000 endpoints that is memory worth having.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace
from pointsman.routing.endpoint import PortEndpoint
from pointsman.routing.route import Backend, Topology, TopologyMode
from pointsman.routing.topology import NO_HINTS, available, topology

Backends = tuple[Backend, ...]


class Selection(Struct, frozen=True, gc=False):
    """C, L, R, any, which hints were obeyed, and who serves beyond R: connections that they have may go on (SEL-14, CT-02)."""

    cluster: Backends = ()
    local: Backends = ()
    reachable: Backends = ()
    any_endpoint: bool = False
    topology: Topology = NO_HINTS
    lingering: Backends = ()


NOTHING = Selection()
"""The selection of a Service port without endpoints (SEL-01)."""


def select(endpoints: Sequence[PortEndpoint], *, uses_cluster: bool, uses_local: bool, node: str, zone: str) -> Selection:
    """Select among the endpoints of one Service port (sorted, IN-40) by SEL-01 to SEL-14."""
    if not endpoints:
        return NOTHING
    found = _chosen(endpoints, uses_cluster=uses_cluster, uses_local=uses_local, node=node, zone=zone)
    if len(found.reachable) == len(endpoints):
        return found
    reached = {(backend.address, backend.port) for backend in found.reachable}
    lingering = [e for e in endpoints if e.serving and (e.backend.address, e.backend.port) not in reached]
    return replace(found, lingering=_backends(lingering)) if lingering else found


def _chosen(endpoints: Sequence[PortEndpoint], *, uses_cluster: bool, uses_local: bool, node: str, zone: str) -> Selection:
    cluster: Backends = ()
    hints = NO_HINTS
    if uses_cluster:
        hints = topology(endpoints, node, zone)
        cluster = _backends(available([e for e in endpoints if e.ready], hints.mode, node, zone))
        cluster = cluster or _backends([e for e in endpoints if e.serving and e.terminating])
    if not uses_local:
        return Selection(cluster, (), cluster, bool(cluster), hints)
    found = bool(cluster) or any(e.ready or (e.serving and e.terminating) for e in endpoints)
    local = _backends([e for e in endpoints if e.backend.local and e.ready])
    fallback = not local
    if fallback:
        local = _backends([e for e in endpoints if e.backend.local and e.serving and e.terminating])
    if not uses_cluster:
        return Selection((), local, local, found, hints)
    if local == cluster:
        return Selection(cluster, cluster, cluster, found, hints)
    if hints.mode is TopologyMode.NONE and not (fallback and local):
        return Selection(cluster, local, cluster, found, hints)
    return Selection(cluster, local, _union(endpoints, cluster, local), found, hints)


def _backends(endpoints: Sequence[PortEndpoint]) -> Backends:
    return tuple([endpoint.backend for endpoint in endpoints])


def _union(endpoints: Sequence[PortEndpoint], cluster: Backends, local: Backends) -> Backends:
    """Return the union of C and L in the endpoints' order; an identity occurs once among them (IN-39)."""
    wanted = {(backend.address, backend.port) for backend in (*cluster, *local)}
    union = tuple([e.backend for e in endpoints if (e.backend.address, e.backend.port) in wanted])
    if len(union) == len(cluster):
        return cluster
    return local if len(union) == len(local) else union
