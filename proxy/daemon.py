"""The daemon: everything that runs on a node, in one task group on one event loop.

It looks at the machine, builds an `Agent`, and keeps its surroundings running: the source of objects, the kernel's addresses, a reconcile
loop per family, health, the status socket. SIGTERM and SIGINT end it with all rules in place (PROC-12). An unexpected exception is a defect
and is logged with its traceback; the rules stay, and the process ends with status 1 so that whoever supervises it starts it afresh.
"""

import asyncio
import logging
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from pointsman.dataplane.errors import KernelError
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.events import Batch, Sink
from pointsman.kube.recorder import Recorder
from pointsman.proxy import announce, memory, node, privileges, reception, sole
from pointsman.proxy import facts as facts_of
from pointsman.proxy.agent import Agent, Parts
from pointsman.proxy.announce import Announcer
from pointsman.proxy.config import Config
from pointsman.proxy.config_check import family_problems
from pointsman.proxy.config_watch import ConfigFile, Stop, end_on_change
from pointsman.proxy.dns import surroundings
from pointsman.proxy.facts import Host
from pointsman.proxy.flag_table import NAMES
from pointsman.proxy.loop import LoopSettings
from pointsman.proxy.mode import Loop
from pointsman.proxy.modes import MODES, usable
from pointsman.proxy.own_node import await_node
from pointsman.proxy.requests import Requests
from pointsman.proxy.source import Also, Opened, open_source
from pointsman.proxy.succession import programmed, succeed
from pointsman.proxy.tuning import hold
from pointsman.routing.route import Family

if TYPE_CHECKING:
    from pointsman.proxy.dns.node import NodeDns

log = logging.getLogger(__name__)

DRIFT_JITTER = 0.1
"""Nodes do not read their kernels in step: the drift check period varies by so much."""


class StartError(Exception):
    """The agent cannot work here; the text says everything that is wrong, and what to do."""


def main(config: Config, file: ConfigFile | None = None) -> int:
    """Run the agent until it is told to stop, or its configuration file changes; return the exit status."""
    memory.use_one_arena()
    memory.collect_rarely()
    try:
        return uvloop.run(run(config, file))
    except (StartError, ApiConfigError, sole.OccupiedError, KernelError) as error:
        print(f"pointsman run: cannot start: {error}", file=sys.stderr)
    except Exception:
        log.exception("unexpected error; all rules stay in place")
    return 1


def prepare_only(config: Config) -> int:
    """Do what needs full privileges, and nothing else (PROC-05); return the exit status."""
    errors = privileges.prepare_only(config)
    for error in errors:
        print(f"pointsman run --init-only: {error}", file=sys.stderr)
    return 1 if errors else 0


async def run(config: Config, file: ConfigFile | None = None) -> int:
    """Look at the machine, then route until SIGTERM or SIGINT; raises StartError before anything is written."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with sole.reserved():
        inbox, requests = Inbox(), Requests()
        dns = await _dns(config) if config.dns else None
        opening = asyncio.create_task(open_source(config, requests.observe, dns.also if dns is not None else Also()))
        async with _running(_read(opening, inbox)) as reading:
            parts = await prepare(config, dns)
            node_name = facts_of.node_name(config, parts.host)
            opened = await opening
            parts.requests, parts.announcer = requests, Announcer(Recorder(opened.client, node_name, time.time))
            parts.elsewhere = opened.elsewhere
            untuned = privileges.tune(config)  # not before it is known that this can work here (PROC-01)
            parts.host = node.looked_again(parts.host)
            parts.announcer.recorder.record(announce.starting(node_name, f"pointsman, {config.mode} mode"))
            agent = Agent(parts)
            if dns is not None:
                dns.join(agent, opened.reread)
                dns.service.heed()
            inbox.open(agent.receive)
            watching = (end_on_change(file, stop),) if file else ()
            tuning = privileges.tune_later(config, untuned, lambda: programmed(agent.parts.loops.values()))
            await _until(stop, (_ended(reading), *_tasks(agent, stop), tuning, *watching))
    log.info("stopped; all rules stay in place")
    return stop.status


class Inbox:
    """Keeps what a source delivers until somebody is there to take it: objects are read while the machine is still being looked at."""

    def __init__(self) -> None:
        self._kept: list[Batch] = []
        self._sink: Sink = self._kept.append

    def deliver(self, batch: Batch) -> None:
        """Take a batch from the source."""
        self._sink(batch)

    def open(self, sink: Sink) -> None:
        """Hand over what has come, in order, and everything that comes from now on."""
        self._sink = sink
        for batch in self._kept:
            sink(batch)
        self._kept.clear()


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a task beside the body, and end it with the body."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _read(opening: asyncio.Task[Opened], inbox: Inbox) -> None:
    """Read the source, from when it is open."""
    async with aclosing(await opening) as opened:
        await opened.source.run(inbox.deliver)


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for a task that ends only by its error, which is raised here."""
    await task


