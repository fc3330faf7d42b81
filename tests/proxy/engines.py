"""An engine and a loop without a kernel: they remember, or say what the test wants."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from pointsman.dataplane.errors import KernelError
from pointsman.proxy.drained import Drained
from pointsman.proxy.loop import LoopSettings
from pointsman.proxy.mode import Ended, Loop
from pointsman.proxy.status import ApplyStatus, FamilyProgress, FamilyStatus, ForeignStatus
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, ServicePortName


class FakeLoop:
    """Remembers what it was offered, and whether the input was complete then."""

    def __init__(self) -> None:
        self.offers: list[tuple[RoutingChange, NodeFacts]] = []
        self.complete: bool | None = None
        self.complete_at_offer: list[bool | None] = []
        self.progress = FamilyProgress(Family.IPV4)
        self.refusals: dict[ServicePortName, str] = {}
        self._settled = asyncio.Event()

    def offer(self, change: RoutingChange, node: NodeFacts) -> None:
        self.offers.append((change, node))
        self.complete_at_offer.append(self.complete)

    def trust(self, *, complete: bool) -> None:
        self.complete = complete

    def status(self, wall: datetime) -> FamilyStatus:
        return FamilyStatus("IPv4", 1, 1, wall, 0, None, 7.0, wall, ApplyStatus(), 0, (), ForeignStatus())

    async def applied(self, revision: int) -> None:
        await asyncio.Event().wait()

    async def verified(self) -> None:
        await asyncio.Event().wait()

    def settle(self) -> None:
        """Have applied everything that was offered."""
        self.progress.taken()
        self.progress.settled(2.0)
        self._settled.set()

    async def settled(self) -> None:
        await self._settled.wait()
        self._settled.clear()

    def refused(self) -> Mapping[ServicePortName, str]:
        return self.refusals

    def census(self) -> Callable[[], Mapping[str, int]]:
        return lambda: {"nat": 7, "filter": 3, "set elements": 2}

    async def run(self) -> None:
        await asyncio.Event().wait()


class FakeEngine:
    """An engine that works, or does not."""

    variant = "legacy"
    reason = "because"

    def __init__(self, errors: Mapping[Family, tuple[KernelError, ...]]) -> None:
        self.errors = errors

    async def preflight(self) -> Mapping[Family, tuple[KernelError, ...]]:
        return self.errors

    def loop(self, family: Family, settings: LoopSettings) -> Loop:
        return FakeLoop()

    def draining(self, wall: datetime) -> tuple[Drained, ...]:
        return ()

    async def counted(self) -> Mapping[str, int]:
        return {"invalid packets dropped": 5, "loopback connections accepted": 6}

    def bury(self, addresses: frozenset[str]) -> None:
        self.buried = addresses

    def end(self, family: Family, connections: Iterable[Ended]) -> None:
        self.ended = {family: tuple(connections)}
