"""A laboratory: a small cluster of network namespaces on this machine, with servers and probes, for the contract tests and the demo.

    async with Laboratory(Topology(nodes=2, pods_per_node=3)) as lab:
        process = lab.command("n1", "pointsman", "run", ...)          # a command line for inside a node
        result = await lab.probe("n1p1", "10.96.0.10", 80, Protocol.TCP)
        result.ending, result.backend, result.seen_source             # ANSWERED, "n2p1", "10.244.1.11"

Nothing of the host is changed: namespaces with unique names are made, sysctls are written inside them only, and everything is removed on
the way out, also after an error or an interrupt; `leftovers` then says what could not be removed. `lab_topology` is the map,
`lab_namespace` the kernel work, `lab_servers` answers, `lab_probe` asks. Needs root.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from itertools import count
from types import TracebackType
from typing import Self, TypeVar

from pointsman.proxy.demo.lab_namespace import LabError, Namespaces
from pointsman.proxy.demo.lab_probe import Ending, Result, Station
from pointsman.proxy.demo.lab_servers import Servers
from pointsman.proxy.demo.lab_stream import Stream
from pointsman.proxy.demo.lab_topology import UNDERLAY, Place, PlaceKind, Topology
from pointsman.routing.route import Family, Protocol

T = TypeVar("T")
POD_PORT = 8080
"""The port on which every pod answers, over each protocol, from the start."""
_SERIAL = count(1)
_EVERYWHERE = {
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/icmp_ratelimit": "0",         # every refusal must be told
    "net/ipv4/icmp_msgs_per_sec": "1000000",
    "net/ipv4/icmp_msgs_burst": "1000000",
    "net/ipv6/icmp/ratelimit": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/core/somaxconn": "4096",
}
_NEIGHBOURS = {  # a busy machine is slow to answer who has an address: no packet is lost by that, and nobody asks again
    f"net/{version}/neigh/*/{name}": value
    for version in ("ipv4", "ipv6")
    for name, value in (
        ("unres_qlen_bytes", str(8 << 20)), ("base_reachable_time_ms", "3600000"), ("mcast_solicit", "60"), ("ucast_solicit", "60"),
    )
}  # fmt: skip
_ELSEWHERE = {"net/ipv4/ip_nonlocal_bind": "1", "net/ipv6/ip_nonlocal_bind": "1"}
_ON_NODES = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}


class Laboratory:
    """The cluster, from `async with` until its end."""

    def __init__(self, topology: Topology, *, serve: bool = True) -> None:
        self.topology = topology
        self.scope = f"pointsman-{os.getpid()}-{next(_SERIAL)}"
        self.leftovers: tuple[str, ...] = ()
        self._serve = serve
        self._namespaces = Namespaces(self.scope)
        self._stations: dict[str, Station] = {}
        self._streams: set[Stream] = set()
        self._servers: Servers | None = None

    async def __aenter__(self) -> Self:
        """Build everything; what was built is removed again if something fails. Raises LabError."""
        if os.geteuid() != 0:
            raise LabError("network namespaces need root: run this as root")
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    @property
    def servers(self) -> Servers:
        """Return what answers; `serve` on it opens further ports."""
        if self._servers is None:
            raise LabError("the laboratory is not open")
        return self._servers

    def place(self, name: str) -> Place:
        """Return a place by name."""
        return self.topology.places[name]

    def command(self, place: str, *arguments: str) -> list[str]:
        """Return a command line that runs a program at a place."""
        return self._namespaces.command(place, *arguments)

    def configure(self, place: str, text: str) -> None:
        """Run `ip -batch` text at a place, such as `addr add 203.0.113.5/32 dev lo`. Raises LabError."""
        self._namespaces.batch(place, text)

    def sysctl(self, place: str, settings: Mapping[str, str]) -> None:
        """Write sysctls (`net/ipv4/ip_forward`) of a place."""
        self._namespaces.sysctl(place, settings)

    def inside(self, place: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, run at a place; it must be quick."""
        return self._namespaces.inside(place, work)

    def socket(self, place: str, family: Family, kind: int) -> socket.socket:
        """Return a non-blocking socket (SOCK_STREAM or SOCK_DGRAM) that lives at a place; the caller closes it."""
        return self._namespaces.take(place, socket.AF_INET if family is Family.IPV4 else socket.AF_INET6, kind)

    async def probe(
        self,
        place: str,
        destination: str,
        port: int,
        protocol: Protocol,
        *,
        source_address: str | None = None,
        timeout_seconds: float = 60.0,
    ) -> Result:
        """Open one new connection from a place and return what became of it."""
        station = self._stations.get(place)
        if station is None:
            station = self._stations[place] = Station(self._namespaces, place)
        return await station.probe(destination, port, protocol, source_address, timeout_seconds)

    async def stream(self, place: str, destination: str, port: int, source_address: str | None = None) -> Stream:
        """Return an established TCP connection from a place that keeps exchanging. Raises OSError if it cannot be established."""
        stream = Stream(self._namespaces, place, source_address or "")
        self._streams.add(stream)
        await stream.open(destination, port)
        return stream

    async def last_hit(
        self, place: str, destination: str, port: int, protocol: Protocol, backend: str, *, quiet: int = 60, limit_seconds: float = 10.0
    ) -> float | None:
        """Open new connections one after the other until `quiet` in a row met other backends; return when `backend` was last met.

        The time is in seconds from the call, 0 if it was never met, None if it was still met when the limit ran out. A connection that is
        not answered does not count as another backend.
        """
        clock = asyncio.get_running_loop().time
        began, last, others = clock(), 0.0, 0
        while others < quiet:
            asked = clock() - began
            if asked > limit_seconds:
                return None
            result = await self.probe(place, destination, port, protocol, timeout_seconds=1.0)
            if result.backend == backend:
                last, others = asked, 0
            elif result.ending is Ending.ANSWERED:
                others += 1
        return last

    def _build(self) -> None:
        places = self.topology.places
        self._namespaces.create([UNDERLAY, *places])
        for name in (UNDERLAY, *places):
            self._namespaces.sysctl(name, _EVERYWHERE)
        for node in self.topology.node_names:
            self._namespaces.sysctl(node, _ON_NODES)
        self._namespaces.sysctl("elsewhere", _ELSEWHERE)
        self._namespaces.batches(self.topology.batches(self.scope))
        for name in places:
            self._namespaces.sysctl(name, _NEIGHBOURS)
        self._servers = Servers(self._namespaces)
        if self._serve:
            for place in places.values():
                if place.kind is PlaceKind.POD:
                    for protocol in Protocol:
                        self._servers.serve(place.name, protocol, POD_PORT)

    def _remove(self) -> None:
        for stream in self._streams:
            stream.close()
        for station in self._stations.values():
            station.close()
        if self._servers is not None:
            self._servers.close()
        self.leftovers = self._namespaces.remove()
