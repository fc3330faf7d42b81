"""What of the cluster's objects the resolver must know: small values that travel from the agent to it, and how they are read from objects.

One `ServiceFact` carries a Service and its slices together, so that an answer never mixes two states of them. Only what can change an
answer is in it: ready endpoints (REC-04), addresses of IPv4 and IPv6 slices (REC-03), names and ports; addresses are packed, so there is
one notation of each (PTR-09). A Service that is not there may still have slices: they answer PTR questions (PTR-03).

Labels are not carried: a selector restricts what the agent reads (REC-09).
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from msgspec import Struct, structs
from pointsman.kube.objects import Endpoint, EndpointSlice, Pod, Service, ServiceImport
from pointsman.routing.addresses import parse_address

NO_PORT = -1
"""The port that stands for "no ports": it gives addresses, never an SRV record (REC-05)."""

CLUSTER, HEADLESS, EXTERNAL = 0, 1, 2
"""Kinds of Services, as far as answers differ; `ABSENT`: there are slices only."""
ABSENT = 3


class PortFact(Struct, frozen=True, gc=False, array_like=True):
    """A port of a Service or slice; name and protocol as the object spells them, empty where it is silent."""

    name: str = ""
    protocol: str = ""
    port: int = NO_PORT


class EndpointFact(Struct, frozen=True, gc=False, array_like=True):
    """A ready endpoint: its packed address and the names it may go by; `target` is the name of the Pod behind it, after the `stem`."""

    address: bytes
    hostname: str = ""
    target: str = ""
    zone: str = ""


class SliceFact(Struct, frozen=True, gc=False, array_like=True):
    """The ready endpoints of a slice, and its ports; `cluster` is where an imported slice comes from.

    `stem` is what the names of all Pods behind it begin with: it makes up half of what is known of a Service, and is rarely asked for.
    """

    ports: tuple[PortFact, ...]
    endpoints: tuple[EndpointFact, ...]
    cluster: str = ""
    stem: str = ""

    @property
    def named(self) -> Iterator[EndpointFact]:
        """Yield the endpoints with the whole names of their Pods."""
        for each in self.endpoints:
            yield structs.replace(each, target=self.stem + each.target) if self.stem else each


class ServiceFact(Struct, frozen=True, gc=False, array_like=True):
    """A Service with its slices; `addresses` are its packed cluster IPs (or those of the import, if `imported`)."""

    namespace: str
    name: str
    kind: int = ABSENT
    addresses: tuple[bytes, ...] = ()
    ports: tuple[PortFact, ...] = ()
    external_name: str = ""
    slices: tuple[SliceFact, ...] = ()
    imported: bool = False

    @property
    def endpoints(self) -> Iterator[EndpointFact]:
        """Yield the ready endpoints of all slices, with the whole names of their Pods."""
        for each in self.slices:
            yield from each.named


class PodFact(Struct, frozen=True, gc=False, array_like=True):
    """A Pod that still runs: `ip` is status.podIP as text (POD-04), `addresses` are all of its own, none if it uses the node's."""

    namespace: str
    name: str
    ip: str = ""
    addresses: tuple[bytes, ...] = ()


_NO_PORTS = (PortFact(),)


def packed(text: str) -> bytes | None:
    """Return the packed form of an address, None if the text is none."""
    canonical = parse_address(text)
    if canonical is None:
        return None
    if ":" in canonical:
        return ip_address(canonical).packed
    return bytes(map(int, canonical.split(".")))  # a third of the time of `ip_address`, for 100,000 endpoints


