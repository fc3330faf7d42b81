"""What is listed and watched: the API's paths, and the selectors that keep away what is not needed (IN-01 to IN-04).

A resource has several forms of request, best first. A list that is streamed (`sendInitialEvents`) is the newest state and never exists as a
whole; servers before 1.34, or with a store older than etcd 3.5, refuse that. The whole list from the server's cache costs the store
nothing, so a thousand nodes may ask at once, and takes a tenth of the time of pages; but it may lag behind, so pages, which the store
answers, are there for a server that is too far behind. The field selector for Services is refused by servers that do not know it; then
headless Services come along, and `routing` leaves them out as it does for manifests. The paths are versions of one API, newest first.

An optional resource may be missing, or kept from this ServiceAccount: without ServiceCIDRs packets to unallocated addresses are not
dropped, without Namespaces nothing is lost that routing needs. It is looked for again: now and then, or soon if somebody has asked for it
by name and so will have it installed or permitted. `reflector` follows one resource; `api` picks them. Pure.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct
from pointsman.kube.objects import Kind

ABSENT: Final = 300.0
"""Seconds between two looks for an optional resource that is missing or denied."""

SOON: Final = 30.0
"""The same for one that a Corefile asks for."""


class Way(Enum):
    """How a list comes."""

    STREAM = "stream"
    WHOLE = "whole"
    PAGES = "pages"


class Form(Struct, frozen=True):
    """One way to ask for a list, with which selectors."""

    way: Way
    selectors: Mapping[str, str] = {}


class Resource(Struct, frozen=True):
    """A kind to follow. `selectors` are always sent; `wishes` are left out if the server does not know them.

    `lost` says what does not work without an `optional` one, and where the right to it comes from besides the ClusterRole that all have;
    `again` is how many seconds lie between two looks for it.
    """

    kind: Kind
    paths: tuple[str, ...]
    selectors: Mapping[str, str] = {}
    wishes: Mapping[str, str] = {}
    optional: bool = False
    lost: str = ""
    again: float = ABSENT

    @property
    def right(self) -> str:
        """Return which right its reader needs, in the words of a ClusterRole."""
        *_, group, _, plural = self.paths[0].split("/")
        return f"list and watch {plural}" + (f" in {group}" if "." in group else "")

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return all forms of request, best first."""
        full = {**self.selectors, **self.wishes}
        plain = tuple(Form(way, self.selectors) for way in (Way.WHOLE, Way.PAGES)) if self.wishes else ()
        return (*(Form(way, full) for way in Way), *plain)


OTHERS: Final = "service.kubernetes.io/service-proxy-name"
"""The label of Services that another proxy serves; also as selector (IN-01)."""


class Selectors(Struct, frozen=True):
    """Which Services and EndpointSlices are wanted; the defaults are kube-proxy's (IN-01, IN-02), DNS wants headless ones too (REC-07)."""

    services: str = f"!{OTHERS}"
    slices: str = "!service.kubernetes.io/headless"
    headless: bool = False
    namespaces: str = ""


ROUTING: Final = Selectors()
"""What routing needs."""

EVERYTHING: Final = Selectors(services="", slices="", headless=True)
"""What routing and DNS need; routing leaves out the rest (REC-07)."""

_WITHOUT_PODS: Final = "`pods verified` knows no names of Pods, `autopath @kubernetes` walks no path; the chart's dns.reads gives the right"
_WITHOUT_IMPORTS: Final = "`multicluster` answers no name of other clusters; the chart's value dns.reads gives the right"
_RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"


def resources(
    node_name: str, selectors: Selectors = ROUTING, *, pods: bool = False, all_pods: bool = False, all_nodes: bool = False,
    imports: bool = False,
) -> Iterator[Resource]:
    """Yield what a node follows: its own Node only (IN-03), unless it needs `all_nodes`.

    `pods` adds the Pods of this node, `all_pods` those of all nodes that have not ended (POD-05), `imports` ServiceImports (EXT-01): in the
    version that every cluster with them has today, else in the later one.
    """
    wishes = {} if selectors.headless else {"fieldSelector": "spec.clusterIP!=None"}
    yield Resource(Kind.SERVICE, ("/api/v1/services",), _label(selectors.services), wishes)
    slices = "" if selectors.headless and selectors.slices == ROUTING.slices else selectors.slices
    yield Resource(Kind.ENDPOINT_SLICE, ("/apis/discovery.k8s.io/v1/endpointslices",), _label(slices))
    yield Resource(Kind.NODE, ("/api/v1/nodes",), {} if all_nodes else {"fieldSelector": f"metadata.name={node_name}"})
    cidrs = tuple(f"/apis/networking.k8s.io/{version}/servicecidrs" for version in ("v1", "v1beta1"))
    yield Resource(Kind.SERVICE_CIDR, cidrs, optional=True, lost="packets to unowned addresses of its ranges are not dropped")
    names = "DNS does not know which namespaces exist: it answers no cluster name that it has not saved"
    yield Resource(Kind.NAMESPACE, ("/api/v1/namespaces",), _label(selectors.namespaces), optional=True, lost=names)
    if pods or all_pods:
        chosen = _RUNNING if all_pods else f"spec.nodeName={node_name}"
        yield Resource(Kind.POD, ("/api/v1/pods",), {"fieldSelector": chosen}, optional=True, lost=_WITHOUT_PODS, again=SOON)
    if imports:
        versions = tuple(f"/apis/multicluster.x-k8s.io/{version}/serviceimports" for version in ("v1alpha1", "v1beta1"))
        yield Resource(Kind.SERVICE_IMPORT, versions, optional=True, lost=_WITHOUT_IMPORTS, again=SOON)


def _label(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}
