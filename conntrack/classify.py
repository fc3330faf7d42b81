"""What is to be thought of a flow: one of nine classes, with the reason in a sentence. Pure.

Nothing about Services is decided here: the oracle says which frontend an address is, the route says which endpoints may go on to be used
(`ServiceRoute.holds`'s meaning, CT-02). Here the two ends of a flow are only compared with that: where the client sent it, and where it
really goes. Of an address that is no frontend, tombstones tell what it was. Where they tell nothing, a translated flow is somebody else's,
also in the Service range: the Services of another proxy lie there too, and most often nobody reads them here.

The judgement of a flow depends on its protocol and these two ends alone, but for `clash`; so `Judge` remembers it, and a million flows of a
hundred Services cost a thousand judgements. `sweep` uses that; commands, explanations and the reconciler read the verdicts.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from pointsman.conntrack.flow import PROTOCOLS, Flow, Status, place
from pointsman.conntrack.names import NOBODY, Names
from pointsman.conntrack.tombstones import Served, Tombstone, Tombstones
from pointsman.routing.node import NodeFacts
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet
from pointsman.routing.packet import Verdict as Fate
from pointsman.routing.route import Backend, Family, Frontend, FrontendKind, Protocol, RouteKey, Routing, ServicePortName, ServiceRoute

ROOM: Final = 200_000
"""So many judgements are remembered before all are forgotten."""


class FlowClass(Enum):
    """The nine classes."""

    __hash__ = object.__hash__

    OK = "ok"                          # to an endpoint that takes connections
    DRAINING = "draining"              # to one that serves, but takes no new ones
    STALE_BACKEND = "stale-backend"    # to one that is gone
    STALE_FRONTEND = "stale-frontend"  # through a frontend that is no more
    UNNATTED = "unnatted"              # to a frontend, but not translated: made while there were no endpoints or no rules
    RECYCLED = "recycled"              # the endpoint's address belongs to another pod now
    CLASH = "clash"                    # its port had to be changed, for another flow between the same ends was there
    FOREIGN = "foreign"                # translated by somebody else
    NOT_A_SERVICE = "not-a-service"    # no Service plays a part


WRONG: Final = frozenset({FlowClass.STALE_BACKEND, FlowClass.STALE_FRONTEND, FlowClass.UNNATTED, FlowClass.RECYCLED})
"""Classes of flows that go where new ones would not."""


class Judgement(Struct, frozen=True, gc=False):
    """The class, the reason in one sentence, and the names that are known: Service port, frontend, endpoint."""

    kind: FlowClass
    reason: str
    port_name: ServicePortName | None = None
    service: str = ""
    frontend: Frontend | None = None
    backend: Backend | None = None
    reset_after: float | None = None


class _Ends(Struct, frozen=True, gc=False):
    """What a judgement depends on: protocol, where it was sent, where it goes."""

    family: Family
    protocol: Protocol
    to: str
    to_port: int
    at: str
    at_port: int

    @property
    def translated(self) -> bool:
        return self.to != self.at or self.to_port != self.at_port


class Judge:
    """Judges flows by one Routing; made once for it, not to be shared between threads."""

    def __init__(self, routing: Routing, node: NodeFacts, names: Names = NOBODY, tombstones: Tombstones | None = None) -> None:
        """Judge by what is routed on a node; tombstones and names make more of it known."""
        self.oracle = Oracle(routing, node)
        self.names = names
        self.tombstones = tombstones if tombstones is not None else Tombstones()
        self._routing = routing
        self._local = frozenset(address.partition("%")[0] for addresses in node.local_addresses.values() for address in addresses)
        self._backends: dict[RouteKey, Mapping[tuple[str, int], tuple[Backend, bool]]] = {}
        self._known: dict[tuple[int, str, int, str, int], Judgement] = {}

    def places(self, family: Family) -> Iterator[tuple[Served, ServiceRoute | None]]:
        """Yield every frontend of a family with its route, and without one those that tombstones tell of."""
        for route in self._routing.routes.values():
            if route.family is family:
                for one in route.frontends():
                    yield Served(family, one.protocol, one.address, one.port), route
        yield from ((one, None) for one in self.tombstones.remembered() if one.family is family)

    def judge(self, flow: Flow) -> Judgement:
        """Return what is to be thought of a flow."""
        first, back = flow.original, flow.reply
        protocol = PROTOCOLS.get(flow.protocol)
        if flow.zone:
            return Judgement(FlowClass.FOREIGN, f"it is in zone {flow.zone} of connection tracking, which is not the Services' one")
        if protocol is None:
            return Judgement(FlowClass.NOT_A_SERVICE, f"no Service has protocol {flow.protocol_name}")
        key = (flow.protocol, first.destination, first.destination_port, back.source, back.source_port)
        found = self._known.get(key)
        if found is None:
            found = self.of_ends(_Ends(flow.family, protocol, *key[1:]))
            if len(self._known) >= ROOM:
                self._known.clear()
            self._known[key] = found
        return self.clashing(found, flow) if self.clashes(flow) else found

    def clashes(self, flow: Flow) -> bool:
        """Return whether the flow's own port was changed although its address was not: only a clash does that to whom is not this node."""
        if flow.status & Status.NAT_CLASH:
            return True
        first, back = flow.original, flow.reply
        return first.source == back.destination and first.source_port != back.destination_port and first.source not in self._local

    def clashing(self, found: Judgement, flow: Flow) -> Judgement:
        """Return the judgement of a flow that clashed: what is wrong with it anyway stays."""
        if found.kind not in {FlowClass.OK, FlowClass.DRAINING, FlowClass.NOT_A_SERVICE}:
            return found
        if flow.status & Status.NAT_CLASH:
            reason = "two packets of one socket were tracked at the same time; this entry is the second, and lasts for a second"
        else:
            reason = (
                f"{flow.client} uses the same port to {flow.backend} by another way, so its port is {flow.reply.destination_port} here;"
                " use another local port per destination"
            )
        return replace(found, kind=FlowClass.CLASH, reason=reason)

    def of_ends(self, ends: _Ends) -> Judgement:
        """Return the judgement that does not depend on the client."""
        met = self.oracle.frontend_at(ends.to, ends.protocol, ends.to_port)
        return self._unowned(ends) if met is None else self._served(ends, *met)

    # --- an address of a Service ---------------------------------------------------------------------------------------

    def _served(self, ends: _Ends, frontend: Frontend, route: ServiceRoute) -> Judgement:
        name, at = route.port_name, place(ends.at, ends.at_port)
        through = f"{frontend.kind.value} {place(ends.to, ends.to_port)} of {name}"
        backend, takes = self._endpoints(route).get((ends.at, ends.at_port), (None, False))
        known = Judgement(FlowClass.OK, "", name, str(name), frontend, backend, route.reset_after)
        if backend is not None and takes:
            return replace(known, reason=f"from {through} to its endpoint {_named(at, backend.pod)}")
        if backend is not None:
            reason = f"{_named(at, backend.pod)} serves on, but takes no new connections of {name}"
            return replace(known, kind=FlowClass.DRAINING, reason=reason)
        if not ends.translated:
            why = "there are no endpoints" if not route.any_endpoint else "it was made while there were no endpoints or no rules"
            return replace(known, kind=FlowClass.UNNATTED, reason=f"sent to {through}, and not translated: {why}")
        return self._gone(replace(known, kind=FlowClass.STALE_BACKEND), ends, f"from {through} to {{}}, which is none of its endpoints")

    def _endpoints(self, route: ServiceRoute) -> Mapping[tuple[str, int], tuple[Backend, bool]]:
        found = self._backends.get(route.key)
        if found is None:
            found = {(one.address, one.port): (one, False) for one in route.lingering}
            found |= {(one.address, one.port): (one, True) for one in route.reachable}
            self._backends[route.key] = found
        return found

    # --- an address that is no Service's -------------------------------------------------------------------------------

    def _unowned(self, ends: _Ends) -> Judgement:
        to, at = place(ends.to, ends.to_port), place(ends.at, ends.at_port)
        if not ends.translated:  # also where a Service was: a new flow would go there as well
            return Judgement(FlowClass.NOT_A_SERVICE, f"no Service has {to}/{ends.protocol.lower}")
        if owner := self.names.elsewhere(ends.to):
            return Judgement(FlowClass.FOREIGN, f"{to} is of {owner}, which another proxy serves; translated to {at}", service=owner)
        stone = self._tombstone(ends)
        if stone is not None and self.tombstones.led(stone, ends.at, ends.at_port):
            known = Judgement(FlowClass.STALE_FRONTEND, "", service=stone.service)
            return self._gone(known, ends, f"from {to}, which was {stone.service} and is not any more, to {{}}")
        outcome = self.oracle.trace(Packet(ends.to, ends.to, ends.protocol, ends.to_port))
        why = outcome.reason if outcome.verdict in {Fate.REJECT, Fate.DROP} else f"no Service has {to}/{ends.protocol.lower}"
        return Judgement(FlowClass.FOREIGN, f"{why}; somebody else translated it to {at}")

    def _tombstone(self, ends: _Ends) -> Tombstone | None:
        stone = self.tombstones.gone(ends.family, ends.protocol, ends.to, ends.to_port)
        if stone is not None:
            return stone
        stone = self.tombstones.gone_node_port(ends.family, ends.protocol, ends.to_port)
        return stone if stone is not None and ends.to in self._local else None

    def _gone(self, known: Judgement, ends: _Ends, text: str) -> Judgement:
        """Return the judgement of a flow to an endpoint that left; whose address that is by now makes the difference."""
        at, owner = place(ends.at, ends.at_port), self.names.of(ends.at)
        former = self.tombstones.departed(known.service, ends.at, ends.at_port) if known.service else None
        was = former.pod if former is not None else ""
        if was and owner.startswith("pod ") and owner.rpartition("/")[2] != was:
            return replace(known, kind=FlowClass.RECYCLED, reason=f"{text.format(at)}: it was pod {was}, and {owner} is there now")
        if owner:
            return replace(known, reason=f"{text.format(at)} (it is {owner})")
        return replace(known, reason=f"{text.format(at)}{f' (it was pod {was})' if was else ''}")


def classify(
    flow: Flow, routing: Routing, node: NodeFacts, names: Names = NOBODY, tombstones: Tombstones | None = None
) -> Judgement:
    """Judge a single flow; for many make a `Judge` once."""
    return Judge(routing, node, names, tombstones).judge(flow)


def through(judgement: Judgement) -> FrontendKind | None:
    """Return by which kind of frontend a flow came."""
    return judgement.frontend.kind if judgement.frontend is not None else None


def _named(at: str, pod: str) -> str:
    return f"{at} (pod {pod})" if pod else at
