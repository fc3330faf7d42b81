"""Whose an address is: pods, by the endpoints of Services or by their own objects, and nodes. Pure.

Flows hold addresses, people think in names. Every endpoint that a route has tells the pod behind its address; Pods and Nodes tell more
where they are read. An address of a node is shared by all its host-network pods, so there the node is named, never one of them. A name is
`pod namespace/name` or `node name`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct
from pointsman.routing.addresses import parse_address
from pointsman.routing.route import ServiceRoute
from pointsman.routing.service import is_routed
from pointsman.routing.snapshot import Snapshot

_ENDED: Final = frozenset({"Succeeded", "Failed"})
"""A pod in such a phase has given its address back, and may still show it."""


class Names(Struct, frozen=True):
    """Names by address, and the cluster IPs of Services that another proxy serves (their names by address)."""

    by_address: Mapping[str, str] = {}
    elsewhere: Mapping[str, str] = {}

    def of(self, address: str) -> str:
        """Return whose an address is, empty if nobody says."""
        return self.by_address.get(address, "")


NOBODY: Final = Names()


def names(routes: Iterable[ServiceRoute], snapshot: Snapshot | None = None) -> Names:
    """Return what routes and objects tell."""
    found: dict[str, str] = {}
    for route in routes:
        namespace = route.port_name.namespace
        for one in (*route.reachable, *route.lingering):
            if one.pod:
                found[one.address] = f"pod {namespace}/{one.pod}"
    if snapshot is None:
        return Names(found)
    for pod in snapshot.pods.values():
        if not pod.spec.host_network and pod.status.phase not in _ENDED:
            for text in (pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips or ())):
                if (address := parse_address(text or "")) is not None:
                    found[address] = f"pod {pod.metadata.namespace}/{pod.metadata.name}"
    for node in snapshot.nodes.values():
        for given in node.status.addresses or ():
            if (address := parse_address(given.address)) is not None:
                found[address] = f"node {node.metadata.name}"
    elsewhere = {
        address: f"Service {key}"
        for key, service in snapshot.services.items()
        if not is_routed(service)
        for address in {service.spec.cluster_ip, *(service.spec.cluster_ips or ())}
        if address and address != "None"
    }
    return Names(found, elsewhere)
