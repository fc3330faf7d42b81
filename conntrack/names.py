"""Whose an address is: pods, by the endpoints of Services or by their own objects, and nodes. Pure.

Flows hold addresses, people think in names. Every endpoint that a route has tells the pod behind its address; Pods and Nodes tell more
where they are read. An address of a node is shared by all its host-network pods, so there the node is named, never one of them; nor is one
where several pods are, for most nodes are not read (IN-03). A name is `pod namespace/name` or `node name`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from pointsman.routing.addresses import parse_address
from pointsman.routing.route import ServiceRoute
from pointsman.routing.service import is_routed
from pointsman.routing.snapshot import Snapshot

_ENDED: Final = frozenset({"Succeeded", "Failed"})
"""A pod in such a phase has given its address back, and may still show it."""


class Known(Struct, frozen=True):
    """Names by address, and the cluster IPs of Services that another proxy serves (their names by address)."""

    by_address: Mapping[str, str] = {}
    elsewhere: Mapping[str, str] = {}


class Names:
    """Names of addresses; they are collected when somebody first asks, for most often nobody does."""

    def __init__(self, collect: Callable[[], Known] = Known) -> None:
        self._collect = collect
        self._known: Known | None = None

    def of(self, address: str) -> str:
        """Return whose an address is, empty if nobody says."""
        return self._all().by_address.get(address, "")

    def elsewhere(self, address: str) -> str:
        """Return which Service of another proxy has a cluster IP, empty if none has."""
        return self._all().elsewhere.get(address, "")

    def _all(self) -> Known:
        if self._known is None:
            self._known = self._collect()
        return self._known


NOBODY: Final = Names()


def collected(routes: Iterable[ServiceRoute], snapshot: Snapshot | None = None) -> Known:
    """Return what routes and objects tell."""
    ends = ((route.port_name.namespace, one) for route in routes for one in (*route.reachable, *route.lingering))
    found = unshared((one.address, f"pod {namespace}/{one.pod}") for namespace, one in ends if one.pod)
    if snapshot is None:
        return Known(found)
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
    return Known(found, elsewhere)


def unshared(told: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return names by address, without the addresses that have several."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for address, name in told:
        if found.setdefault(address, name) != name:
            shared.add(address)
    for address in shared:
        del found[address]
    return found
