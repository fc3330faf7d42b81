"""Judges an agent that reads a real API: what the API server holds is the truth, the oracle says what follows, packets show what is.

The agent itself is not asked. It may need a moment after a change, so agreement is waited for; a frontend that once existed is tried
for ever after, so what should have been removed is seen.
"""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec import structs
from pointsman.proxy.demo.lab import Ending
from pointsman.routing.build import build
from pointsman.routing.oracle import Oracle
from pointsman.routing.route import Family, FrontendKind, Protocol
from table_cases import Case, feasible, sources
from table_run import prepare, run
from table_services import snapshot_of
from table_worlds import TOPOLOGY, WORLDS

LISTS = ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/apis/networking.k8s.io/v1/servicecidrs")
AGREEMENT_SECONDS = 120.0
PATIENCE_SECONDS = 20.0
"""A connection that is slow because the machine is busy is not broken."""
EXCHANGE_PAUSE = 0.05
SHOWN = 12
ENTRIES = {world.entry: world for world in WORLDS[:2]}
VARIANTS = {"n1": "legacy", "n2": "nft"}
"""The variant that each node's daemon uses: both are tested at once."""


TOTAL = Counter()
"""What was shown, for the last lines of the run."""


@dataclass(frozen=True)
class Named:
    """What a case is about, for people."""

    name: str


class ServedOnce:
    """The laboratory's servers, each opened once however often it is wished."""

    def __init__(self, lab):
        self.servers, self._lab, self._open = self, lab, set()

    def serve(self, *what):
        if what not in self._open:
            self._open.add(what)
            self._lab.servers.serve(*what)


class Judge:
    """Compares packets with the oracle for the Services of one API namespace, on every node that has an agent."""

    def __init__(self, plane, stage, nodes, served):
        self._plane, self._stage, self._nodes, self._served = plane, stage, nodes, served
        self._targets = {}

    async def agrees(self, seconds=AGREEMENT_SECONDS):
        """Wait until every packet meets what the oracle says about the API server's present state; return how many cases there are.

        The controllers are waited for first.
        """
        await self._stage.settled()
        deadline = time.monotonic() + seconds
        while True:
            found = await self.cases()
            differences = await run(self._plane.lab, found)
            if not differences:
                TOTAL.update(cases=len(found), states=1)
                return len(found)
            if time.monotonic() > deadline:
                shown = "\n".join(sorted(differences.values())[:SHOWN])
                raise AssertionError(f"{len(differences)} of {len(found)} cases differ after {seconds:.0f} s:\n{shown}")

    async def cases(self):
        """Return the cases of the API server's present state, and of every frontend of an earlier one."""
        lists = await asyncio.gather(*map(self._plane.api.items, LISTS))
        snapshot = snapshot_of([one for found in lists for one in found])
        made = {}
        for node in self._nodes:
            facts = ENTRIES[node].facts()
            own = {family: TOPOLOGY.local_addresses(node, family) for family in Family}
            facts = structs.replace(facts, local_addresses=own)
            routing = build(snapshot, facts)
            self._remember(routing, node)
            made |= self._ask(node, Oracle(routing, facts))
        prepare(self._served, made)
        return made

    def _remember(self, routing, node):
        for route in routing.routes.values():
            if route.port_name.namespace != self._stage.name:
                continue
            for one in route.frontends():
                is_node_port = one.kind is FrontendKind.NODE_PORT
                address = TOPOLOGY.places[node].addresses[route.family] if is_node_port else one.address
                what = (node, route.family, address, one.port, one.protocol)
                self._targets[what] = (route.port_name.name, one.kind.value)

    def _ask(self, node, oracle):
        made = {}
        for (entry, family, address, port, protocol), (name, kind) in self._targets.items():
            if entry != node:
                continue
            known = sources(ENTRIES[node], family)
            for source in ("pod", "itself", "node", "outside"):
                case = Case(ENTRIES[node], Named(f"{self._stage.name}/{name}"), known[source], kind, address, port, protocol, family)
                outcome = oracle.trace(case.packet)
                if feasible(case, outcome):
                    made[case] = outcome
        return made


class Traffic:
    """What must not break while something else does: established connections, and new ones all the time."""

    def __init__(self, lab):
        self._lab = lab
        self.failures = []
        self.made = 0
        self.streams = []

    async def ask_again_and_again(self, targets, per_second):
        """Open new connections to (place, address, port, protocol) targets in turn; each is a task, so a slow one holds up nobody."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._ask(*targets[self.made % len(targets)]))
                self.made += 1
                await asyncio.sleep(1 / per_second)

    async def keep(self, stream):
        """Exchange over an established connection until it breaks."""
        while await stream.exchange(PATIENCE_SECONDS):  # noqa: ASYNC110 - this is work, not waiting
            await asyncio.sleep(EXCHANGE_PAUSE)

    async def _ask(self, place, address, port, protocol):
        began = time.monotonic()
        result = await self._lab.probe(place, address, port, protocol, timeout_seconds=PATIENCE_SECONDS)
        if result.ending is not Ending.ANSWERED:
            self.failures.append(f"{began:.1f}: {place} -> {address}:{port}/{protocol.value}: {result.ending.value}")


@asynccontextmanager
async def traffic(lab, targets, *, per_second=20, streams=3):
    """Keep connections open and open new ones while the body runs; none may fail. Targets are (place, address, port, protocol)."""
    flow = Traffic(lab)
    over_tcp = [target[:3] for target in targets if target[3] is Protocol.TCP]
    flow.streams = [await lab.stream(*over_tcp[number % len(over_tcp)]) for number in range(streams)]
    tasks = [asyncio.create_task(flow.keep(one)) for one in flow.streams]
    asking = asyncio.create_task(flow.ask_again_and_again(targets, per_second))
    try:
        yield flow
        broken = [number for number, task in enumerate(tasks) if task.done()]
        assert not broken, f"streams {broken} broke"
        assert not flow.failures, f"{len(flow.failures)} of {flow.made} new connections failed:\n" + "\n".join(flow.failures[:SHOWN])
        assert not asking.done() or asking.exception() is None
        TOTAL.update(kept=len(tasks), new=flow.made)
    finally:
        for task in (*tasks, asking):
            task.cancel()
        await asyncio.gather(*tasks, asking, return_exceptions=True)
        for one in flow.streams:
            one.close()
