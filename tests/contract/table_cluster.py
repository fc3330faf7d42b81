"""A cluster whose Services change while traffic flows: what tests of single situations need besides the table."""

from contextlib import asynccontextmanager

from pointsman.proxy.demo.lab import Laboratory
from pointsman.routing.build import build
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet
from table_agent import agent, write
from table_cases import sources
from table_run import ANSWER_SECONDS, SILENCE_SECONDS
from table_services import manifests, snapshot_of
from table_worlds import TOPOLOGY, WORLDS

WORLD = WORLDS[0]


class Cluster:
    """The laboratory with a daemon on its first node, and the Services that the daemon reads."""

    def __init__(self, lab, folder, mode, world, scratch):
        self.lab = lab
        self.folder = folder
        self.mode = mode
        self.world = world
        self.scratch = scratch
        self.agent = None
        self.configurations = ()

    def start(self, *arguments):
        """Return the context of a daemon; it stops where the context ends."""
        return self._start(arguments)

    @asynccontextmanager
    async def _start(self, arguments):
        async with self.start_unready(*arguments) as running:
            self.agent = running
            await running.in_sync()
            yield running

    def start_unready(self, *arguments):
        """Return the context of a daemon that nobody waits for."""
        return agent(self.lab, self.world.entry, self.mode, self.folder, (*self.world.arguments, *arguments), self.scratch)

    def write(self, *configurations):
        """Write Services for the daemon to read."""
        self.configurations = configurations
        write(self.folder, manifests(configurations, TOPOLOGY))

    async def apply(self, *configurations):
        """Write Services and wait until the daemon says that the kernel has them."""
        before = await self.agent.in_sync()
        self.write(*configurations)
        await self.agent.in_sync(at_least=before + 1)

    async def ask(self, source, family, destination, port, protocol, *, silent=False):
        """Open one connection from a named source."""
        one = sources(self.world, family)[source]
        seconds = SILENCE_SECONDS if silent else ANSWER_SECONDS
        return await self.lab.probe(one.place, destination, port, protocol, source_address=one.address, timeout_seconds=seconds)

    def expect(self, source, family, destination, port, protocol):
        """Return the oracle's outcome of the same connection."""
        one = sources(self.world, family)[source]
        facts = self.world.facts()
        oracle = Oracle(build(snapshot_of(manifests(self.configurations, TOPOLOGY)), facts), facts)
        return oracle.trace(Packet(one.address, destination, protocol, port, one.interface))


@asynccontextmanager
async def cluster(mode, scratch, *configurations, world=WORLD):
    """Build a cluster with these Services; its daemon is not started yet."""
    lab = Laboratory(TOPOLOGY)
    async with lab:
        made = Cluster(lab, scratch / "manifests", mode, world, scratch)
        made.write(*configurations)
        yield made
    assert lab.leftovers == ()
