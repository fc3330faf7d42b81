"""Which flows are deleted, and when to look: the rules of the reconciler. Pure (CT-01 to CT-06, pains 1 to 10, 83, 85).

UDP knows no end of a connection, so a flow stays with its first endpoint as long as somebody sends, whatever becomes of that (pain 1). What
goes where a new flow would not is forgotten; the client notices nothing but that it is answered. The compare is of state with state, as
often as that changes and now and then besides: nothing is missed because nobody watched (pain 5), and after a restart only what is wrong
goes (pain 8). A Service without endpoints is no exception (pain 6).

Connections with an end of their own are kept, unless the Service says otherwise (`routing.removal`). Of SCTP, an association that was never
translated goes as well: it cannot get well. One to an address where another pod is by now does not: on a node's own address both pods may
have been all the time, and where they were not, the other pod ends it. What came by a frontend that is no more goes while its tombstone
stands (`tombstones`); who translates the same address later is somebody else.

`Rhythm` bounds the work: one look at a time, a pause after it in proportion to what it took, so many deletions in a second at most.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from pointsman.conntrack.classify import WRONG, FlowClass, Judgement
from pointsman.conntrack.flow import PROTOCOLS, Flow
from pointsman.conntrack.tombstones import Served, Tombstones, same_frontends
from pointsman.routing.route import Family, Protocol, Routing, ServiceRoute

PERIOD: Final = 60.0
"""Seconds after which the kernel is looked at again even if nothing has changed."""
PAUSE: Final = 1.0
"""Seconds between two looks at least."""
SHARE: Final = 4.0
"""Reading is followed by a pause of so many times its own duration: a full table never takes more than a fifth of a core."""
PORTION: Final = 200
"""Deletions after which the others get their turn, and what is wrong is made sure of again."""
PORTION_SECONDS: Final = 0.02
"""Seconds that a portion takes at least: ten thousand deletions in a second."""
MOST: Final = 50_000
"""Deletions of one look; what is left is found by the next."""

def doomed(flow: Flow, judgement: Judgement, tombstones: Tombstones, now: float) -> bool:
    """Return whether a flow is to be deleted; `now` in seconds since the epoch."""
    protocol = PROTOCOLS.get(flow.protocol)
    if judgement.kind not in WRONG or protocol is None or flow.zone:
        return False
    if protocol is Protocol.UDP:
        return True
    if protocol is Protocol.SCTP and judgement.kind is FlowClass.UNNATTED:
        return True
    if judgement.reset_after is None or judgement.kind not in {FlowClass.STALE_BACKEND, FlowClass.RECYCLED}:
        return False
    back = flow.reply
    return now - tombstones.sighted(judgement.service, back.source, back.source_port, now).since >= judgement.reset_after


def protocols(routes: Iterable[ServiceRoute], tombstones: Tombstones, family: Family) -> frozenset[Protocol]:
    """Return the protocols whose flows must be looked at."""
    found = {stone.protocol for stone in tombstones.remembered() if stone.family is family}
    for route in routes:
        if route.family is family and _watched(route):
            found.add(route.protocol)
    return frozenset(found)


def _watched(route: ServiceRoute) -> bool:
    return route.protocol is not Protocol.TCP or route.reset_after is not None


def part(routing: Routing, family: Family, protocol: Protocol) -> Routing:
    """Return the part of a routing that judges flows of one protocol: the rest would only have to be read."""
    routes = {key: route for key, route in routing.routes.items() if key.family is family and key.port_name.protocol is protocol}
    return replace(routing, routes=routes, notices=(), health_checks=())


def matters(before: ServiceRoute | None, after: ServiceRoute | None) -> bool:
    """Return whether a change of a route may leave flows behind (IN-43): frontends or endpoints that are not there any more."""
    if before is None:
        return after is not None and _watched(after)  # flows that came before it go nowhere
    if not _watched(before) and (after is None or not _watched(after)):
        return False
    if after is None or before.reset_after != after.reset_after or not same_frontends(before, after):
        return True
    if before.reachable == after.reachable and before.lingering == after.lingering:
        return False
    return _ends(before) != _ends(after)


def _ends(route: ServiceRoute) -> set[tuple[str, int]]:
    return {(one.address, one.port) for one in (*route.reachable, *route.lingering)}


def by_tombstone(judgement: Judgement) -> bool:
    """Return whether a flow is wrong by a tombstone's word: it came through a frontend that is no more."""
    return judgement.kind in WRONG and judgement.frontend is None


def spared(left: Iterable[tuple[Flow, Judgement]]) -> set[Served]:
    """Return the frontends that are no more and whose flows are left, as address and as node port."""
    found: set[Served] = set()
    known: set[int] = set()  # flows between the same ends share their judgement
    for flow, judgement in left:
        if by_tombstone(judgement) and id(judgement) not in known:
            known.add(id(judgement))
            if (protocol := PROTOCOLS.get(flow.protocol)) is not None:
                port = flow.original.destination_port
                found.add(Served(flow.family, protocol, flow.original.destination, port))
                found.add(Served(flow.family, protocol, "", port))
    return found


def waits(judgements: Iterable[tuple[Flow, Judgement]], tombstones: Tombstones, now: float) -> float | None:
    """Return when the next connection that is left is to be ended; None if there is none."""
    found = [
        tombstones.sighted(judgement.service, flow.reply.source, flow.reply.source_port, now).since + judgement.reset_after
        for flow, judgement in judgements
        if judgement.reset_after is not None and judgement.kind in WRONG and flow.protocol != 17
    ]
    return min((moment for moment in found if moment > now), default=None)


class Rhythm(Struct):
    """When to look next; monotonic seconds."""

    asked: float | None = 0.0
    earliest: float = 0.0
    due: float = 0.0

    def ask(self, now: float) -> None:
        """Say that something has changed."""
        if self.asked is None:
            self.asked = now

    def next_time(self) -> float:
        """Return when to look next."""
        return max(self.earliest, self.due if self.asked is None else min(self.due, self.asked))

    def began(self, now: float) -> None:
        """Note that a look begins; what is asked from now on is for the next one."""
        self.asked = None
        self.due = now + PERIOD

    def ended(self, worked: float, now: float, *, again: bool, at: float | None = None) -> None:
        """Note that it is over and took so many seconds of reading; `again` if something was left, `at` is when something falls due."""
        self.earliest = now + max(PAUSE, SHARE * worked)
        if again:
            self.asked = now
        if at is not None:
            self.due = min(self.due, at)

