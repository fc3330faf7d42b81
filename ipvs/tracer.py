"""What the ipvs mode's kernel does to a packet: companion rules and sets, and the virtual server that takes it. Pure.

The walk through rules is the iptables mode's (`iptables.passage`); at IPVS's hook the packet meets virtual servers, those by mark first. A
real server's share is its weight; a virtual server without real servers lets nothing pass. Addresses of our device are this node's, so
that packets for Services are delivered to where IPVS sees them.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, structs
from pointsman.dataplane.trace import Evidence, Trace
from pointsman.iptables.matching import Flight, Place
from pointsman.iptables.passage import Passage
from pointsman.iptables.ruleset import Ruleset
from pointsman.iptables.setlist import SavedSet
from pointsman.iptables.walk import Walk, doubting_mark
from pointsman.ipvs import names
from pointsman.ipvs.answers import Real, Virtual
from pointsman.ipvs.objects import Forwarding, VirtualKey, endpoint
from pointsman.routing.packet import Packet
from pointsman.routing.route import Family, Protocol


class ServerReading(Struct, frozen=True):
    """Virtual servers with their real servers, as they were read; and the addresses on our device."""

    servers: Mapping[VirtualKey, tuple[Virtual, tuple[Real, ...]]]
    addresses: frozenset[str]


class IpvsTracer:
    """One family's kernel at one moment."""

    def __init__(
        self,
        rulesets: Iterable[Ruleset],
        sets: Mapping[str, SavedSet],
        reading: ServerReading,
        local: Iterable[str],
        leads: Mapping[str, str] | None = None,
    ) -> None:
        """Take what was read; `local` are this node's own addresses, without those of our device."""
        self._servers = reading.servers
        place = Place(frozenset(local) | reading.addresses, sets)
        self._passage = Passage(Walk(rulesets, place, is_ours), leads or {}, self._schedule)

    def trace(self, packet: Packet) -> Trace:
        """See `Tracer`."""
        return self._passage.trace(packet)

    def _schedule(self, flight: Flight) -> list[Flight]:
        family = Family.IPV6 if ":" in flight.destination else Family.IPV4
        if flight.hazy and any(key.mark and not (key.mark ^ flight.mark) & ~flight.hazy_bits for key in self._servers):
            flight = doubting_mark(flight)
        by_mark = VirtualKey(family, mark=flight.mark) if flight.mark else None
        by_address = VirtualKey(family, Protocol(flight.protocol.upper()), flight.destination, flight.port)
        for key in (by_mark, by_address):
            if key is not None and (found := self._servers.get(key)):
                return self._picked(flight, key, *found)
        return [flight]

    def _picked(self, flight: Flight, key: VirtualKey, virtual: Virtual, reals: tuple[Real, ...]) -> list[Flight]:
        server, counted = virtual.server, virtual.statistics.total
        text = f"{key} scheduler {server.scheduler}"
        if server.persistence_seconds and key.protocol is not None:
            text += f" persistent {server.persistence_seconds}"
        does = f"picks one of {len(reals)} real servers" if reals else "has no real server"
        said = Evidence("virtual server", text, does, packets=counted.packets_in, octets=counted.bytes_in)
        total = sum(real.server.weight for real in reals)
        if not total:
            doubt = f"virtual server {key} has no real server that takes connections"
            return [structs.replace(flight, via=(*flight.via, said), doubts=(*flight.doubts, doubt))]
        return [self._sent(flight, said, real, real.server.weight / total) for real in reals if real.server.weight]

    def _sent(self, flight: Flight, said: Evidence, real: Real, share: float) -> Flight:
        counted, place = real.statistics.total, endpoint(real.key.address, real.key.port)
        text = f"{place} {real.server.forwarding.name.lower()} weight {real.server.weight}, {real.load.active} active"
        picked = Evidence("real server", text, f"takes it to {place}", packets=counted.packets_in, octets=counted.bytes_in)
        port = real.key.port if real.server.forwarding is Forwarding.MASQUERADE else flight.port
        via = (*flight.via, said, picked)
        return structs.replace(flight, chance=flight.chance * share, destination=real.key.address, port=port, ipvs=True, via=via)


def is_ours(table: str, chain: str, text: str) -> bool:
    """Return whether a rule is this program's."""
    return names.is_hook(text) if chain in names.BUILTIN else names.is_our_chain(table, chain)
