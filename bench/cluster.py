"""The cluster that is measured: Services with ten endpoints each, as a folder of manifests, one file per object.

Sizes of texts are those of real clusters (Deployment pod names, a topology zone, a target reference for each endpoint), and every tenth
endpoint lives on the node that is measured. Everything follows from the number of the Service, so that two runs measure the same thing.
IPv4 only.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

ENDPOINTS = 10
NODE = "node-000"
POD_CIDR = "10.128.0.0/9"
PORT = 80
NAMESPACES = 40
NODES = 100
SPREAD = 40
"""So many Services, evenly spread, are for UDP: packets go to them."""


class Size(Struct, frozen=True):
    """How many Services."""

    services: int

    def __str__(self) -> str:
        """Return `10,000 x 10`."""
        return f"{self.services:,} x {ENDPOINTS}"

    def udp(self) -> range:
        """Return the Services that are for UDP."""
        return range(self.services // 2 // SPREAD, self.services, max(1, self.services // SPREAD))


def cluster_ip(service: int) -> str:
    """Return a Service's address."""
    return f"10.{96 + (service >> 16)}.{service >> 8 & 255}.{service & 255}"


def pod_ip(service: int, place: int, generation: int = 0) -> str:
    """Return an endpoint's address; of another generation, another one."""
    number = (generation % 50) * 80_000 + service * ENDPOINTS % 80_000 + place if generation else service * ENDPOINTS + place
    return f"10.{(192 if generation else 128) + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def identity(service: int) -> tuple[str, str]:
    """Return a Service's namespace and name."""
    return f"team-{service % NAMESPACES:02}", f"service-{service:05}"


def slice_file(service: int) -> str:
    """Return the name of the file that holds a Service's endpoints."""
    return f"slice-{service:05}.json"


def write(folder: Path, size: Size) -> None:
    """Write the manifests of a cluster into an empty folder."""
    udp = size.udp()
    for number in range(size.services):
        protocol = "UDP" if number in udp else "TCP"
        (folder / f"service-{number:05}.json").write_bytes(service_manifest(number, protocol))
        (folder / slice_file(number)).write_bytes(slice_manifest(number, protocol))


def service_manifest(service: int, protocol: str) -> bytes:
    """Return a Service."""
    namespace, name = identity(service)
    spec = {
        "type": "ClusterIP",
        "clusterIP": cluster_ip(service),
        "clusterIPs": [cluster_ip(service)],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "selector": {"app": name},
        "ports": [{"name": "http", "port": PORT, "protocol": protocol, "targetPort": 8080}],
    }
    return _document("v1", "Service", namespace, name, {"app": name}, {"spec": spec, "status": {"loadBalancer": {}}})


def slice_manifest(service: int, protocol: str, generation: int = 0) -> bytes:
    """Return a Service's EndpointSlice; with each generation its last endpoint has another address."""
    namespace, name = identity(service)
    labels = {"app": name, "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    ports = [{"name": "http", "port": 8080, "protocol": protocol}]
    return _document(
        "discovery.k8s.io/v1", "EndpointSlice", namespace, f"{name}-x7k2p", labels,
        {"addressType": "IPv4", "ports": ports, "endpoints": list(_endpoints(service, generation))},
    )


def _endpoints(service: int, generation: int) -> Iterator[dict[str, object]]:
    namespace, name = identity(service)
    for place in range(ENDPOINTS):
        node = (service * ENDPOINTS + place) % NODES
        yield {
            "addresses": [pod_ip(service, place, generation if place == ENDPOINTS - 1 else 0)],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"node-{node:03}",
            "zone": f"zone-{'abc'[node % 3]}",
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": f"{name}-6d4b75cb6d-{service * ENDPOINTS + place:05x}"},
        }


def _document(version: str, kind: str, namespace: str, name: str, labels: dict[str, str], rest: dict[str, object]) -> bytes:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **rest}).encode() + b"\n"
