"""What a mode is to the rest of the program, whatever it programs.

A mode has its own keys and values, which nobody outside ever sees: what it gives away is a reconcile loop, a text, or a list of words.
`plan` needs no kernel, so a `Mode` exists without one; `open` looks at the machine and gives an `Engine`, which can be asked whether it
would work and then makes one loop per family. `modes` has those that there are.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct
from pointsman.dataplane.errors import KernelError
from pointsman.ipvs.retirement import Endpoints
from pointsman.proxy.config import Config
from pointsman.proxy.drained import Drained
from pointsman.proxy.loop import LoopSettings
from pointsman.proxy.status import FamilyProgress, FamilyStatus
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing, ServicePortName
from pointsman.routing.route import Protocol as TransportProtocol

DEFAULTS = Config()


class Loop(Protocol):
    """A reconcile loop of one family, whatever its keys and values are."""

    def offer(self, change: RoutingChange, node: NodeFacts) -> None:
        """See `FamilyLoop.offer`."""
        ...

    def trust(self, *, complete: bool) -> None:
        """See `FamilyLoop.trust`."""
        ...

    def status(self, wall: datetime) -> FamilyStatus:
        """See `FamilyLoop.status`."""
        ...

    async def applied(self, revision: int) -> None:
        """See `FamilyLoop.applied`."""
        ...

    async def verified(self) -> None:
        """See `FamilyLoop.verified`."""
        ...

    async def settled(self) -> None:
        """See `FamilyLoop.settled`."""
        ...

    def census(self) -> Callable[[], Mapping[str, int]]:
        """See `FamilyLoop.census`."""
        ...

    def refused(self) -> Mapping[ServicePortName, str]:
        """See `FamilyLoop.refused`."""
        ...

    @property
    def progress(self) -> FamilyProgress:
        """Return how far it is."""
        ...

    async def run(self) -> None:
        """See `FamilyLoop.run`."""
        ...


class Drains(Protocol):
    """What lets connections end before it removes what they need."""

    def draining(self, wall: datetime) -> tuple[Drained, ...]:
        """Return the endpoints that are gone and still have connections; `wall` is the present time."""
        ...

    def bury(self, addresses: frozenset[str]) -> None:
        """Say which endpoints are on nodes that exist no more: nobody need wait for their connections."""
        ...


class Ended(Struct, frozen=True):
    """A connection that is to go on no more (pain 85): where the client went, where it came to, and through which Service port.

    `node_port` is that Service port's, 0 = none.
    """

    protocol: TransportProtocol
    port_name: ServicePortName
    node_port: int
    address: str
    port: int
    backend: str
    backend_port: int


class Engine(Drains, Protocol):
    """A mode on this machine."""

    variant: str
    reason: str

    async def preflight(self) -> Mapping[Family, tuple[KernelError, ...]]:
        """Return everything that keeps each family from working here. Writes nothing."""
        ...

    def loop(self, family: Family, settings: LoopSettings) -> Loop:
        """Return a new loop."""
        ...

    def end(self, family: Family, connections: Iterable[Ended]) -> None:
        """Say which connections have no entry in connection tracking any more and are to end: a mode may have entries of its own."""
        ...

    async def counted(self) -> Mapping[str, int]:
        """Return what the kernel counted at our rules, by name (`iptables.counters`); raises KernelError if it cannot be read."""
        ...


class Leaving(Drains, Protocol):
    """The end of a mode that an earlier process programmed, while another mode routes; no established connection is ended by it."""

    async def begin(self) -> tuple[str, ...]:
        """Let it take no new connection, and remove what none needs; return in words what there was. Raises KernelError."""
        ...

    async def finish(self) -> None:
        """Wait until the connections that it has have ended, or out of time, and remove the rest. Raises KernelError."""
        ...


class Mode(Protocol):
    """A way to program the kernel."""

    def text(self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS) -> str:
        """Return what an empty kernel would be given, in the mode's own language."""
        ...

    def fragments(self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS) -> dict[str, list[object]]:
        """Return what each owner wants, as plain values: by Service port (`namespace/name:port protocol`), and `static`."""
        ...

    def privileged(self, config: Config) -> None:
        """Make the kernel settings that programming may need and may lack the rights for (PROC-05); raises KernelError."""
        ...

    async def open(self, config: Config) -> Engine:
        """Look at the machine, and choose how to work on it; raises KernelError."""
        ...

    async def cleanup(self, *, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        """Remove everything of ours, however it came there; return what was (or would be) removed. Raises KernelError.

        What kube-proxy's mode of this name made stays unless `spare` is false.
        """
        ...

    async def succeed(self) -> tuple[str, ...]:
        """Remove what kube-proxy's mode of this name left and this one has no use for; return it in words. Raises KernelError."""
        ...

    def retire(self, config: Config, endpoints: Endpoints) -> Leaving:
        """Return what takes this mode away from under another one; `endpoints` returns where all present endpoints are.

        What is kube-proxy's stays where the configuration does not allow to take over.
        """
        ...
