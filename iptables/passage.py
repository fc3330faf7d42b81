"""A packet's way through a node: the hooks in the kernel's order, and the choice between this node and another place. Pure.

    arrives   raw, mangle, nat PREROUTING ─► here: mangle, filter INPUT ─► IPVS, if it takes the packet
                                          └► on:   mangle, filter FORWARD ─► mangle, nat POSTROUTING
    is sent   raw, mangle, nat OUTPUT ─► IPVS, if it takes the packet ─► filter OUTPUT ─► mangle, nat POSTROUTING ─► here: filter INPUT

What IPVS took goes out through mangle and filter OUTPUT, where a packet that arrived has not been before. A packet that connection
tracking does not follow sees no nat. `walk` is one table at one hook; the modes' tracers say what IPVS does.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, structs
from pointsman.dataplane.trace import Trace, Way
from pointsman.iptables.matching import Flight
from pointsman.iptables.walk import Ended, Walk
from pointsman.routing.packet import Packet, Verdict

Schedule = Callable[[Flight], list[Flight]]
"""What IPVS makes of a flight at its hook: itself, or one per real server."""


def _nobody(flight: Flight) -> list[Flight]:
    return [flight]


class Passage(Struct, frozen=True):
    """Rule sets, the interface towards each address (`leads`), and what IPVS does at its hook."""

    walk: Walk
    leads: Mapping[str, str] = {}
    schedule: Schedule = _nobody

    def trace(self, packet: Packet) -> Trace:
        """Return all ways of a packet."""
        flight = Flight(packet.source, packet.destination, packet.protocol.lower, packet.port, went_in=packet.interface)
        ended: list[Ended] = []
        passed = self._arrive([flight], ended) if packet.interface else self._send([flight], ended)
        ways = [self._way(one, Verdict.FORWARD if _moved(one, packet) else Verdict.UNTOUCHED) for one in passed]
        ways += [self._way(one.flight, Verdict[one.how]) for one in ended]
        return Trace(tuple(sorted(ways, key=lambda way: (-way.probability, way.address, way.port))))

    def _way(self, flight: Flight, verdict: Verdict) -> Way:
        local = self.walk.place.is_local(flight.destination)
        return Way(flight.chance, verdict, flight.destination, flight.port, flight.masqueraded, local, flight.via, flight.doubts)

    def _through(self, hook: str, tables: Iterable[str], flights: list[Flight], ended: list[Ended]) -> list[Flight]:
        for table in tables:
            skipped = [one for one in flights if table == "nat" and one.untracked]
            going = [one for one in flights if not (table == "nat" and one.untracked)]
            passed, stopped = self.walk.hook(table, hook, going)
            flights = passed + skipped
            ended += stopped
        return flights

    def _arrive(self, flights: list[Flight], ended: list[Ended]) -> list[Flight]:
        flights = self._through("PREROUTING", ("raw", "mangle", "nat"), flights, ended)
        here = [one for one in flights if self.walk.place.is_local(one.destination)]
        on = [self._routed(one) for one in flights if not self.walk.place.is_local(one.destination)]
        here = self._through("INPUT", ("mangle", "filter"), here, ended)
        taken = [after for one in here for after in self.schedule(one)]
        stayed = [one for one in taken if not one.ipvs]
        turned = self._through("OUTPUT", ("mangle", "filter"), [self._routed(one) for one in taken if one.ipvs], ended)
        on = self._through("FORWARD", ("mangle", "filter"), on, ended)
        return stayed + self._leave(on + turned, ended)

    def _send(self, flights: list[Flight], ended: list[Ended]) -> list[Flight]:
        flights = self._through("OUTPUT", ("raw", "mangle", "nat"), flights, ended)
        flights = [self._routed(after) for one in flights for after in self.schedule(one)]
        flights = self._through("OUTPUT", ("filter",), flights, ended)
        flights = self._leave(flights, ended)
        here = [structs.replace(one, went_in="lo") for one in flights if self.walk.place.is_local(one.destination)]
        away = [one for one in flights if not self.walk.place.is_local(one.destination)]
        return away + self._through("INPUT", ("filter",), here, ended)

    def _leave(self, flights: list[Flight], ended: list[Ended]) -> list[Flight]:
        return self._through("POSTROUTING", ("mangle", "nat"), flights, ended)

    def _routed(self, flight: Flight) -> Flight:
        out = "lo" if self.walk.place.is_local(flight.destination) else self.leads.get(flight.destination)
        return structs.replace(flight, goes_out=out)


def _moved(flight: Flight, packet: Packet) -> bool:
    return flight.ipvs or (flight.destination, flight.port) != (packet.destination, packet.port)
