"""EndpointSlices → the endpoints of each Service port in one family (IN-30 to IN-40).

A Service's endpoints are the union over its slices; a Service port's are those whose slice port has its name and protocol (IN-34). What
cannot be used (an address that is none, a port out of range) loses itself only and leaves a Notice. An endpoint that is named twice, as
happens while it moves between slices or when its IP was taken over from a terminating pod, counts once (IN-39).

`selection` chooses among the result, `exclusion` explains it. The values live only as long as one Service is being routed; what remains
of them are the Backends that were chosen. This is the innermost loop of the program: 100,000 endpoints at start.
"""

from collections.abc import Iterator, Mapping, Sequence
from sys import intern

from msgspec import Struct
from pointsman.kube.objects import Endpoint, EndpointSlice, Hint
from pointsman.routing.addresses import ORDINARY, family_of, parse_address, special
from pointsman.routing.notices import Notes
from pointsman.routing.route import Backend, Family, Notice, Protocol
from pointsman.routing.weights import EVEN, Weights

MAX_PORT = 65535
PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
"""Protocols by their API names."""

_ADDRESS_TYPES = frozenset({"IPv4", "IPv6", "FQDN"})

SlicePort = tuple[str, str]
"""Name (empty if unnamed) and protocol of a slice's port: what it is matched by (IN-34)."""


class PortEndpoint(Struct, frozen=True, gc=False):
    """An endpoint of one Service port with the facts that selection needs; names are the hints' (IN-38)."""

    backend: Backend
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class ServiceEndpoints(Struct, frozen=True, gc=False):
    """All endpoints of a Service in one family, by slice port; each list is sorted by `ip:port`, bytewise (IN-40)."""

    by_port: Mapping[SlicePort, Sequence[PortEndpoint]]
    notices: tuple[Notice, ...] = ()

    def of(self, name: str, protocol: Protocol) -> Sequence[PortEndpoint]:
        """Return the endpoints of the Service port of this name and protocol."""
        return self.by_port.get((name, protocol.value), ())


NO_ENDPOINTS = ServiceEndpoints({})


def service_endpoints(
    slices: Mapping[str, EndpointSlice], family: Family, node: str, weights: Weights = EVEN
) -> ServiceEndpoints:
    """Return the endpoints that a Service's slices (by name) give in a family, as seen from a node."""
    found: dict[SlicePort, dict[str, PortEndpoint]] = {}
    notices: list[Notice] = []
    disputes: list[_Dispute] = []
    for name in sorted(slices):
        one = slices[name]
        if not is_routed(one) or one.address_type != family.value:
            continue
        notes = Notes(f"EndpointSlice {one.metadata.namespace}/{name}")
        ports = _ports(one, notes)
        if ports:
            _collect(one, _Reader(family, node, notes, weights), ports, found, disputes)
        notices += notes.notices()
    if not found:
        return ServiceEndpoints({}, tuple(notices)) if notices else NO_ENDPOINTS
    if disputes:
        notices += _report(disputes, slices)
    return ServiceEndpoints({port: [by_text[text] for text in sorted(by_text)] for port, by_text in found.items()}, tuple(notices))


def unknown_types(slices: Mapping[str, EndpointSlice]) -> list[Notice]:
    """Tell of slices whose addressType is none that the API knows: they serve no family (IN-30)."""
    notices: list[Notice] = []
    for name, one in slices.items():
        if one.address_type not in _ADDRESS_TYPES and is_routed(one):
            notes = Notes(f"EndpointSlice {one.metadata.namespace}/{name}")
            what = f"{one.address_type!r} is not known" if one.address_type else "is missing"
            notes.refuse("addressType", f"{what}, so none of the endpoints is used; write IPv4 or IPv6")
            notices += notes.notices()
    return notices


def is_routed(value: EndpointSlice) -> bool:
    """Return whether a slice is for service proxies (IN-02): it has no headless label, whatever the label's value."""
    labels = value.metadata.labels
    return labels is None or labels.headless is None


class _Reader(Struct):
    """What reading a slice's endpoints needs to know."""

    family: Family
    node: str
    notes: Notes
    weights: Weights

    def address(self, text: str, index: int) -> str:
        """Return the normalised address of the endpoint at this place, empty if it cannot be used (IN-18)."""
        address = parse_address(text)
        if address is None:
            why = f"{text!r} is not an IP address"
        elif family_of(address) is not self.family:
            why = f"{text} is not an {self.family.value} address as addressType says"
        elif kind := special(address):
            why = f"{text} is a {kind} address, at which no endpoint can be reached"
        else:
            return address
        self.notes.refuse(f"endpoints[{index}].addresses[0]", f"{why}; the endpoint is not used")
        return ""


class _Dispute(Struct, frozen=True, gc=False):
    """A later slice says something else of an endpoint than an earlier one."""

    text: str
    address: str
    slice_name: str
    index: int
    facts: str
    later_wins: bool


