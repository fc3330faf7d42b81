"""The records of a cluster zone itself: SOA, and who its name servers are (REC-90 to REC-98).

Name servers are the Services through which this server is reached: those that have one of its addresses as their cluster IP (a node-local
resolver listens on the kube-dns Service's) or a ready endpoint with it (a resolver in a Pod). Where there is none, it is `ns.dns` of the
zone with the server's own addresses.
"""

from pointsman.dns.catalog import Catalog
from pointsman.dns.entries import endpoint_name
from pointsman.dns.facts import HEADLESS
from pointsman.dns.names import NotANameError, join, wire
from pointsman.dns.owners import number
from pointsman.dns.reply import Record

SOA = 6
_TIMES = (7200).to_bytes(4, "big") + (1800).to_bytes(4, "big") + (86400).to_bytes(4, "big")
_LOOPBACKS = (bytes(15) + b"\x01",)


def soa(zone: bytes, ttl: int, serial: int) -> Record:
    """Return the SOA record of a zone; its TTL is what a client keeps a denial for (REC-90, REC-91)."""
    names = join((b"ns", b"dns"), zone) + join((b"hostmaster",), zone)
    return Record(zone, SOA, min(ttl, 300), names + (serial & 0xFFFFFFFF).to_bytes(4, "big") + _TIMES + ttl.to_bytes(4, "big"))


def name_servers(catalog: Catalog, local: tuple[bytes, ...], zone: bytes, *, pod_names: bool = False) -> dict[bytes, list[bytes]]:
    """Return the wire names of the zone's servers with their packed addresses; none if the server has no address of its own."""
    own = [address for address in local if address[:1] != b"\x7f" and address not in _LOOPBACKS]
    found: dict[bytes, list[bytes]] = {}
    below = join((b"svc",), zone)
    keys = {owner: None for address in own for index in (catalog.virtual, catalog.endpoints) for owner in index.of(number(address))}
    for key in keys:
        fact = catalog.services.get(key)
        if fact is None:
            continue
        if fact.kind != HEADLESS:
            if fact.addresses:
                found[key + below] = list(fact.addresses)
            continue
        for endpoint in fact.endpoints:
            found.setdefault(join((endpoint_name(endpoint, pod_names=pod_names).encode(),), key + below), []).append(endpoint.address)
    if not found and own:
        found[join((b"ns", b"dns"), zone)] = own
    return found


def external_target(text: str) -> bytes | None:
    """Return the absolute wire name that an ExternalName gives, None if it cannot be one (REC-60)."""
    try:
        return wire(text)
    except NotANameError:
        return None
