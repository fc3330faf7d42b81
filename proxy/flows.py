"""The reconciler of flows: what the kernel remembers of connections follows the Services (CT-01 to CT-06).

    Agent ─offer→ what is routed ─ applied? → look (sweep of one family and protocol) → sure? → delete, in portions

Rules first, then flows: a look waits until the kernel follows the routing that it judges by, for otherwise the flow would be made again as
wrong as it was (pain 4). What a look calls wrong is judged once more by what is routed when it is deleted: an endpoint may have come
meanwhile. A flow therefore goes only if it was wrong by what the kernel follows *and* is wrong by what is known now. Nothing is deleted
before Services and EndpointSlices were read completely (pain 10), nor while some input cannot be read: its Services would look deleted. So
does a Service that another proxy is given; `elsewhere` tells, and is asked before flows of frontends that are no more go.

A mode that has entries of its own for connections (ipvs) is told of those that were ended, by `end`.

One task per family: a family whose rules cannot be written does not keep the other waiting. Failure never fails anything else; it is told
once and tried again. `conntrack.reconcile` has the rules; `notebook` keeps in a file what must outlive the process; `daemon` runs this.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.conntrack import reconcile
from pointsman.conntrack.classify import WRONG, Judge, Judgement
from pointsman.conntrack.flow import NUMBERS, Flow
from pointsman.conntrack.kernel import ConntrackKernel, Swept, summed
from pointsman.conntrack.names import Names, collected
from pointsman.conntrack.reconcile import Rhythm
from pointsman.conntrack.tombstones import Tombstones
from pointsman.conntrack.wire import Filter
from pointsman.dataplane.errors import KernelError
from pointsman.kube.errors import ApiError
from pointsman.proxy.flow_meters import FlowMeters, TrackingPicture
from pointsman.proxy.mode import Ended, Loop
from pointsman.proxy.notebook import Notes
from pointsman.proxy.source import Elsewhere
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol, RouteKey, Routing, ServiceRoute
from pointsman.routing.snapshot import EMPTY, ServiceKey, Snapshot

log = logging.getLogger(__name__)

AGAIN: Final = 30.0
"""Seconds until connection tracking that could not be read is tried again."""
SETTLED: Final = 5.0
"""Seconds after a change without a revision of its own (an address of the node, DNS) until a second look: when the kernel follows such a
change, nobody tells."""
NAMED: Final = 5

End = Callable[[Family, Iterable[Ended]], None]
"""Who is told of connections whose entries were deleted: see `Engine.end`."""


class _Routed(Struct, frozen=True):
    """What is routed: by which flows are judged; `same` says that what was routed before had the same revision."""

    routing: Routing
    node: NodeFacts
    snapshot: Snapshot
    same: bool = False


class _Pulse(Struct, frozen=True):
    """Of a family: the loop whose rules it follows, when it looks, what wakes it, and who is told of connections that end."""

    loop: Loop
    rhythm: Rhythm
    wake: asyncio.Event
    end: End


class _Look(Struct, frozen=True):
    """What came of a look: whether wrong flows are left, the seconds that reading took, and when something falls due (monotonic)."""

    again: bool = False
    seconds: float = 0.0
    due: float | None = None


class Flows:
    """Follows the routing with the flows of both families. `clock` is monotonic, `wall` is since the epoch; both in seconds."""

    def __init__(
        self,
        loops: Mapping[Family, Loop],
        notes: Notes,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        elsewhere: Elsewhere | None = None,
        end: End = lambda _family, _connections: None,
    ) -> None:
        self.tombstones = Tombstones()
        self.meters = {family: FlowMeters() for family in loops}
        self._notes = notes
        self._clock = clock
        self._wall = wall
        self._elsewhere = elsewhere
        self._pulses = {family: _Pulse(loop, Rhythm(), asyncio.Event(), end) for family, loop in loops.items()}
        self._opening = asyncio.Lock()
        self._routed: _Routed | None = None
        self._complete = True
        self._kernel: ConntrackKernel | None = None
        self._told = ""

    def offer(self, before: Mapping[RouteKey, ServiceRoute], change: RoutingChange, node: NodeFacts, snapshot: Snapshot = EMPTY) -> None:
        """Say what is routed now, and what was. Call it only once Services and EndpointSlices are in sync."""
        former, routing = self._routed, change.routing
        first, same = former is None, former is not None and former.routing.revision == routing.revision
        self._routed = _Routed(routing, node, snapshot, same)
        self.tombstones.follow(before, change.changed, self._wall())
        if first and (inherited := self.tombstones.inherit(self._notes.inherited, self._wall())):
            log.info("frontends of an earlier run are gone; their flows are looked for", extra={"frontends": inherited})
        self._notes.touch()
        touched = {key.family for key, after in change.changed.items() if reconcile.matters(before.get(key), after)}
        for family in self._pulses if first else touched & self._pulses.keys():
            self._ask(family)

    @property
    def routes(self) -> Mapping[RouteKey, ServiceRoute]:
        """Return the routes that were offered last."""
        return self._routed.routing.routes if self._routed is not None else {}

    def trust(self, *, complete: bool) -> None:
        """Say whether all input could be read; until it can, nothing is deleted."""
        if complete and not self._complete:
            for family in self._pulses:
                self._ask(family)
        self._complete = complete

    async def run(self) -> None:
        """Reconcile until cancelled; flows then stay as they are."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._notes.run(self.tombstones))
                for family in self._pulses:
                    group.create_task(self._follow(family))
        finally:
            if self._kernel is not None:
                await self._kernel.close()

    async def picture(self) -> TrackingPicture:
        """Return what there is to tell; reads the kernel's counters."""
        families = {family: meters.copy() for family, meters in self.meters.items()}
        for family, meters in families.items():
            meters.tombstones = sum(1 for one in self.tombstones.remembered() if one.family is family)
        kernel = self._kernel
        if kernel is None:  # nobody has looked yet
            return TrackingPicture(families)
        try:
            return TrackingPicture(families, summed(await kernel.counters()))
        except KernelError as error:
            self._tell(error)
            return TrackingPicture(families)

    # --- one family ----------------------------------------------------------------------------------------------------

    async def _follow(self, family: Family) -> None:
        settled: _Routed | None = None
        while True:
            await self._until_due(family)
            routed, rhythm = self._routed, self._pulses[family].rhythm
            if routed is None:
                continue
            rhythm.began(self._clock())  # first: what changes while the rules are awaited is for the next look
            await self._pulses[family].loop.applied(routed.routing.revision)
            began = self._clock()
            try:
                look = await self._look(family, routed)
            except KernelError as error:
                self.meters[family].failures += 1
                self._tell(error)
                look = _Look(due=self._clock() + AGAIN)
            now = self._clock()
            self.meters[family].looks.observe(now - began)
            rhythm.ended(look.seconds, now, again=look.again, at=look.due)
            if routed.same and routed is not settled:
                settled, rhythm.due = routed, min(rhythm.due, now + SETTLED)

    def _ask(self, family: Family) -> None:
        self._pulses[family].rhythm.ask(self._clock())
        self._pulses[family].wake.set()

    async def _until_due(self, family: Family) -> None:
        rhythm, wake = self._pulses[family].rhythm, self._pulses[family].wake
        while self._routed is None or (wait := rhythm.next_time() - self._clock()) > 0:
            wake.clear()
            try:
                async with asyncio.timeout(None if self._routed is None else wait):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _look(self, family: Family, routed: _Routed) -> "_Look":
        """Look at every protocol that may hold wrong flows, and delete them."""
        again, seconds, looked = False, 0.0, self._wall()
        moments: list[float | None] = []
        kernel = await self._opened()
        routes, stones = routed.routing.routes, self.tombstones.copy()
        for protocol in await asyncio.to_thread(lambda: reconcile.protocols(routes.values(), stones, family)):
            tombstones, began = self.tombstones.copy(), self._clock()
            found = await kernel.sweep(
                lambda protocol=protocol, tombstones=tombstones: _judge(routed, family, protocol, tombstones),  # type: ignore[misc]
                family,
                WRONG,
                Filter(protocol=NUMBERS[protocol]),
                reconcile.MOST,
            )
            seconds += self._clock() - began
            self.meters[family].looked(protocol, found.counts)
            sure = await self._handed_over(found)
            left = await self._delete(kernel, family, protocol, found, sure=sure)
            if not sure:
                moments.append(self._wall() + AGAIN)
            again = again or bool(found.more)
            if found.complete and not found.more:
                self.tombstones.forget(family, protocol, reconcile.spared(left), looked)
                self._notes.touch()
            moments.append(reconcile.waits(left, self.tombstones, self._wall()))
        moments.append(self.tombstones.due(family, looked))
        due = min((moment for moment in moments if moment is not None), default=None)
        return _Look(again, seconds, None if due is None else self._clock() + max(due - self._wall(), 0.0))

    async def _handed_over(self, found: Swept) -> bool:
        """Remove the tombstones of Services that another proxy serves now; return whether what tombstones tell of flows is sure.

        The API shows a Service that was given to another proxy as a deleted one (IN-01): it is asked before flows go by a tombstone's word.
        """
        routed, names = self._routed, self.tombstones.services()
        if routed is None or not any(reconcile.by_tombstone(judgement) for _, judgement in found.taken):
            return True
        others = {name for name in names if _served_elsewhere(routed.snapshot, name)}
        try:
            asked = await self._elsewhere() if self._elsewhere is not None else ()
        except ApiError as error:
            log.warning("it cannot be asked whether another proxy has a Service that is gone; its flows stay", extra={"error": str(error)})
            return False
        others |= {f"{one.namespace}/{one.name}" for one in asked}
        if frontends := self.tombstones.hand_over(others):
            log.info("another proxy serves what this one did; the flows are its own", extra={"frontends": frontends})
            self._notes.touch()
        return True

    async def _delete(
        self, kernel: ConntrackKernel, family: Family, protocol: Protocol, found: Swept, *, sure: bool = True
    ) -> list[tuple[Flow, Judgement]]:
        """Delete what is wrong by what is known now as well; return what stays for the time being. `sure` is said of tombstones."""
        left: list[tuple[Flow, Judgement]] = []
        gone: list[tuple[Flow, Judgement]] = []
        judge: Judge | None = None
        judged_by: _Routed | None = None
        for start in range(0, len(found.taken), reconcile.PORTION):
            while judged_by is not self._routed or judge is None:
                judged_by, tombstones = self._routed, self.tombstones.copy()
                assert judged_by is not None
                judge = await asyncio.to_thread(_prepared, judged_by, family, protocol, tombstones)
            if not self._complete:
                return [*left, *found.taken[start:]]
            refused, now = self._pulses[family].loop.refused(), self._wall()
            unchanged = {str(name) for name in refused}  # also frontends that such a Service no longer wants
            portion: list[tuple[Flow, Judgement]] = []
            for flow, first in found.taken[start : start + reconcile.PORTION]:
                if flow.protocol != NUMBERS[protocol]:  # the judge knows the routes of one protocol only
                    continue
                judgement = judge.judge(flow)
                stays = judgement.port_name in refused if judgement.port_name is not None else judgement.service in unchanged
                # Nobody has asked yet about a frontend that went since the look.
                unsure = reconcile.by_tombstone(judgement) and not (sure and reconcile.by_tombstone(first))
                doomed = not (stays or unsure) and reconcile.doomed(flow, judgement, self.tombstones, now)
                (portion if doomed else left).append((flow, judgement))
            _, errors = await kernel.delete([flow for flow, _ in portion])
            for place, error in errors.items():
                log.warning("a flow could not be deleted", extra={"flow": portion[place][0].line(), "error": str(error)})
            done = [one for place, one in enumerate(portion) if place not in errors]
            self.meters[family].deleted.update((protocol, judgement.kind) for _, judgement in done)
            gone += done
            if protocol is not Protocol.UDP and judged_by is not None:
                self._pulses[family].end(family, _ended(protocol, done, judged_by.routing))
            left += [portion[place] for place in errors]
            if start + reconcile.PORTION < len(found.taken):
                await asyncio.sleep(reconcile.PORTION_SECONDS)
        if gone:
            _report(family, protocol, gone)
        return left

    async def _opened(self) -> ConntrackKernel:
        async with self._opening:
            if self._kernel is None:
                self._kernel = await ConntrackKernel.open(light="pyroute2" not in sys.modules)
            return self._kernel

    def _tell(self, error: KernelError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            log.warning("connection tracking cannot be read; flows stay as they are", extra={"error": self._told, "again_in": AGAIN})


def _served_elsewhere(snapshot: Snapshot, name: str) -> bool:
    namespace, _, own = name.partition("/")
    service = snapshot.services.get(ServiceKey(namespace, own))
    return service is not None and service.metadata.labels is not None and service.metadata.labels.service_proxy_name is not None


def _judge(routed: _Routed, family: Family, protocol: Protocol, tombstones: Tombstones) -> Judge:
    routing, snapshot = routed.routing, routed.snapshot
    names = Names(lambda: collected(routing.routes.values(), snapshot))
    return Judge(reconcile.part(routing, family, protocol), routed.node, names, tombstones)


def _prepared(routed: _Routed, family: Family, protocol: Protocol, tombstones: Tombstones) -> Judge:
    """Return a judge that has collected its names: it is used where others wait."""
    judge = _judge(routed, family, protocol, tombstones)
    judge.names.of("")
    return judge


def _ended(protocol: Protocol, done: Iterable[tuple[Flow, Judgement]], routing: Routing) -> Iterator[Ended]:
    """Yield the connections whose entries were deleted."""
    for flow, judgement in done:
        if judgement.port_name is not None:
            route = routing.routes.get(RouteKey(flow.family, judgement.port_name))
            to, back = flow.original, flow.reply
            node_port = route.node_port if route is not None else 0
            place = (to.destination, to.destination_port, back.source, back.source_port)
            yield Ended(protocol, judgement.port_name, node_port, *place)


def _report(family: Family, protocol: Protocol, gone: list[tuple[Flow, Judgement]]) -> None:
    """Log what was deleted, in numbers by class, and the first reasons."""
    kinds: dict[str, int] = {}
    for _, judgement in gone:
        kinds[judgement.kind.value] = kinds.get(judgement.kind.value, 0) + 1
    reasons = list(dict.fromkeys(judgement.reason for _, judgement in gone))
    facts = {"family": family.value, "protocol": protocol.value, "flows": len(gone), **kinds, "because": "; ".join(reasons[:NAMED])}
    log.info("deleted flows that went where new ones would not", extra=facts)
