"""Everything that the agent answers and tells: the status socket, health, metrics, health-check node ports, events.

The rules go first, for some seconds at most: loading the HTTP library takes 0.1 s and 16 MB at the peak, the metrics a little more. None of
it ever stops the routing, but where the operator wants it so (`--bind-address-hard-fail`): then the reason is logged, told as an event, and
the agent ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module

from pointsman.proxy import announce, health_nodeport, servers, socket
from pointsman.proxy.agent import Agent
from pointsman.proxy.config_watch import Stop
from pointsman.proxy.servers import ListenError, Server

log = logging.getLogger(__name__)

LATE = ("aiohttp.web", "pointsman.proxy.metrics_server", "pointsman.proxy.scrape")
"""What is loaded only here, in a thread."""

RULES_FIRST = 5.0
"""Seconds that health and status wait at most for the first rules; less than a probe's usual period."""

FAREWELL = 5.0
"""Seconds that the end waits for the event that tells of it."""

LOOK_AGAIN = 60.0
"""Seconds after which ports and refusals are looked at again though nobody said that something has changed."""


async def answer(agent: Agent, programmed: Callable[[], Awaitable[None]], stop: Stop) -> None:
    """Answer and tell until cancelled; what `programmed` waits for comes first."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RULES_FIRST):
            await programmed()
    for name in LATE:
        await asyncio.to_thread(import_module, name)
    from pointsman.proxy.metrics_server import MetricsServer  # noqa: PLC0415 - see above
    from pointsman.proxy.scrape import Scraper  # noqa: PLC0415 - see above
    from pointsman.proxy.traffic_meter import of as traffic_of  # noqa: PLC0415 - see above

    config, scraper = agent.parts.config, Scraper(agent, traffic_of(agent))
    checks = agent.checks.server(config.healthz_bind_address)
    metrics = MetricsServer(config, scraper, agent.health).server()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.parts.announcer.recorder.run())
        group.create_task(agent.parts.announcer.run())
        group.create_task(_serve(agent, checks, "FailedToStartProxierHealthcheck", stop))
        group.create_task(_serve(agent, metrics, "FailedToStartMetricServer", stop))
        group.create_task(socket.serve(config.socket, agent.view))
        group.create_task(follow(agent))


async def _serve(agent: Agent, server: Server, reason: str, stop: Stop) -> None:
    """Serve; where it may not fail and does, tell why and end the agent."""
    try:
        await servers.serve(server, hard_fail=agent.parts.config.bind_address_hard_fail)
    except ListenError as error:
        log.error("ending, as --bind-address-hard-fail asks for: %s", error)  # noqa: TRY400 - the text says it all
        recorder = agent.parts.announcer.recorder
        recorder.record(announce.unserved(agent.facts.node.name, reason, str(error)))
        with suppress(TimeoutError):
            await asyncio.wait_for(recorder.sent(), FAREWELL)
        stop.status = 1
        stop.set()


async def follow(agent: Agent) -> None:
    """Keep the health-check node ports as the kernel follows the Services, and tell of the Services that it does not take."""
    try:
        while True:
            revision = agent.applied()
            if revision is not None:
                await agent.ports.update(revision, health_nodeport.places(agent.facts.node, agent.parts.loops))
            agent.parts.announcer.unprogrammed(agent.refused())
            if agent.applied() == revision:
                await _settled(agent, servers.RETRY if agent.ports.failing else LOOK_AGAIN)
    finally:
        await agent.ports.close()


async def _settled(agent: Agent, seconds: float) -> None:
    """Wait until a family has applied something, for so long at most."""
    waiting = [asyncio.create_task(loop.settled()) for loop in agent.parts.loops.values()]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
