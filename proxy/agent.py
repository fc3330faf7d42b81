"""The agent's state: what is known on this node, and the way of a change through it.

    source ─→ advance ─→ Builder ─→ FamilyLoop (IPv4, IPv6) ─→ kernel
    addresses, Nodes ─→ facts ────────┘             └─→ status ─→ health, socket

`Agent` holds what is known and passes changes on; it decides nothing and waits for nothing, so every step of it is over when its method
returns. Nothing is offered before Services and EndpointSlices have been read completely once (IN-07), and this node's Node is known
(IN-51). `daemon` calls it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct, field, structs
from pointsman.kube.events import Batch
from pointsman.kube.objects import Kind
from pointsman.kube.recorder import Recorder
from pointsman.proxy import announce, changes, health, memory
from pointsman.proxy import facts as facts_of
from pointsman.proxy.announce import Announcer
from pointsman.proxy.config import Config
from pointsman.proxy.config_check import warnings
from pointsman.proxy.departed import Departed
from pointsman.proxy.drained import Drained
from pointsman.proxy.facts import Facts, Host
from pointsman.proxy.flag_table import NAMES
from pointsman.proxy.flows import Flows
from pointsman.proxy.health_nodeport import HealthPorts
from pointsman.proxy.journal import Journal, config_notices
from pointsman.proxy.mode import Drains, Engine, Leaving, Loop
from pointsman.proxy.notebook import Notes, beside
from pointsman.proxy.own_node import OwnNode
from pointsman.proxy.report import View
from pointsman.proxy.requests import Requests
from pointsman.proxy.source import Elsewhere
from pointsman.routing.build import Builder, RoutingChange
from pointsman.routing.route import Family, Notice, Protocol, Routing, ServicePortName, Severity
from pointsman.routing.snapshot import CLEAN, EMPTY, Dirty, ServiceKey, advance

if TYPE_CHECKING:
    from pointsman.proxy.dns.node import NodeDns  # loaded only where DNS is on

log = logging.getLogger(__name__)


class Parts(Struct):
    """What an agent is made of."""

    config: Config
    host: Host
    engine: Engine
    loops: dict[Family, Loop]
    requests: Requests = field(default_factory=Requests)
    announcer: Announcer = field(default_factory=lambda: Announcer(Recorder(None, "", time.time)))
    dns: "NodeDns | None" = None
    elsewhere: Elsewhere | None = None


class Agent:
    """What is known on this node, and the way of a change through it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.journal = Journal(config_notices(warnings(parts.config), NAMES))
        self.snapshot = EMPTY
        self.own = OwnNode(parts.config, facts_of.node_name(parts.config, parts.host), parts.loops)
        self.facts: Facts = facts_of.gather(parts.config, parts.host, {})
        self.routing: Routing | None = None
        self.backlog = changes.Backlog(time.time())
        self.checks = health.Checks(self.health, time.time)
        self.ports = HealthPorts(lambda: health.healthy(self.health()), self._port_refused)
        self.leaving: tuple[Leaving, ...] = ()
        self._departed = Departed()
        self._builder = Builder(facts_of.external_ip_policy(parts.config))

    def receive(self, batch: Batch) -> None:
        """Take what a source delivers."""
        if batch.problems is not None:
            self.journal.set_problems(batch.problems)
        for loop in self.parts.loops.values():
            loop.trust(complete=not batch.blind)
        self.flows.trust(complete=not batch.blind)
        before = self.snapshot
        self.snapshot, dirty = advance(before, batch)
        self._measure(changes.between(before, self.snapshot, dirty, self.backlog.started))
        moved = self.parts.dns is not None and dirty != CLEAN and self.parts.dns.advance(self.snapshot, dirty)
        if Kind.NODE in dirty.kinds or not self.own.ready or moved:
            self._gather()
        if Kind.NODE in dirty.kinds:
            self._departed.lose(before.nodes.keys(), self.snapshot)
            self._bury()
        if dirty != CLEAN:
            self._route(dirty)
        self.parts.announcer.judge(self.journal.notices, self.journal.problems)

    def move(self, host: Host) -> None:
        """Take what the kernel says about this node."""
        before = self.facts
        self.parts.host = host
        self._gather()
        if self.facts != before:
            log.info("addresses changed", extra={family.value: ",".join(found) for family, found in host.addresses.items()})
            self._route(CLEAN)

    def offer(self, change: RoutingChange) -> None:
        """Offer the modes a change, and flows with them: they follow what the modes have."""
        for loop in self.parts.loops.values():
            loop.offer(change, self.facts.node)
        self.flows.offer(self.flows.routes, change, self.facts.node, self.snapshot)

    async def advanced(self) -> None:
        """Wait until some family has done everything that it can."""
        waiting = [asyncio.create_task(loop.settled()) for loop in self.parts.loops.values()]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    @property
    def host(self) -> Host:
        """Return what the kernel said last about this node."""
        return self.parts.host

    @cached_property
    def flows(self) -> Flows:
        """Return what lets flows follow; made when it is first told of something."""
        notes = Notes(beside(self.parts.config.socket), self.own.name)
        return Flows(self.parts.loops, notes, elsewhere=self.parts.elsewhere, end=self.parts.engine.end)

    def view(self) -> View:
        """Return everything there is to tell at this moment."""
        wall = datetime.now(UTC)
        return View(
            node=self.facts.node,
            mode=self.parts.config.mode,
            variant=self.parts.engine.variant,
            snapshot=self.snapshot,
            routing=self.routing,
            families=tuple(loop.status(wall) for loop in self.parts.loops.values()),
            notices=self.journal.notices,
            problems=self.journal.problems,
            draining=self._draining(wall),
            config=self.parts.config,
            offered=self._offered(),
            resident_bytes=memory.resident(),
        )

    def health(self) -> health.Health:
        """Return what the health endpoints answer from."""
        wall = datetime.now(UTC)
        found = ((family, loop.status(wall)) for family, loop in self.parts.loops.items())
        reported = ((family, one.last_updated, one.late_seconds) for family, one in found if one.last_updated)
        return health.Health(
            families={family: health.FamilyHealth(last.timestamp(), pending) for family, last, pending in reported},
            eligible=health.eligible(self.snapshot.nodes, self.facts.node.name, known=not self.parts.config.manifests),
            timeout=2 * self.parts.config.retry_period,
            programmed=self.applied() is not None,
        )

    def refused(self) -> Mapping[ServicePortName, str]:
        """Return the Service ports that the kernel does not take, and why, of both families."""
        return {name: text for loop in self.parts.loops.values() for name, text in loop.refused().items()}

    def applied(self) -> int | None:
        """Return the revision that all families have applied; None if one has applied none."""
        done = [loop.progress.revision_applied for loop in self.parts.loops.values()]
        return None if None in done else min((one for one in done if one is not None), default=None)

    def _measure(self, found: changes.Changes) -> None:
        self.backlog.applied(self.applied())
        self.backlog.add(self.snapshot.revision, found)
        elapsed = time.monotonic() - time.time()
        for family, triggers in found.triggers.items():
            if loop := self.parts.loops.get(family):
                loop.progress.meters.triggered([moment + elapsed for moment in triggers])

    def endpoints(self) -> frozenset[tuple[Protocol, str, int]]:
        """Return protocol, address and port of every endpoint that a Service uses here."""
        routes = self.routing.routes.values() if self.routing is not None else ()
        return frozenset((route.protocol, one.address, one.port) for route in routes for one in route.reachable)

    def _drains(self) -> tuple[Drains, ...]:
        return (self.parts.engine, *self.leaving)

    def _port_refused(self, service: ServiceKey, text: str) -> None:
        self.parts.announcer.recorder.record(announce.unchecked(self.facts.node.name, service, text))

    def _draining(self, wall: datetime) -> tuple[Drained, ...]:
        found = [drained for one in self._drains() for drained in one.draining(wall)]
        self._departed.forget_others((one.real, one.real_port) for one in found)
        return tuple(structs.replace(one, pod=self._departed.pod((one.real, one.real_port))) for one in found)

    def _offered(self) -> Routing | None:
        """Return the routing as the modes see it, None if that is the agent's own."""
        if self.parts.dns is None or self.routing is None:
            return None
        return self.parts.dns.offered(RoutingChange(self.routing, {})).routing

    def _bury(self) -> None:
        buried = self._departed.buried()
        for one in self._drains():
            one.bury(buried)

    def _gather(self) -> None:
        found = facts_of.gather(self.parts.config, self.host, self.own.see(self.snapshot))
        if self.parts.dns is not None:
            found = structs.replace(found, node=structs.replace(found.node, local_dns=self.parts.dns.local))
        self.facts = found

    def _route(self, dirty: Dirty) -> None:
        notices = self.facts.notices
        if not self.own.ready and self.snapshot.in_sync:
            waiting = f"nothing is programmed yet: {self.own.lack or self.own.unusable}"
            notices = (Notice(f"Node {self.own.name}", "", waiting, Severity.SUSPICIOUS),)
        elif self.snapshot.in_sync:
            if self.routing is None:
                log.info("routing", extra=dict(facts_of.readable(self.facts.node)))
            before = self.routing.routes if self.routing is not None else {}
            change = self._builder.update(self.snapshot, dirty, self.facts.node)
            self.routing = change.routing
            if self._departed.follow(before, change):
                self._bury()
            notices += change.routing.notices
            self.offer(self.parts.dns.offered(change) if self.parts.dns is not None else change)
            self.ports.offer(change.routing.revision, change.routing.health_checks)
        self.journal.set_notices(notices)

