"""The entry list of a Service's name: what stands behind it, before anybody asks for a type (REC-40).

Whether a name exists is decided here: no entries, no name. The rules are CoreDNS's, quirks that clients can see included (REC-41): a
Service without endpoints still has its cluster IP, a headless one without is not there, and endpoint names work for every kind of Service.
`resolve` parses names down to a `Wanted` and makes records of the entries.
"""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from msgspec import Struct, structs
from pointsman.dns.facts import ABSENT, CLUSTER, EXTERNAL, HEADLESS, EndpointFact, PortFact, ServiceFact, SliceFact


class Wanted(Struct, frozen=True, gc=False):
    """What stands left of a Service in a name, in lower case: an endpoint (and its cluster), or a port and its protocol, or neither.

    `zone` and `directive` are those of the zonal grammar (EXT-02): prefer or pin.
    """

    endpoint: str = ""
    cluster: str = ""
    port: str = ""
    protocol: str = ""
    zone: str = ""
    directive: str = ""


class Entry(Struct, frozen=True, gc=False):
    """An address with a port; `host` are the labels in front of the Service's in the target of SRV (none for a cluster IP)."""

    address: bytes
    port: int
    host: tuple[str, ...] = ()


class Found(Struct, frozen=True, gc=False):
    """What there is: entries, or the external name, or nothing; `exists` without entries is a name without records."""

    entries: tuple[Entry, ...] = ()
    external: str = ""
    exists: bool = False


NOTHING = Found()


class Rules(Struct, frozen=True, gc=False):
    """How a kubernetes directive wants entries to be made."""

    pod_names: bool = False
    ignore_empty: bool = False
    endpoints: bool = True
    zonal: bool = False


def entries(fact: ServiceFact | None, wanted: Wanted, rules: Rules) -> Found:
    """Return what stands behind a Service's name."""
    if fact is None or fact.kind == ABSENT:
        return NOTHING
    slices = fact.slices if rules.endpoints or fact.imported else ()
    if rules.ignore_empty and fact.kind == CLUSTER and not any(each.endpoints for each in slices):
        return NOTHING
    if fact.kind == EXTERNAL:
        return NOTHING if wanted != Wanted() else _external(fact.external_name)
    if wanted.directive:
        return _zonal(fact, wanted, rules) if fact.kind == HEADLESS else NOTHING
    if fact.kind == HEADLESS or wanted.endpoint:
        return _found(_endpoints(fact, slices, wanted, rules))
    ports = [port for port in fact.ports if _matches(port, wanted)]
    found = tuple(Entry(address, port.port) for port in ports for address in fact.addresses)
    return Found(found, exists=bool(found) or (fact.imported and bool(ports)))  # an import may wait for its address


def endpoint_name(endpoint: EndpointFact, *, pod_names: bool = False) -> str:
    """Return the one name of an endpoint below its Service (REC-50, REC-51)."""
    if endpoint.hostname:
        return endpoint.hostname
    if pod_names and endpoint.target and len(endpoint.target) <= 63:
        return endpoint.target
    text = str(ip_address(endpoint.address))
    if len(endpoint.address) == 4:
        return text.replace(".", "-")
    dashed = text.replace(":", "-")
    return f"{dashed}0" if dashed.endswith("-") else dashed


def decoded_address(label: str) -> bytes | None:
    """Return the packed address that a Pod's label stands for (POD-02)."""
    if "%" in label:  # a zone index, which Python would read: no Pod has such an address
        return None
    try:
        address = ip_address(pod_text(label))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


def pod_text(label: str) -> str:
    """Return the text of the address that a Pod's label stands for, as it is compared with the object's (POD-04)."""
    return label.replace("-", ".") if label.count("-") == 3 and "--" not in label else label.replace("-", ":")


def _external(name: str) -> Found:
    try:
        ip_address(name)
    except ValueError:
        return Found(external=name, exists=True) if name else NOTHING
    return NOTHING


def _endpoints(fact: ServiceFact, slices: tuple[SliceFact, ...], wanted: Wanted, rules: Rules) -> Iterator[Entry]:
    for each in slices:
        if fact.imported and wanted.endpoint and each.cluster.lower() != wanted.cluster:
            continue
        ports = [port for port in each.ports if _matches(port, wanted)]
        if not ports:
            continue
        source = tuple(filter(None, each.cluster.split(".")))
        for endpoint in each.named if rules.pod_names else each.endpoints:
            name = endpoint_name(endpoint, pod_names=rules.pod_names)
            if wanted.endpoint and name.lower() != wanted.endpoint:
                continue
            host = (name, *source)
            for port in ports:
                yield Entry(endpoint.address, port.port, host)


def _zonal(fact: ServiceFact, wanted: Wanted, rules: Rules) -> Found:
    """Return the endpoints of a zone: those only (pin), or all if there are none (prefer)."""
    if not rules.zonal or fact.imported:
        return NOTHING
    every = tuple(_endpoints(fact, fact.slices, Wanted(), rules))
    if not every:
        return NOTHING
    near = tuple(
        structs.replace(each, endpoints=tuple(one for one in each.endpoints if one.zone and one.zone.lower() == wanted.zone))
        for each in fact.slices
    )
    found = tuple(_endpoints(fact, near, Wanted(), rules))
    return Found(found or every if wanted.directive == "prefer" else found, exists=True)


def _matches(port: PortFact, wanted: Wanted) -> bool:
    """Return whether the port is asked for; a label that is not there, or only an underscore, asks for any."""
    return wanted.port in ("", port.name.lower()) and wanted.protocol in ("", port.protocol.lower())


def _found(found: Iterator[Entry]) -> Found:
    all_of_them = tuple(found)
    return Found(all_of_them, exists=bool(all_of_them))
