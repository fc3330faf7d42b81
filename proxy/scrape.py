"""Answering a scrape: a picture of the agent, taken on the event loop and rendered in a thread (`metrics`).

Reading the kernel's own counters takes a process, so it is done at most every ten seconds, however many ask; where it fails, the last
reading stands and the reason is logged once. A scrape never fails because a part of it is missing.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from pointsman.conntrack import sysctl
from pointsman.dataplane.errors import KernelError
from pointsman.explain.tally import Name, Total
from pointsman.proxy.agent import Agent
from pointsman.proxy.flow_meters import TrackingPicture
from pointsman.proxy.metrics import Picture, Recount, family_picture, render, routing_census
from pointsman.proxy.traffic_meter import TrafficMeter

log = logging.getLogger(__name__)

COUNTERS_EVERY = 10.0
"""Seconds for which a reading of the kernel's counters is good."""


class Scraper:
    """Answers scrapes of one agent."""

    def __init__(self, agent: Agent, traffic: TrafficMeter | None = None) -> None:
        """Answer for an agent; `traffic` reads what passed per Service port, if that is wanted."""
        self._agent = agent
        self._meter = traffic
        self._traffic: Mapping[Name, Total] = {}
        self._recount = Recount()
        self._counted: Mapping[str, int] = {}
        self._tracking = TrackingPicture()
        self._read_at = -COUNTERS_EVERY
        self._told = ""
        self._reading = asyncio.Lock()

    async def scrape(self) -> bytes:
        """Return all metrics as text."""
        await self._count()
        return await asyncio.to_thread(render, self.picture())

    def picture(self) -> Picture:
        """Return the agent's state at this moment; holds the event loop for about a millisecond."""
        agent = self._agent
        view, health = agent.view(), agent.health()
        agent.backlog.applied(agent.applied())
        pending = agent.backlog.pending()
        loops = zip(agent.parts.loops.items(), view.families, strict=True)
        routing = view.routing
        requests = agent.parts.requests
        return Picture(
            view=view,
            health=health,
            families=tuple(family_picture(family, loop, status, self._recount, health.timeout) for (family, loop), status in loops),
            answers=dict(agent.checks.counts),
            changes=(agent.backlog.services_total, agent.backlog.slices_total, *pending),
            tasks=len(asyncio.all_tasks()),
            counted=self._counted,
            requests=dict(requests.counts),
            durations={key: value.copy() for key, value in requests.durations.items()},
            ports=agent.ports.counts(),
            events=dict(agent.parts.announcer.recorder.counts),
            tracked=sysctl.usage(),
            tracking=self._tracking,
            traffic=self._traffic,
            routing_census=self._recount.count(
                "routing",
                (routing.revision, id(routing.routes)) if routing else None,
                lambda: lambda: routing_census(routing, by_service=view.mode == "ipvs"),
            ),
        )

    async def _count(self) -> None:
        """Read the kernel's counters, if the last reading is old."""
        async with self._reading:
            if time.monotonic() - self._read_at < COUNTERS_EVERY:
                return
            self._tracking = await self._agent.flows.picture()
            if self._meter is not None:
                self._traffic = await self._meter.totals(self._agent.routing)
            try:
                self._counted = await self._agent.parts.engine.counted()
            except KernelError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    log.warning("the kernel's counters cannot be read; metrics tell the last reading", extra={"error": self._told})
            self._read_at = time.monotonic()