def _ports(one: EndpointSlice, notes: Notes) -> list[tuple[SlicePort, int]]:
    """Return the slice's usable ports with their numbers (IN-33)."""
    usable = []
    for index, port in enumerate(one.ports or ()):
        if port.name is None or not port.port:
            continue
        protocol = port.protocol or Protocol.TCP.value
        if protocol not in PROTOCOLS:
            notes.refuse(f"ports[{index}].protocol", f"{protocol!r} is not TCP, UDP or SCTP; the port is not used")
        elif not 0 < port.port <= MAX_PORT:
            notes.refuse(f"ports[{index}].port", f"{port.port} is not a port (1 to {MAX_PORT}); the port is not used")
        else:
            usable.append(((port.name, protocol), port.port))
    return usable


def _collect(
    one: EndpointSlice,
    reader: _Reader,
    ports: list[tuple[SlicePort, int]],
    found: dict[SlicePort, dict[str, PortEndpoint]],
    disputes: list[_Dispute],
) -> None:
    """Add a slice's endpoints to what earlier slices gave."""
    targets = [(found.setdefault(port, {}), number) for port, number in ports]
    wrap, is_ordinary = reader.family is Family.IPV6, ORDINARY[reader.family]
    labels, weights = one.metadata.labels, reader.weights
    share = (labels.share or "") if labels is not None else ""
    for index, endpoint in enumerate(one.endpoints or ()):
        if not endpoint.addresses:
            continue  # IN-35
        address = endpoint.addresses[0]
        if not is_ordinary(address):
            address = reader.address(address, index)
            if not address:
                continue
        weight = 1 if weights is EVEN else weights.of(share, endpoint.node_name or "", endpoint.zone or "")
        for by_text, number in targets:
            text = f"[{address}]:{number}" if wrap else f"{address}:{number}"
            new = _endpoint(endpoint, address, number, reader.node, weight)
            old = by_text.get(text)
            if old is None:
                by_text[text] = new
            elif old != new:
                later_wins = _replaces(new, old)
                if not (old.terminating or new.terminating):
                    disputes.append(_Dispute(text, address, one.metadata.name, index, ", ".join(_differences(old, new)), later_wins))
                if later_wins:
                    by_text[text] = new


def _endpoint(endpoint: Endpoint, address: str, port: int, node: str, weight: int) -> PortEndpoint:
    """Return an endpoint's facts for one port (IN-36 to IN-38)."""
    on = endpoint.node_name or ""
    local = on != "" and on == node
    target = endpoint.target_ref
    pod = (target.name or "") if target is not None and target.kind == "Pod" else ""
    backend = Backend(address, port, local, local or not on, pod, intern(on), intern(endpoint.zone or ""), weight)
    conditions, hints = endpoint.conditions, endpoint.hints
    if hints is None and conditions is None:
        return PortEndpoint(backend)
    ready = conditions is None or conditions.ready is not False
    serving = conditions is None or conditions.serving is not False
    terminating = conditions is not None and conditions.terminating is True
    if hints is None:
        return PortEndpoint(backend, ready, serving, terminating)
    return PortEndpoint(backend, ready, serving, terminating, _names(hints.for_zones), _names(hints.for_nodes))


def _names(hints: tuple[Hint, ...] | None) -> tuple[str, ...]:
    return tuple(sorted({hint.name for hint in hints})) if hints else ()


def _replaces(new: PortEndpoint, old: PortEndpoint) -> bool:
    """Return whether the later of two duplicates is used (IN-39).

    A non-terminating one replaces a terminating one. Of two non-terminating ones the ready one is used, else the first.
    """
    return not new.terminating and (old.terminating or (new.ready and not old.ready))


def _differences(old: PortEndpoint, new: PortEndpoint) -> Iterator[str]:
    pairs = (
        ("ready", old.ready, new.ready),
        ("serving", old.serving, new.serving),
        ("nodeName", old.backend.node, new.backend.node),
        ("zone", old.backend.zone, new.backend.zone),
        ("targetRef", old.backend.pod, new.backend.pod),
        ("weight", old.backend.weight, new.backend.weight),
        ("hints.forZones", old.zones, new.zones),
        ("hints.forNodes", old.nodes, new.nodes),
    )
    return (name for name, before, after in pairs if before != after)


def _report(disputes: Sequence[_Dispute], slices: Mapping[str, EndpointSlice]) -> Iterator[Notice]:
    """Tell of slices that contradict each other, naming both."""
    first: dict[str, str] = {}
    wanted = {dispute.address for dispute in disputes}
    for name in sorted(slices):
        for endpoint in slices[name].endpoints or ():
            address = parse_address(endpoint.addresses[0]) if endpoint.addresses else None
            if address in wanted:
                first.setdefault(address, name)
    for dispute in disputes:
        earlier = first[dispute.address]
        used = dispute.slice_name if dispute.later_wins else earlier
        notes = Notes(f"EndpointSlice {slices[dispute.slice_name].metadata.namespace}/{dispute.slice_name}")
        notes.suspect(
            f"endpoints[{dispute.index}]",
            f"{dispute.text} is also in EndpointSlice {earlier} with another {dispute.facts}; what {used} says is used;"
            " remove the endpoint from the slice that is out of date",
        )
        yield from notes.notices()
