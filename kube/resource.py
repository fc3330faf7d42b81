"""What is listed and watched: the API's paths, and the selectors that keep away what is not needed (IN-01 to IN-04).

A resource has several forms of request, best first. Streaming a list (`sendInitialEvents`) spares the server and this process a list in
memory; servers before 1.34 usually refuse it. The field selector for Services is refused by servers that do not know it; then headless
Services come along, and `routing` leaves them out as it does for manifests. The paths are versions of one API, newest first.

An optional resource may be missing, or kept from this ServiceAccount: without ServiceCIDRs packets to unallocated addresses are not
dropped, without Namespaces nothing is lost that routing needs. `reflector` follows one resource; `api` picks them. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.kube.objects import Kind


class Form(Struct, frozen=True):
    """One way to ask for a list: streamed or page by page, with which selectors."""

    streamed: bool
    selectors: Mapping[str, str] = {}


class Resource(Struct, frozen=True):
    """A kind to follow. `selectors` are always sent; `wishes` are left out if the server does not know them."""

    kind: Kind
    paths: tuple[str, ...]
    selectors: Mapping[str, str] = {}
    wishes: Mapping[str, str] = {}
    optional: bool = False

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return all forms of request, best first."""
        full = {**self.selectors, **self.wishes}
        plain = (Form(streamed=False, selectors=self.selectors),) if self.wishes else ()
        return (Form(streamed=True, selectors=full), Form(streamed=False, selectors=full), *plain)


class Selectors(Struct, frozen=True):
    """Which Services and EndpointSlices are wanted; the defaults are kube-proxy's (IN-01, IN-02), DNS wants headless ones too (REC-07)."""

    services: str = "!service.kubernetes.io/service-proxy-name"
    slices: str = "!service.kubernetes.io/headless"
    headless: bool = False


ROUTING: Final = Selectors()
"""What routing needs."""


def resources(node_name: str, selectors: Selectors = ROUTING, *, pods: bool = False) -> Iterator[Resource]:
    """Yield what a node follows; `pods` adds the Pods of this node."""
    wishes = {} if selectors.headless else {"fieldSelector": "spec.clusterIP!=None"}
    yield Resource(Kind.SERVICE, ("/api/v1/services",), _label(selectors.services), wishes)
    slices = "" if selectors.headless else selectors.slices
    yield Resource(Kind.ENDPOINT_SLICE, ("/apis/discovery.k8s.io/v1/endpointslices",), _label(slices))
    yield Resource(Kind.NODE, ("/api/v1/nodes",), {"fieldSelector": f"metadata.name={node_name}"})
    cidrs = tuple(f"/apis/networking.k8s.io/{version}/servicecidrs" for version in ("v1", "v1beta1"))
    yield Resource(Kind.SERVICE_CIDR, cidrs, optional=True)
    yield Resource(Kind.NAMESPACE, ("/api/v1/namespaces",), optional=True)
    if pods:
        yield Resource(Kind.POD, ("/api/v1/pods",), {"fieldSelector": f"spec.nodeName={node_name}"}, optional=True)


def _label(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}
