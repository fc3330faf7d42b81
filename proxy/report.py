"""What the agent tells about itself, as documents: the schema that `pointsman services -o json` and other programs read.

A `View` is one moment: immutable values that the agent held then. Documents are made from it piece by piece, because the answer for 10,000
Services is tens of megabytes: a piece is small enough that whoever runs on the same event loop hardly waits. Members are only ever added
within one schema version. `socket` serves the documents.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain, islice

import msgspec
from msgspec import Struct
from pointsman.kube.events import Problem
from pointsman.proxy.config import Config
from pointsman.proxy.drained import Drained
from pointsman.proxy.status import FamilyStatus
from pointsman.routing.exclusion import excluded
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Excluded, Notice, RouteKey, Routing, ServiceRoute, Topology
from pointsman.routing.snapshot import ServiceKey, Snapshot

SCHEMA = "pointsman/v1"

PIECE = 20
"""Service ports per piece of the document."""


class View(Struct, frozen=True):
    """What the agent knows at one moment; `routing` is None until Services and EndpointSlices have been read (IN-07).

    `offered` is the routing as the mode sees it, where that is another one (None: it is the same).
    """

    node: NodeFacts
    mode: str
    variant: str
    snapshot: Snapshot
    routing: Routing | None = None
    families: tuple[FamilyStatus, ...] = ()
    notices: tuple[Notice, ...] = ()
    problems: tuple[Problem, ...] = ()
    draining: tuple[Drained, ...] = ()
    config: Config = Config()
    offered: Routing | None = None
    resident_bytes: int = 0


class FrontendReport(Struct, frozen=True, gc=False):
    """An address (empty for a node port) and port that clients use."""

    kind: str
    address: str
    port: int


class BackendReport(Struct, frozen=True, gc=False, rename="camel"):
    """An endpoint in use: `cluster` and `localPolicy` say whether traffic policy Cluster or Local sends connections to it."""

    address: str
    port: int
    pod: str
    node: str
    zone: str
    local: bool
    cluster: bool
    local_policy: bool


class ServicePortReport(Struct, frozen=True, rename="camel"):
    """One Service port in one family. `internal_missing` and `external_missing` are reject, drop, or null if there are backends."""

    namespace: str
    service: str
    port_name: str
    protocol: str
    family: str
    frontends: tuple[FrontendReport, ...]
    internal_traffic_policy: str
    external_traffic_policy: str
    affinity_seconds: int
    source_ranges: tuple[str, ...]
    topology: Topology
    internal_missing: str | None
    external_missing: str | None
    backends: tuple[BackendReport, ...]
    excluded: tuple[Excluded, ...]


class NoticeReport(Struct, frozen=True):
    """Something an operator should know."""

    subject: str
    field: str
    text: str
    severity: str


class StatusReport(Struct, frozen=True, rename="camel"):
    """Everything but the Services; `waiting_for` names the kinds of objects without which nothing is programmed yet.

    `dns` tells whether DNS is to run beside the rules; `resident_bytes` is the agent's memory, 0 where there is no agent.
    """

    schema: str
    version: str
    node: str
    zone: str
    mode: str
    variant: str
    revision: int
    waiting_for: tuple[str, ...]
    services: int
    families: tuple[FamilyStatus, ...]
    notices: tuple[NoticeReport, ...]
    problems: tuple[Problem, ...]
    dns: bool = False
    resident_bytes: int = 0


class ServicesReport(StatusReport, frozen=True, rename="camel"):
    """The whole document: the status with every Service port that was asked for."""

    service_ports: tuple[ServicePortReport, ...] = ()


@cache
def version() -> str:
    """Return the version of this program."""
    from importlib import metadata  # noqa: PLC0415 - reading what is installed takes longer than a small write to the kernel

    return metadata.version("pointsman")


def status(view: View) -> StatusReport:
    """Return everything but the Services."""
    waiting = () if view.snapshot.in_sync else tuple(kind for kind in ("Service", "EndpointSlice") if kind not in _synced(view.snapshot))
    return StatusReport(
        schema=SCHEMA,
        version=version(),
        node=view.node.name,
        zone=view.node.zone,
        mode=view.mode,
        variant=view.variant,
        revision=view.snapshot.revision,
        waiting_for=waiting,
        services=len(view.snapshot.services),
        families=view.families,
        notices=tuple(NoticeReport(one.subject, one.field, one.text, one.severity.value) for one in view.notices),
        problems=view.problems,
        dns=view.config.dns,
        resident_bytes=view.resident_bytes,
    )


def status_document(view: View) -> bytes:
    """Return the status as JSON."""
    return msgspec.json.encode(status(view))


def services_document(view: View, namespace: str = "", name: str = "") -> Iterator[bytes]:
    """Yield the status with the member `servicePorts` as JSON, in pieces; of one namespace, or one Service, if given."""
    yield status_document(view)[:-1] + b',"servicePorts":['
    by_service = _by_service(view.routing, namespace, name)
    yield b""  # finding and sorting are pieces of work too
    keys = chain.from_iterable(sorted(by_service[service], key=_order) for service in sorted(by_service))
    encoder = msgspec.json.Encoder()
    separator = b""
    while chunk := tuple(islice(keys, PIECE)):
        yield separator + b",".join(encoder.encode(service_port(view, key)) for key in chunk)
        separator = b","
    yield b"]}"


def service_port(view: View, key: RouteKey) -> ServicePortReport:
    """Return what is known about one Service port; the view must have it."""
    assert view.routing is not None
    route = view.routing.routes[key]
    name = route.port_name
    slices = view.snapshot.slices.get(ServiceKey(name.namespace, name.name), {})
    return ServicePortReport(
        namespace=name.namespace,
        service=name.name,
        port_name=name.port,
        protocol=name.protocol.value,
        family=route.family.value,
        frontends=tuple(FrontendReport(one.kind.value, one.address, one.port) for one in route.frontends()),
        internal_traffic_policy=_policy(local=route.internal_local),
        external_traffic_policy=_policy(local=route.external_local),
        affinity_seconds=route.affinity_seconds,
        source_ranges=route.source_ranges,
        topology=route.topology,
        internal_missing=route.internal_missing.value if route.internal_missing else None,
        external_missing=_external_missing(route),
        backends=_backends(route),
        excluded=tuple(excluded(route, slices, view.node)),
    )


def _by_service(routing: Routing | None, namespace: str, name: str) -> dict[tuple[str, str], list[RouteKey]]:
    """Return the keys of the routes that are asked for, by Service."""
    found: dict[tuple[str, str], list[RouteKey]] = {}
    for key in routing.routes if routing else ():
        one = key.port_name
        if (not namespace or one.namespace == namespace) and (not name or one.name == name):
            found.setdefault((one.namespace, one.name), []).append(key)
    return found


def _order(key: RouteKey) -> tuple[str, str, str]:
    return key.port_name.port, key.port_name.protocol.value, key.family.value


def _policy(*, local: bool) -> str:
    return "Local" if local else "Cluster"


def _external_missing(route: ServiceRoute) -> str | None:
    missing = route.external_missing if route.externally_accessible else None
    return missing.value if missing else None


def _backends(route: ServiceRoute) -> tuple[BackendReport, ...]:
    cluster, local = frozenset(map(str, route.cluster)), frozenset(map(str, route.local))
    return tuple(_backend(one, cluster=str(one) in cluster, local=str(one) in local) for one in route.reachable)


def _backend(one: Backend, *, cluster: bool, local: bool) -> BackendReport:
    return BackendReport(one.address, one.port, one.pod, one.node, one.zone, one.local, cluster, local)


def _synced(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(kind.value for kind in snapshot.synced)
