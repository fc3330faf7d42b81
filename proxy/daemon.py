"""The agent: everything that runs on a node, in one task group on one event loop.

    source ─→ advance ─→ Builder ─→ FamilyLoop (IPv4, IPv6) ─→ kernel
    addresses, Nodes ─→ facts ────────┘             └─→ status ─→ health, socket

`Agent` holds what is known and passes changes on; it decides nothing itself. Nothing is offered before Services and EndpointSlices have
been read completely once (IN-07). SIGTERM and SIGINT end it with all rules in place (PROC-12). An unexpected exception is a defect: it is
logged with its traceback, the rules stay, and the process ends with status 1 so that whoever supervises it starts it afresh.
"""

import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct
from pointsman.dataplane.errors import KernelError
from pointsman.kube.events import Batch, Source
from pointsman.kube.manifests import ManifestSource
from pointsman.kube.objects import Kind
from pointsman.proxy import facts as facts_of
from pointsman.proxy import health, node, socket
from pointsman.proxy.config import Config, warnings
from pointsman.proxy.facts import Facts, Host
from pointsman.proxy.flags import NAMES
from pointsman.proxy.journal import Journal, config_notices
from pointsman.proxy.loop import LoopSettings
from pointsman.proxy.modes import MODES, Engine, Loop, usable
from pointsman.proxy.report import View
from pointsman.routing.build import Builder, RoutingChange
from pointsman.routing.route import Family
from pointsman.routing.snapshot import CLEAN, EMPTY, Dirty, advance

log = logging.getLogger(__name__)

DRIFT_JITTER = 0.1
"""Nodes do not read their kernels in step: the drift check period varies by so much."""


class StartError(Exception):
    """The agent cannot work here; the text says everything that is wrong and what to do."""


class Parts(Struct):
    """What an agent is made of."""

    config: Config
    host: Host
    engine: Engine
    loops: dict[Family, Loop]


class Agent:
    """What is known on this node, and the way of a change through it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.journal = Journal()
        self.snapshot = EMPTY
        self.host = parts.host
        self.facts: Facts = facts_of.gather(parts.config, parts.host, {})
        self.change: RoutingChange | None = None
        self._builder = Builder(facts_of.external_ip_policy(parts.config))
        self._warnings = config_notices(warnings(parts.config), NAMES)

    def receive(self, batch: Batch) -> None:
        """Take what a source delivers."""
        if batch.problems is not None:
            self.journal.set_problems(batch.problems)
        self.snapshot, dirty = advance(self.snapshot, batch)
        if Kind.NODE in dirty.kinds:
            self._gather()
        if dirty != CLEAN:
            self._route(dirty)

    def move(self, host: Host) -> None:
        """Take what the kernel says about this node."""
        before = self.facts
        self.host = host
        self._gather()
        if self.facts != before:
            log.info("addresses changed", extra={family.value: ",".join(found) for family, found in host.addresses.items()})
            self._route(CLEAN)

    def view(self) -> View:
        """Return everything there is to tell at this moment."""
        wall = datetime.now(UTC)
        return View(
            node=self.facts.node,
            mode=self.parts.config.mode,
            variant=self.parts.engine.variant,
            snapshot=self.snapshot,
            routing=self.change.routing if self.change else None,
            families=tuple(loop.status(wall) for loop in self.parts.loops.values()),
            notices=self.journal.notices,
            problems=self.journal.problems,
        )

    def health(self) -> health.Health:
        """Return what the health endpoints answer from."""
        wall = datetime.now(UTC)
        found = ((family, loop.status(wall)) for family, loop in self.parts.loops.items())
        reported = ((family, one.last_updated, one.pending_seconds) for family, one in found if one.last_updated)
        return health.Health(
            families={family: health.FamilyHealth(last.timestamp(), pending) for family, last, pending in reported},
            eligible=health.eligible(self.snapshot.nodes, self.facts.node.name),
            timeout=2 * self.parts.config.sync_period,
        )

    def _gather(self) -> None:
        self.facts = facts_of.gather(self.parts.config, self.host, self.snapshot.nodes)

    def _route(self, dirty: Dirty) -> None:
        notices = (*self._warnings, *self.facts.notices)
        if self.snapshot.in_sync:
            if self.change is None:
                log.info("routing", extra=dict(facts_of.readable(self.facts.node)))
            self.change = self._builder.update(self.snapshot, dirty, self.facts.node)
            notices += self.change.routing.notices
            for loop in self.parts.loops.values():
                loop.offer(self.change, self.facts.node)
        self.journal.set_notices(notices)


def main(config: Config) -> int:
    """Run the agent until it is told to stop; return the exit status."""
    try:
        return uvloop.run(run(config))
    except (StartError, socket.SocketError, KernelError) as error:
        print(f"pointsman run: cannot start: {error}", file=sys.stderr)
    except Exception:
        log.exception("unexpected error; all rules stay in place")
    return 1


async def run(config: Config) -> int:
    """Look at the machine, then route until SIGTERM or SIGINT; raises StartError before anything is written."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with socket.claim(config.socket) as listening:
        agent = Agent(await prepare(config))
        source = ManifestSource(Path(config.manifests))
        await _until(stop, _tasks(agent, source, socket.serve(listening, agent.view)))
    log.info("stopped; all rules stay in place")
    return 0


async def prepare(config: Config) -> Parts:
    """Return the parts of an agent; raises StartError with everything that is wrong with this machine."""
    host = await node.read_host()
    if not facts_of.node_name(config, host):
        raise StartError("this host has no name; give the Node's name with --hostname-override")
    engine = await MODES[config.mode].open(config)
    families, errors = usable(await engine.preflight())
    if errors:
        raise StartError("".join(f"\n  {error}" for error in errors))
    log.info("starting", extra={"mode": config.mode, "variant": engine.variant, "reason": engine.reason, "manifests": config.manifests})
    if len(families) < len(Family):
        log.warning("this kernel serves one IP family only", extra={"family": families[0].value})
    node.adjust_oom_score(config.oom_score_adj)
    settings = LoopSettings(
        min_sync_period=config.min_sync_period,
        drift_interval=config.drift_check_period,
        drift_jitter=random.uniform(0, DRIFT_JITTER),  # noqa: S311 - no secret
    )
    return Parts(config, host, engine, {family: engine.loop(family, settings) for family in families})


def _tasks(agent: Agent, source: Source, serving: Coroutine[Any, Any, None]) -> Iterable[Coroutine[Any, Any, None]]:
    address = agent.parts.config.healthz_bind_address
    return (
        source.run(agent.receive),
        _follow_addresses(agent),
        health.serve(address, agent.health, time.time),
        serving,
        *(loop.run() for loop in agent.parts.loops.values()),
    )


async def _until(stop: asyncio.Event, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all the work until told to stop, or until a part of it fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _follow_addresses(agent: Agent) -> None:
    async for addresses in node.watch_addresses(agent.host.addresses):
        agent.move(Host(agent.host.name, addresses, agent.host.tcp_be_liberal))
