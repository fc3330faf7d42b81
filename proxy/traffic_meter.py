"""Traffic per Service port for the metrics, read from the kernel when somebody scrapes, and not too often.

A reading takes a process or many netlink messages, and its cost grows with the cluster; so the next one comes a minute later at the
earliest, and not before a hundred times what the last one took, and beyond `MOST` Service ports there is none: `pointsman top` reads them
in a process of its own. Parsing is done in a thread. Where it fails the last totals stand, and the reason is logged once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.traffic import Passed
from pointsman.explain.tally import Name, Tally, Total
from pointsman.explain.traffic import rows
from pointsman.proxy.agent import Agent
from pointsman.proxy.inspection import inspector
from pointsman.routing.route import Routing

log = logging.getLogger(__name__)

EVERY = 60.0
MOST = 2_000
"""With more routes than this nothing is read: it would cost the agent tens of megabytes."""

SHARE = 100
"""So many times longer than a reading took is the pause before the next."""

Read = Callable[[], Awaitable[tuple[Passed, ...]]]


class TrafficMeter:
    """Totals per Service port; `read` asks the kernel."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._tally = Tally()
        self._due = 0.0
        self._told = ""

    async def totals(self, routing: Routing | None) -> Mapping[Name, Total]:
        """Return the totals, after a new reading if one is due."""
        began = self._clock()
        if routing is not None and began >= self._due and len(routing.routes) <= MOST:
            try:
                passed = await self._read()
                self._tally.read(await asyncio.to_thread(rows, passed, routing))
            except KernelError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    log.warning("traffic per Service cannot be read; metrics tell the last reading", extra={"error": self._told})
            self._due = self._clock() + max(EVERY, SHARE * (self._clock() - began))
        return self._tally.totals


def of(agent: Agent) -> TrafficMeter:
    """Return the meter of an agent."""

    async def read() -> tuple[Passed, ...]:
        looker = await inspector(agent.parts.config.mode, agent.parts.config, agent.parts.engine.variant)
        return tuple([one for family in agent.parts.loops for one in await looker.passed(family)])

    return TrafficMeter(read)
