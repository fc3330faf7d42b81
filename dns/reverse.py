"""Addresses to names: whose PTR records an address has (PTR-01 to PTR-09).

A Service's own address gives its name alone; otherwise every ready endpoint with that address gives one, so a Pod behind three Services has
three. Names point into the primary zone whatever zone was asked (PTR-06).
"""

from collections.abc import Hashable

from pointsman.dns.catalog import Catalog
from pointsman.dns.entries import Rules, endpoint_name
from pointsman.dns.names import address_of, join
from pointsman.dns.owners import number


def targets(
    key: bytes, catalog: Catalog, primary: bytes, rules: Rules, namespaces: frozenset[bytes]
) -> tuple[tuple[bytes, ...], Hashable] | None:
    """Return the wire names that a reverse name (lower case) points to, and the tag they rest on; None for a partial name."""
    address = address_of(key)
    if address is None:
        return None
    tag = number(address)
    below = b"\x03svc" + primary
    for owner in catalog.virtual.of(tag):
        if not namespaces or _namespace(owner) in namespaces:
            return (owner + below,), tag
    if not rules.endpoints:
        return (), tag
    names: dict[bytes, None] = {}
    for owner in catalog.endpoints.of(tag):
        fact = catalog.services.get(owner)
        if fact is None or (namespaces and _namespace(owner) not in namespaces):
            continue
        for endpoint in fact.endpoints:
            if endpoint.address == address:
                names[join((endpoint_name(endpoint, pod_names=rules.pod_names).encode(),), owner + below)] = None
    return tuple(names), tag


def _namespace(owner: bytes) -> bytes:
    """Return the second of a key's two labels."""
    return owner[1 + owner[0] :]
