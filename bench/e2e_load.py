"""Services and slices in a real API server, for `make bench-e2e`: what is measured, and what is only there.

Single-stack IPv4 Services with cluster IPs that the API server chooses, each with one slice of ten endpoints; texts of the size that real
clusters have. One Service per measured node leads to places of the laboratory that answer, so that packets can be followed to them.
"""

import asyncio
from collections.abc import Iterable, Iterator

from plane import ControlPlane
from plane_objects import metadata
from pointsman.proxy.demo.lab_topology import Topology
from pointsman.routing.route import Family

NAMESPACE = "bench"
IN_FLIGHT = 32
ENDPOINTS = 10
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
Place = tuple[str, str]
"""An endpoint's address and its node."""


def others(number: int, turn: int = 0) -> list[Place]:
    """Return the endpoints of the so-manieth Service that nobody asks; another turn, another last one."""
    addresses = [f"10.{200 + number // 6250}.{number // 25 % 250}.{number % 25 * 10 + place}" for place in range(ENDPOINTS)]
    if turn % 2:
        addresses[-1] = f"10.{230 + number // 6250}.{number // 25 % 250}.{number % 25 * 10}"
    return [(address, f"worker-{place}") for place, address in enumerate(addresses)]


def endpoints(places: Iterable[Place]) -> list[dict[str, object]]:
    """Return the endpoints of a slice."""
    ready = {"ready": True, "serving": True, "terminating": False}
    return [
        {
            "addresses": [address], "nodeName": node, "conditions": ready, "zone": "zone-a",
            "targetRef": {"kind": "Pod", "name": f"web-7d9c5b8f6d-{address}", "namespace": NAMESPACE, "uid": f"0d1f-{address}"},
        }
        for address, node in places
    ]


def objects(name: str, places: Iterable[Place]) -> Iterator[dict[str, object]]:
    """Return a Service and its slice."""
    yield {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name, NAMESPACE),
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]},
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": metadata(f"{name}-1", NAMESPACE, labels={"kubernetes.io/service-name": name}),
        "endpoints": endpoints(places), "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def before_and_after(topology: Topology, node: str) -> tuple[list[Place], list[Place]]:
    """Return the endpoints between which a node's own Service changes: one, and two others, so that the rules change in number.

    They are Pods of another node, as most of a Service's are in a cluster of many nodes.
    """
    names = topology.node_names
    other = names[(names.index(node) + 1) % len(names)]
    made = [(topology.places[f"{other}p{place}"].addresses[Family.IPV4], other) for place in (2, 3, 4)]
    return made[:1], made[1:]


async def fill(plane: ControlPlane, services: int) -> dict[str, str]:
    """Create everything; return the cluster IP of each node's own Service."""
    topology = plane.lab.topology
    await plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(NAMESPACE)})
    found = {}
    for node in topology.node_names:
        service, _ = await plane.api.create(*objects(f"probe-{node}", before_and_after(topology, node)[0]))
        found[node] = service["spec"]["clusterIP"]
    waiting = iter(range(services))

    async def work() -> None:
        for number in waiting:
            for one in objects(f"service-{number}", others(number)):
                await plane.api.create(one)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return found


class Others:
    """The Services that nobody asks, and how each is now: a change makes one otherwise than it was, also for the proxy measured next."""

    def __init__(self, plane: ControlPlane, services: int) -> None:
        self._plane = plane
        self._turns = [0] * services

    async def change(self, count: int) -> None:
        """Change the endpoints of the one whose turn it is."""
        number = count % len(self._turns)
        self._turns[number] += 1
        await say(self._plane, f"service-{number}", others(number, self._turns[number]))


async def say(plane: ControlPlane, name: str, places: Iterable[Place]) -> None:
    """Change the endpoints of a Service."""
    await plane.api.patch(f"{SLICES}/{name}-1", {"endpoints": endpoints(places)})