def service_fact(
    namespace: str, name: str, service: Service | None, slices: Iterable[tuple[str, EndpointSlice]]
) -> ServiceFact | None:
    """Return the fact of a Service and its slices (with their names, by which they are ordered); None where there is nothing to know."""
    parts = tuple(fact for _, each in sorted(slices, key=lambda item: item[0]) if (fact := slice_fact(each)) is not None)
    if service is None:
        return ServiceFact(namespace, name, slices=parts) if parts else None
    spec = service.spec
    texts = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    ports = tuple(PortFact(port.name or "", port.protocol or "", port.port) for port in spec.ports or ()) or _NO_PORTS
    if spec.type == "ExternalName":
        return ServiceFact(namespace, name, EXTERNAL, external_name=spec.external_name or "", slices=parts)
    if texts and texts[0] == "None":
        return ServiceFact(namespace, name, HEADLESS, ports=ports, slices=parts)
    addresses = tuple(address for text in texts if text and (address := packed(text)) is not None)
    return ServiceFact(namespace, name, CLUSTER, addresses, ports, slices=parts)


def import_fact(
    namespace: str, name: str, value: ServiceImport | None, slices: Iterable[tuple[str, EndpointSlice]]
) -> ServiceFact | None:
    """Return the fact of a ServiceImport with the slices of all clusters (EXT-01); None without it: nothing else names its slices."""
    if value is None:
        return None
    spec = value.spec
    kind = HEADLESS if spec.type == "Headless" else CLUSTER
    addresses = tuple(address for text in spec.ips or () if (address := packed(text)) is not None)
    ports = tuple(PortFact(port.name or "", port.protocol or "", port.port) for port in spec.ports or ())
    named = sorted(slices, key=lambda item: item[0])
    parts = tuple(fact for _, each in named if (fact := slice_fact(each, _source_of(each))) is not None)
    return ServiceFact(namespace, name, kind, () if kind == HEADLESS else addresses, ports, slices=parts, imported=True)


def _source_of(value: EndpointSlice) -> str:
    return (value.metadata.labels.source_cluster if value.metadata.labels else None) or ""


def slice_fact(value: EndpointSlice, cluster: str = "") -> SliceFact | None:
    """Return what a slice adds to answers; None for one whose addresses are names (REC-03). `cluster` is where it was imported from."""
    if value.address_type not in ("IPv4", "IPv6", ""):
        return None
    ports = tuple(
        PortFact(port.name or "", port.protocol or "", NO_PORT if port.port is None else port.port) for port in value.ports or ()
    )
    ready = [each for each in value.endpoints or () if each.conditions is None or each.conditions.ready is not False]
    stem = _stem(ready)
    return SliceFact(ports or _NO_PORTS, tuple(_facts(ready, len(stem))), cluster, stem)


def _stem(endpoints: Sequence[Endpoint]) -> str:
    """Return what the names of all Pods begin with, up to a dash: names of a ReplicaSet's Pods differ after the last one only."""
    names = [each.target_ref.name or "" if each.target_ref is not None else "" for each in endpoints]
    stem = names[0][: names[0].rfind("-") + 1] if len(names) > 1 else ""
    return stem if stem and all(each.startswith(stem) for each in names) else ""


def _facts(endpoints: Iterable[Endpoint], stem: int) -> Iterator[EndpointFact]:
    for endpoint in endpoints:
        target = endpoint.target_ref.name if endpoint.target_ref is not None else None
        hostname = endpoint.hostname or ""
        if hostname and len(hostname.encode()) > 63:
            hostname = ""
        for text in endpoint.addresses or ():
            if (address := packed(text)) is not None:
                yield EndpointFact(address, hostname, target[stem:] if target else "", endpoint.zone or "")


def pod_fact(pod: Pod) -> PodFact | None:
    """Return the fact of a Pod that has not ended (POD-05)."""
    status = pod.status
    if status.phase in ("Succeeded", "Failed", "Unknown") or not status.pod_ip:
        return None
    texts = [each.ip for each in status.pod_ips or ()] or [status.pod_ip]
    own = () if pod.spec.host_network else tuple(address for text in texts if (address := packed(text)) is not None)
    return PodFact(pod.metadata.namespace, pod.metadata.name, status.pod_ip, own)