async def _dns(config: Config) -> "NodeDns":
    """Return DNS as it is wanted; raises StartError with everything that is wrong with it."""
    from pointsman.proxy.dns import node as dns  # noqa: PLC0415 - loaded only where DNS is on

    try:
        return await asyncio.to_thread(dns.make, config, facts_of.node_name(config, Host(socket.gethostname())))
    except dns.UNUSABLE as error:
        raise StartError(f"DNS: {error}") from error


async def prepare(config: Config, dns: "NodeDns | None" = None) -> Parts:
    """Return the parts of an agent; raises StartError with everything that is wrong with this machine."""
    host = await node.read_host()
    if not facts_of.node_name(config, host):
        raise StartError("this host has no name; give the Node's name with --hostname-override")
    engine = await MODES[config.mode].open(config)
    families, errors = usable(await engine.preflight())
    if errors:
        raise StartError("".join(f"\n  {error}" for error in errors))
    if unusable := family_problems(config, families):
        raise StartError("".join(f"\n  {NAMES[one.field]}: {one.text}" for one in unusable))
    log.info("starting", extra={"mode": config.mode, "variant": engine.variant, "reason": engine.reason, "manifests": config.manifests})
    if len(families) < len(Family):
        log.warning("this kernel serves one IP family only", extra={"family": families[0].value})
    node.adjust_oom_score(config.oom_score_adj)
    settings = LoopSettings(
        min_sync_period=config.write_period,
        drift_interval=config.drift_check_period,
        drift_jitter=random.uniform(0, DRIFT_JITTER),  # noqa: S311 - no secret
        before_write=dns.telling.withdrawn if dns is not None else None,
        on_failure=dns.setup.unwritten if dns is not None else None,
    )
    return Parts(config, host, engine, {family: engine.loop(family, settings) for family in families}, dns=dns)


def _tasks(agent: Agent, stop: Stop) -> Iterable[Coroutine[Any, Any, None]]:
    return (
        _follow_addresses(agent),
        await_node(agent.own, stop),
        *(loop.run() for loop in agent.parts.loops.values()),
        reception.answer(agent, lambda: programmed(agent.parts.loops.values()), stop),
        _slim_down(agent.parts.loops.values()),
        succeed(agent),
        agent.flows.run(),
        hold(agent.parts.config),
        agent.parts.dns.run() if agent.parts.dns is not None else _without_dns(agent.parts.loops.values()),
    )


async def _without_dns(loops: Iterable[Loop]) -> None:
    """Take away the addresses that an earlier process answered DNS at, when the rules that lead there are gone."""
    await programmed(loops)
    try:
        if removed := await surroundings.remove():
            log.info("DNS is off: its addresses are no longer this node's", extra={"removed": ", ".join(removed)})
    except KernelError as error:
        log.warning("addresses of DNS stay; try `pointsman cleanup`", extra={"error": str(error)})


async def _until(stop: asyncio.Event, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all the work until told to stop, or until a part of it fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _slim_down(loops: Iterable[Loop]) -> None:
    """Give the memory of the start back when everything is programmed, and what is freed later now and then."""
    await programmed(loops)
    await memory.stay_low()


async def _follow_addresses(agent: Agent) -> None:
    async for addresses in node.watch_addresses(agent.host.addresses):
        agent.move(Host(agent.host.name, addresses, agent.host.tcp_be_liberal))
