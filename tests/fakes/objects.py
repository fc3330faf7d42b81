"""Kubernetes objects for tests, written as the API writes them."""

from typing import Any

import msgspec
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import EndpointSlice, Kind, KubeObject, Node, Service, ServiceCIDR
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
TO_HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}


def service(
    name: str = "web",
    *,
    namespace: str = "shop",
    created: str | None = None,
    labels: dict[str, str] | None = None,
    ingress: list[dict[str, str]] | None = None,
    **spec: Any,
) -> Service:
    """Make a Service; without more it has cluster IP 10.96.0.1 and TCP port 80 named http."""
    whole = {"clusterIP": "10.96.0.1", "ports": [HTTP], **spec}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created, "labels": labels}
    return msgspec.convert({"metadata": metadata, "spec": whole, "status": {"loadBalancer": {"ingress": ingress}}}, Service)


def endpoint(
    address: str, *, node: str | None = None, zones: tuple[str, ...] = (), nodes: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    """Make an endpoint of a slice; `ready`, `serving` and `terminating` are conditions, all else are members."""
    conditions = {name: more.pop(name) for name in ("ready", "serving", "terminating") if name in more}
    made: dict[str, Any] = {"addresses": [address], "nodeName": node, "conditions": conditions or None, **more}
    hints = {"forZones": [{"name": zone} for zone in zones] or None, "forNodes": [{"name": one} for one in nodes] or None}
    return {**made, "hints": hints} if zones or nodes else made


def endpoint_slice(
    *endpoints: dict[str, Any],
    name: str = "web-1",
    owner: str | None = "web",
    namespace: str = "shop",
    ports: list[dict[str, Any]] | None = None,
    family: str = "IPv4",
    labels: dict[str, str] | None = None,
) -> EndpointSlice:
    """Make a slice of Service `owner`; without more its port is 8080/TCP, named http."""
    marks = {**({"kubernetes.io/service-name": owner} if owner is not None else {}), **(labels or {})}
    metadata = {"name": name, "namespace": namespace, "labels": marks}
    whole = {"metadata": metadata, "addressType": family, "endpoints": endpoints, "ports": [TO_HTTP] if ports is None else ports}
    return msgspec.convert(whole, EndpointSlice)


def node(name: str, **spec: Any) -> Node:
    """Make a Node."""
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, Node)


def service_cidr(name: str, *cidrs: str) -> ServiceCIDR:
    """Make a ServiceCIDR."""
    return msgspec.convert({"metadata": {"name": name}, "spec": {"cidrs": cidrs}}, ServiceCIDR)


def snapshot(*values: KubeObject) -> Snapshot:
    """Make a snapshot that holds exactly these objects."""
    kinds = {Kind.SERVICE: Service, Kind.ENDPOINT_SLICE: EndpointSlice, Kind.NODE: Node, Kind.SERVICE_CIDR: ServiceCIDR}
    events = tuple(Replace(kind, tuple(value for value in values if isinstance(value, struct))) for kind, struct in kinds.items())
    return advance(EMPTY, Batch(events))[0]
