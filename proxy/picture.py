"""Everything that explaining needs, as one document: what the agent wants, why, and how far it is. Pure.

`pointsman explain`, `diff`, `status` and `top` read the kernel themselves and compare with what is wanted. The wanted side comes from the
running agent (`GET /v1/picture`), so that it is what the agent really follows; or, without an agent, from a snapshot read for the occasion
(`known`). Both give a `Picture`. It is written in pieces: at 10,000 Services it is tens of megabytes, and the agent's loop must not wait.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec
from msgspec import Struct
from pointsman.kube.events import Problem
from pointsman.proxy.config import Config
from pointsman.proxy.report import SCHEMA, NoticeReport, View, status, version
from pointsman.proxy.status import FamilyStatus
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, HealthCheck, Routing, ServiceRoute
from pointsman.routing.snapshot import ServiceKey, Snapshot

PIECE = 50
"""Routes or Services per piece of the document."""


class KnownService(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A Service as its object is, routed or not: enough to say what its name stands for; `endpoints` are a headless one's ready ones."""

    namespace: str
    name: str
    kind: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    external_name: str = ""
    endpoints: tuple[str, ...] = ()


class KnownPod(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A pod that is an endpoint of some Service: its addresses, and the node it is on."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    node: str = ""


class Picture(Struct, frozen=True, rename="camel"):
    """What is wanted on this node, and how far it is; `waiting_for` names kinds of objects without which nothing is programmed.

    `problems` are what could not be read: the source itself, or objects of it that are understood by nobody.
    """

    schema: str
    version: str
    mode: str
    variant: str
    config: Config
    node: NodeFacts
    revision: int
    waiting_for: tuple[str, ...]
    families: tuple[FamilyStatus, ...]
    notices: tuple[NoticeReport, ...]
    nodes: Mapping[str, tuple[str, ...]] = {}
    cluster_ips: Mapping[Family, tuple[str, ...]] = {}
    service_cidrs: Mapping[Family, tuple[str, ...]] = {}
    health_checks: tuple[HealthCheck, ...] = ()
    problems: tuple[Problem, ...] = ()
    services: tuple[KnownService, ...] = ()
    pods: tuple[KnownPod, ...] = ()
    routes: tuple[ServiceRoute, ...] = ()

    def routing(self) -> Routing:
        """Return the routes as the rest of the program has them."""
        return Routing(
            self.revision,
            {route.key: route for route in self.routes},
            {family: frozenset(addresses) for family, addresses in self.cluster_ips.items()},
            self.service_cidrs,
            (),
            self.health_checks,
        )


def picture(view: View) -> Picture:
    """Return the whole picture of a view."""
    whole = _frame(view)
    routing = view.offered or view.routing
    routes = tuple(routing.routes.values()) if routing else ()
    known = {"services": tuple(_services(view.snapshot)), "pods": tuple(_pods(view.snapshot)), "routes": routes}
    return msgspec.structs.replace(whole, **known)


def document(view: View) -> Iterator[bytes]:
    """Yield the picture as JSON, in pieces."""
    encoder = msgspec.json.Encoder()
    frame = encoder.encode(_frame(view))
    end = b',"services":[],"pods":[],"routes":[]}'
    assert frame.endswith(end)
    yield frame[: -len(end)]
    routing = view.offered or view.routing
    routes = routing.routes.values() if routing else ()
    for name, values in (("services", _services(view.snapshot)), ("pods", _pods(view.snapshot)), ("routes", iter(routes))):
        yield f',"{name}":['.encode()
        separator = b""
        while some := list(islice(values, PIECE)):
            yield separator + b",".join(map(encoder.encode, some))
            separator = b","
        yield b"]"
    yield b"}"


def _frame(view: View) -> Picture:
    """Return the picture without what grows with the cluster, save addresses."""
    told, routing = status(view), view.routing
    return Picture(
        schema=SCHEMA,
        version=version(),
        mode=view.mode,
        variant=view.variant,
        config=view.config,
        node=view.node,
        revision=view.snapshot.revision,
        waiting_for=told.waiting_for,
        families=view.families,
        notices=told.notices,
        nodes={name: tuple(one.address for one in node.status.addresses or ()) for name, node in view.snapshot.nodes.items()},
        cluster_ips={family: tuple(sorted(found)) for family, found in routing.cluster_ips.items()} if routing else {},
        service_cidrs=routing.service_cidrs if routing else {},
        health_checks=routing.health_checks if routing else (),
        problems=told.problems,
    )


def _services(snapshot: Snapshot) -> Iterator[KnownService]:
    for key, one in snapshot.services.items():
        spec = one.spec
        addresses = tuple(spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ()))
        ends = tuple(_ready(snapshot, key)) if addresses == ("None",) else ()
        yield KnownService(key.namespace, key.name, spec.type or "ClusterIP", addresses, spec.external_name or "", ends)


def _ready(snapshot: Snapshot, key: ServiceKey) -> Iterator[str]:
    for one in snapshot.slices.get(key, {}).values():
        for endpoint in one.endpoints or ():
            if endpoint.conditions is None or endpoint.conditions.ready is not False:
                yield from endpoint.addresses or ()


def _pods(snapshot: Snapshot) -> Iterator[KnownPod]:
    """Yield the pods that slices name, each once per slice family, and those that were read as objects.

    What was yielded is noted without a new object for each: a hundred thousand of them, freed at once, would hold the agent's loop.
    """
    for (namespace, name), pod in snapshot.pods.items():
        addresses = tuple(one.ip for one in pod.status.pod_ips or ()) or ((pod.status.pod_ip,) if pod.status.pod_ip else ())
        yield KnownPod(namespace, name, addresses, pod.spec.node_name or "")
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for slices in snapshot.slices.values():
        for one in slices.values():
            for endpoint in one.endpoints or ():
                target, addresses = endpoint.target_ref, tuple(endpoint.addresses or ())
                name = (target.name if target and target.kind == "Pod" else "") or ""
                if not name or not addresses or (one.metadata.namespace, name) in snapshot.pods:
                    continue
                known = seen.setdefault((one.metadata.namespace, one.address_type), {})
                if known.get(name) != addresses[0]:
                    known[name] = addresses[0]
                    yield KnownPod(one.metadata.namespace, name, addresses, endpoint.node_name or "")
