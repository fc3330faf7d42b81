"""Views to report on: a small one by hand, and large ones from generated objects."""

from pointsman.kube.events import Batch, Problem, Replace
from pointsman.kube.objects import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Kind,
    Labels,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
    TargetRef,
)
from pointsman.proxy.report import View
from pointsman.routing.build import build
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Notice, Severity
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

NODE = NodeFacts(name="n1", zone="a", node_ips={Family.IPV4: "192.168.50.1", Family.IPV6: "::1"})
NOTICE = Notice("Service shop/web", "spec.externalIPs[0]", "192.0.2.1 belongs to a node")
PROBLEM = Problem("bad.yaml:3", "Service shop/bad", "spec.ports[0].port", "expected a number")


def service(name: str, ip: str, **spec: object) -> Service:
    return Service(ObjectMeta(name, "shop"), ServiceSpec(cluster_ip=ip, ports=(ServicePort(80, "http"),), **spec))  # type: ignore[arg-type]


def endpoint(address: str, node: str, *, ready: bool = True) -> Endpoint:
    conditions = EndpointConditions(ready=ready)
    return Endpoint((address,), conditions, node_name=node, target_ref=TargetRef("Pod", f"pod-{address}"))


def endpoint_slice(name: str, *endpoints: Endpoint, family: str = "IPv4") -> EndpointSlice:
    labels = Labels(service_name=name)
    return EndpointSlice(ObjectMeta(f"{name}-1", "shop", labels=labels), family, endpoints, (EndpointPort("http", 8080, "TCP"),))


def snapshot(services: list[Service], slices: list[EndpointSlice]) -> Snapshot:
    batch = Batch((Replace(Kind.SERVICE, tuple(services)), Replace(Kind.ENDPOINT_SLICE, tuple(slices))))
    return advance(EMPTY, batch)[0]


def small() -> View:
    """Return web with two backends and one that is not ready, local from outside, and api with nothing behind it."""
    web = service("web", "10.96.0.10", type="NodePort", external_traffic_policy="Local")
    slices = endpoint_slice("web", endpoint("10.244.1.1", "n1"), endpoint("10.244.2.1", "n2"), endpoint("10.244.2.2", "n2", ready=False))
    six = endpoint_slice("six", endpoint("fd00::1", "n1"), family="IPv6")
    known = snapshot([web, service("api", "10.96.0.11"), service("six", "fd00::10")], [slices, six])
    notice = Notice("Service shop/api", "spec", "odd", Severity.SUSPICIOUS)
    return View(NODE, "iptables", "nft", known, build(known, NODE), notices=(NOTICE, notice), problems=(PROBLEM,))


def large(services: int, endpoints: int) -> View:
    """Return a view of so many Services with so many endpoints each."""
    found = [service(f"s{number}", f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}") for number in range(1, services + 1)]
    slices = [
        endpoint_slice(one.metadata.name, *(endpoint(f"10.{128 + (n >> 8)}.{n & 255}.{e + 1}", f"n{e}") for e in range(endpoints)))
        for n, one in enumerate(found)
    ]
    known = snapshot(found, slices)
    return View(NODE, "iptables", "legacy", known, build(known, NODE))
