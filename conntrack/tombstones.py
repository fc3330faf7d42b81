"""Frontends that were served and are no more, and endpoints that left: remembered until the flows that they left behind are gone. Pure.

A flow names addresses only. When a Service is deleted, nothing in the cluster says any more that 10.96.0.9:53 was one; when an endpoint
leaves, nothing says whose its address was. So both are noted when the routing changes: a *tombstone* for each frontend of a protocol
without connections (pain 7), a name for each endpoint (pain 83). A tombstone goes when its frontend is served again, or with the first look
at the kernel, some time after, that leaves no flow of it. It tells of endpoints too: what goes elsewhere, and what begins later, was
translated by somebody else, for our rules are gone. A Service that another proxy serves now has none: what it left behind is that proxy's.

What is served now is kept in writing as well: a Service that is deleted while no agent runs is then missed by the next one. `Notebook` is
that writing, for a file beside the status socket, whose life ends with the kernel's, as that of flows does. The times are seconds since the
epoch. `reconcile` asks, the daemon feeds and writes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.routing.route import Family, Protocol, RouteKey, ServiceRoute

REMEMBERED: Final = frozenset({Protocol.UDP, Protocol.SCTP})
"""Protocols whose flows do not end by themselves when the Service is deleted."""

REST_SECONDS: Final = 30.0
"""A tombstone stays for so long at least: a packet that was on its way is no flow yet."""

ROOM: Final = 10_000
"""So many endpoints that left are remembered; the oldest are forgotten first."""


class Served(Struct, frozen=True, gc=False, order=True):
    """A frontend; the address is empty for a node port."""

    family: Family
    protocol: Protocol
    address: str
    port: int


class Tombstone(Struct, frozen=True, gc=False):
    """Whose a frontend was, `namespace/name:port`, when it went, and to which endpoints it led (None = nobody knows)."""

    service: str
    since: float
    ends: frozenset[tuple[str, int]] | None = None


class Departed(Struct, frozen=True, gc=False):
    """Who was at an endpoint of a Service port (a pod's name, empty if nobody said), and when it left."""

    pod: str
    since: float


class Entry(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A frontend in writing; `gone` is when it went, 0 while it is served; `ends` are a tombstone's, and None while it is served."""

    family: Family
    protocol: Protocol
    address: str
    port: int
    service: str
    gone: float = 0.0
    ends: tuple[tuple[str, int], ...] | None = None


class Notebook(Struct, frozen=True, rename="camel"):
    """What outlives an agent: whose node it is of, and its frontends."""

    node: str
    frontends: tuple[Entry, ...] = ()


EMPTY: Final = Notebook("")


class Tombstones:
    """The frontends that are served, those that were, and who left."""

    def __init__(self) -> None:
        self.revision = 0
        self._served: dict[Served, str] = {}
        self._gone: dict[Served, Tombstone] = {}
        self._departed: dict[tuple[str, str, int], Departed] = {}

    def inherit(self, notebook: Notebook, now: float) -> int:
        """Take over what an earlier agent served and this one does not; return how many that are. First let it be known what is served."""
        before = len(self._gone)
        for entry in notebook.frontends:
            one = Served(entry.family, entry.protocol, entry.address, entry.port)
            if one not in self._served:
                ends = frozenset(entry.ends) if entry.ends is not None else None
                self._gone.setdefault(one, Tombstone(entry.service, min(entry.gone or now, now), ends))
        self.revision += 1
        return len(self._gone) - before

    def follow(self, before: Mapping[RouteKey, ServiceRoute], changed: Mapping[RouteKey, ServiceRoute | None], now: float) -> None:
        """Take note of a change from these routes."""
        moved = []
        for key, after in changed.items():
            former = before.get(key)
            if _followed(former) or _followed(after):
                self._note_endpoints(former, after, now)
            if key.port_name.protocol in REMEMBERED and (former is None or after is None or not same_frontends(former, after)):
                moved.append(after)
                ends = frozenset((one.address, one.port) for one in (*former.reachable, *former.lingering)) if former else None
                for one in _served(former) - _served(after):
                    self._bury(one, now, ends)
        for after in moved:  # afterwards, for a frontend may go from one Service to another
            if after is not None:
                for one in _served(after):
                    self._serve(one, str(after.port_name))

    def gone(self, family: Family, protocol: Protocol, address: str, port: int) -> Tombstone | None:
        """Return the tombstone of an address and port; None if it is served, or never was."""
        return self._gone.get(Served(family, protocol, address, port))

    def gone_node_port(self, family: Family, protocol: Protocol, port: int) -> Tombstone | None:
        """Return the tombstone of a node port."""
        return self._gone.get(Served(family, protocol, "", port))

    def remembered(self) -> Iterator[Served]:
        """Yield the frontends that have tombstones."""
        return iter(self._gone)

    def departed(self, service: str, address: str, port: int) -> Departed | None:
        """Return who left a Service port at an address and port; None if nobody is known to have."""
        return self._departed.get((service, address, port))

    def sighted(self, service: str, address: str, port: int, now: float) -> Departed:
        """Return who left a Service port at an address and port; if nobody saw that, it counts from now."""
        return self._departed.setdefault((service, address, port), Departed("", now))

    def led(self, stone: Tombstone, address: str, port: int) -> bool:
        """Return whether a frontend that is no more may have led to an address and port."""
        return stone.ends is None or (address, port) in stone.ends or (stone.service, address, port) in self._departed

    def services(self) -> frozenset[str]:
        """Return the Services, `namespace/name`, whose frontends have tombstones."""
        return frozenset(_service(stone) for stone in self._gone.values())

    def hand_over(self, services: Collection[str]) -> int:
        """Remove the tombstones of Services that another proxy serves now; return how many: their flows are no longer ours (IN-01)."""
        done = [one for one, stone in self._gone.items() if _service(stone) in services]
        for one in done:
            del self._gone[one]
        self.revision += len(done)
        return len(done)

    def forget(self, family: Family, protocol: Protocol, kept: Iterable[Served], looked: float) -> int:
        """Remove the tombstones that a look at the kernel left no flow of; return how many. `looked` is when it began."""
        spared = set(kept)
        done = [
            one
            for one, stone in self._gone.items()
            if one.family is family and one.protocol is protocol and one not in spared and looked - stone.since >= REST_SECONDS
        ]
        for one in done:
            del self._gone[one]
        self.revision += len(done)
        return len(done)

    def due(self, family: Family, looked: float) -> float | None:
        """Return when the next tombstone of a family may be removed by a look at the kernel; None if there is none.

        Those that the look that began at `looked` could have removed have no date: they wait for their flows to end.
        """
        dates = (stone.since + REST_SECONDS for one, stone in self._gone.items() if one.family is family)
        return min((date for date in dates if date > looked), default=None)

    def copy(self) -> "Tombstones":
        """Return what another thread may read while this one goes on."""
        other = Tombstones()
        other.revision = self.revision
        other._served, other._gone, other._departed = {}, dict(self._gone), dict(self._departed)
        return other

    def notebook(self, node: str) -> Notebook:
        """Return what to write down."""
        entries = [Entry(one.family, one.protocol, one.address, one.port, service) for one, service in self._served.items()]
        for one, stone in self._gone.items():
            ends = tuple(stone.ends) if stone.ends is not None else None
            entries.append(Entry(one.family, one.protocol, one.address, one.port, stone.service, stone.since, ends))
        return Notebook(node, tuple(entries))

    def __len__(self) -> int:
        return len(self._gone)

    def _bury(self, one: Served, now: float, ends: frozenset[tuple[str, int]] | None) -> None:
        service = self._served.pop(one, None)
        if service is not None:
            self._gone[one] = Tombstone(service, now, ends)
            self.revision += 1

    def _serve(self, one: Served, service: str) -> None:
        if self._served.get(one) != service:
            self._served[one] = service
            self.revision += 1
        self._gone.pop(one, None)

    def _note_endpoints(self, former: ServiceRoute | None, after: ServiceRoute | None, now: float) -> None:
        if former is None and not self._departed:
            return
        present = {(one.address, one.port) for one in (*after.reachable, *after.lingering)} if after is not None else set()
        for one in (*former.reachable, *former.lingering) if former is not None else ():
            if (one.address, one.port) not in present and former is not None:
                place = (str(former.port_name), one.address, one.port)
                self._departed.pop(place, None)
                self._departed[place] = Departed(one.pod, now)
        if after is not None and self._departed:
            for address, port in present:
                self._departed.pop((str(after.port_name), address, port), None)
        while len(self._departed) > ROOM:
            del self._departed[next(iter(self._departed))]


def same_frontends(one: ServiceRoute, other: ServiceRoute) -> bool:
    """Return whether two routes of a Service port have the same frontends."""
    return (
        one.cluster_ip == other.cluster_ip
        and one.port == other.port
        and one.node_port == other.node_port
        and one.external_ips == other.external_ips
        and one.load_balancer_ips == other.load_balancer_ips
    )


def _followed(route: ServiceRoute | None) -> bool:
    """Return whether flows of a route may have to be deleted when an endpoint leaves."""
    return route is not None and (route.protocol in REMEMBERED or route.reset_after is not None)


def _service(stone: Tombstone) -> str:
    return stone.service.partition(":")[0]


def _served(route: ServiceRoute | None) -> set[Served]:
    if route is None:
        return set()
    return {Served(route.family, one.protocol, one.address, one.port) for one in route.frontends()}
