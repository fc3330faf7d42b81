"""What passed per Service port and per endpoint, as the mode's kernel counts it, and how evenly it is spread. Pure.

Modes count differently: IPVS counts connections, packets and bytes both ways per real server; iptables counts, at the rule that picks the
endpoint, the first packet of each connection, so connections only. A number that a mode does not have is None, never 0. Skew is the busiest
endpoint's share over the fair one: 1.0 is even, 3.0 means one endpoint gets three times what it should (pain 84).
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from pointsman.dataplane.traffic import Passed
from pointsman.routing.route import FrontendKind, Routing


class Row(Struct, frozen=True, rename="camel"):
    """A Service port, or one endpoint of it (`endpoint` not empty)."""

    service: str
    protocol: str
    endpoint: str
    pod: str
    connections: int
    packets_in: int | None = None
    bytes_in: int | None = None
    packets_out: int | None = None
    bytes_out: int | None = None
    skew: float | None = None


NODE_PORT = "any address of this node"
_NUMBERS = ("connections", "packets_in", "bytes_in", "packets_out", "bytes_out")


def rows(passed: Iterable[Passed], routing: Routing) -> tuple[Row, ...]:
    """Return a row per Service port with its endpoints below, the busiest first; what belongs to no Service port is left out."""
    names = _names(routing)
    pods = {(one.address, one.port): one.pod for route in routing.routes.values() for one in route.reachable}
    wanted: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for route in routing.routes.values():
        key = (str(route.port_name), route.protocol.value)
        wanted.setdefault(key, set()).update((one.address, one.port) for one in route.reachable)
    sums: dict[tuple[str, str], dict[tuple[str, int], Row]] = {}
    for one in passed:
        at = (one.protocol, one.address, one.port)
        service = one.subject or names.get(at) or names.get((one.protocol, NODE_PORT, one.port), "")
        if service:
            place = (one.endpoint, one.endpoint_port)
            ends = sums.setdefault((service, one.protocol), {})
            ends[place] = _plus(ends.get(place), one, service, pods.get(place, ""))
    found: list[Row] = []
    for (service, protocol), ends in sorted(sums.items(), key=lambda item: (-_connections(item[1]), item[0])):
        found.append(_total(service, protocol, ends, len(wanted.get((service, protocol), ends) | ends.keys())))
        found += sorted(ends.values(), key=lambda row: (-row.connections, row.endpoint))
    return tuple(found)


def rates(before: Iterable[Row], after: Iterable[Row], seconds: float) -> tuple[Row, ...]:
    """Return what passed per second between two readings; a counter that began anew counts from 0."""
    old = {(row.service, row.protocol, row.endpoint): row for row in before}
    return tuple(_rate(old.get((row.service, row.protocol, row.endpoint)), row, seconds) for row in after)


def _names(routing: Routing) -> Mapping[tuple[str, str, int], str]:
    found: dict[tuple[str, str, int], str] = {}
    for route in routing.routes.values():
        for frontend in route.frontends():
            address = NODE_PORT if frontend.kind is FrontendKind.NODE_PORT else frontend.address
            found[frontend.protocol.value, address, frontend.port] = str(route.port_name)
    return found


def _connections(ends: Mapping[tuple[str, int], Row]) -> int:
    return sum(row.connections for row in ends.values())


def _plus(row: Row | None, one: Passed, service: str, pod: str) -> Row:
    place = f"[{one.endpoint}]:{one.endpoint_port}" if ":" in one.endpoint else f"{one.endpoint}:{one.endpoint_port}"
    numbers = {name: _add(getattr(row, name) if row else None, getattr(one, name)) for name in _NUMBERS}
    return Row(service, one.protocol, place, pod, numbers.pop("connections") or 0, **numbers)


def _add(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else first + second


def _total(service: str, protocol: str, ends: Mapping[tuple[str, int], Row], count: int) -> Row:
    numbers: dict[str, int | None] = {}
    for name in _NUMBERS:
        known = [value for row in ends.values() if (value := getattr(row, name)) is not None]
        numbers[name] = sum(known) if known else None
    connections = numbers.pop("connections") or 0
    busiest = max((row.connections for row in ends.values()), default=0)
    return Row(service, protocol, "", "", connections, **numbers, skew=round(busiest * count / connections, 2) if connections else None)


def _rate(before: Row | None, after: Row, seconds: float) -> Row:
    def per_second(name: str) -> int | None:
        now, then = getattr(after, name), getattr(before, name, None) or 0
        return None if now is None else round((now - then if now >= then else now) / seconds)

    numbers = {name: per_second(name) for name in _NUMBERS}
    connections = numbers.pop("connections") or 0
    return Row(after.service, after.protocol, after.endpoint, after.pod, connections, **numbers, skew=after.skew)
