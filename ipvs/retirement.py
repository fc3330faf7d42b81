"""Taking the ipvs mode away from under another one that has taken over, without ending a connection.

New connections go the other mode's way: it translates them before IPVS sees them. What began through IPVS still needs its virtual server,
its real server and its address; nothing else does. So, per family:

    rules      those of this mode go, but for two that guard the addresses (`filter.retired`); sets with them
    servers    idle ones go; those with connections get weight 0 and drain, UDP too, to the cap at most (`drain`)
    addresses  stay while a virtual server at them is there, and LINGER longer: a packet that still comes shall meet IPVS, which forgets
               the connection, and not the world beyond the default route

A process that starts in between finds what is left like any other leftover and goes on. A UDP flow whose endpoint the cluster no longer has
is not kept, for nothing would ever tell its client. `pointsman ipvs drain` shows the list; `cleanup` waits for nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from pointsman.dataplane.contract import Mark
from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.linger import Linger
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.rule import canonical
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs import cleanup, names
from pointsman.ipvs.drain import Draining, waits
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.kernel import LONGEST_TICK, LOOK_SHARE, TICK, IpvsKernel, Settings
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.ipvs.removal import describe, reduction, remainder
from pointsman.routing.route import Family, Protocol

log = logging.getLogger(__name__)

LINGER: Final = 30.0
"""Seconds that an address outlives the last virtual server at it: longer than a connection in use is silent."""

Endpoints = Callable[[], Collection[tuple[Protocol, str, int]]]


class Retirement:
    """The end of the mode in both families; what is kube-proxy's stays if it is to `spare` it.

    `endpoints` returns where all endpoints are that the cluster has at the moment.
    """

    def __init__(
        self,
        settings: Settings,
        masquerade_bit: int,
        endpoints: Endpoints,
        variants: Sequence[Variant] = tuple(Variant),
        *,
        spare: bool = False,
    ) -> None:
        self._settings = settings
        self._bit = masquerade_bit
        self._endpoints = endpoints
        self._variants = variants
        self._spare = spare
        self._spared = False
        self._remnants: list[Remnant] = []

    async def begin(self) -> tuple[str, ...]:
        """Lead nothing new to IPVS and remove what no connection needs; return in words what there was.

        Both families are tried; then a KernelError tells what went wrong.
        """
        words: list[str] = []
        errors: list[KernelError] = []
        writer = Writer()
        for family in Family:
            remnant = Remnant([IpvsKernel(family, one, writer, self._settings) for one in self._variants], self._bit, spare=self._spare)
            self._remnants.append(remnant)
            try:
                words += await remnant.begin()
                self._spared |= remnant.spared
            except KernelError as error:
                errors.append(error)
        if errors:
            await self._close()
            raise KernelError(errors[0].kind, "; ".join(dict.fromkeys(map(str, errors))), "the end of mode ipvs")
        return tuple(dict.fromkeys(words))

    async def finish(self) -> None:
        """Wait until no connection needs anything any more, and remove what is left. Raises KernelError if the device cannot be removed."""
        try:
            await self._drained()
        finally:
            await self._close()
        if not self._spared:
            await cleanup.remove_device(dry_run=False)

    async def _drained(self) -> None:
        told = ""
        while self._remnants:
            began = time.monotonic()
            for remnant in tuple(self._remnants):
                try:
                    left = await remnant.step(began, self._endpoints)
                except KernelError as error:
                    if str(error) != told:
                        told = str(error)
                        log.warning("what the ipvs mode left cannot be removed yet; trying again", extra={"error": told})
                    continue
                if not left:
                    self._remnants.remove(remnant)
                    await remnant.close()
            if self._remnants:
                await asyncio.sleep(min(max(TICK, LOOK_SHARE * (time.monotonic() - began)), LONGEST_TICK))

    async def _close(self) -> None:
        for remnant in self._remnants:
            await remnant.close()
        self._remnants.clear()

    def draining(self) -> Iterator[Draining]:
        """Yield what drains."""
        for remnant in self._remnants:
            yield from remnant.kernel.servers.drain.listed()

    def bury(self, addresses: frozenset[str]) -> None:
        """Say which endpoints are on nodes that exist no more: nobody need wait for their connections."""
        for remnant in self._remnants:
            remnant.kernel.servers.gone = addresses


class Remnant:
    """What is left in one family. `kernels` has one for each variant of the tools; that with the rules takes care of the rest."""

    def __init__(self, kernels: Sequence[IpvsKernel], masquerade_bit: int, *, spare: bool = False) -> None:
        self.kernel = kernels[0]
        self.spared = False
        self._spare = spare
        self._kernels = tuple(kernels)
        self._bit = masquerade_bit
        self._left: dict[Key, Value | Mark] = {}  # all but servers
        self._linger: Linger[AddressKey] = Linger()

    async def begin(self) -> tuple[str, ...]:
        """Take the mode out of the way; return in words what there was. Raises KernelError."""
        there = await cleanup.read_all(self._kernels)
        seen = cleanup.ours(there, self.kernel.family) if self._spare else there
        self.spared = bool(there) and not seen
        if not seen:
            return ()
        self.kernel, *others = seen
        for kernel in others:
            await kernel.reduce(reduction(seen[kernel], {}))
        mine = seen[self.kernel]
        servers = [key for key in mine if isinstance(key, VirtualKey | RealKey)]
        self._left = {key: value for key, value in mine.items() if not isinstance(key, VirtualKey | RealKey)}
        bound = [key for key in self._left if isinstance(key, AddressKey)]
        guarded = remainder(self._left, [], bound, self.kernel.family, self._bit)
        rest: dict[Key, Value] = {
            key: value for key, value in self._left.items() if not isinstance(key, RuleKey) and not isinstance(value, Mark)
        }
        await self._leave(rest | guarded)  # no rule leads to IPVS any more: from here on what is idle stays idle
        for error in (await self.kernel.servers.delete(servers, may_drain=lambda _: True)).values():
            raise error
        await self._leave(self._needed(()))
        return tuple(word for kernel, found in seen.items() for word in describe(found, kernel.family, kernel.variant.value))

    async def step(self, now: float, endpoints: Endpoints) -> bool:
        """Remove what has drained; return whether anything is left. `now` is monotonic, in seconds. Raises KernelError."""
        servers = self.kernel.servers
        flows = [key for key in servers.drain.keys if not waits(key.virtual)]
        present = endpoints() if flows else ()
        lost = [key for key in flows if (Protocol.UDP, key.address, key.port) not in present]
        await servers.tick([*lost, *await self._unused()])
        needed = self._needed(())
        for key in self._left:
            if isinstance(key, AddressKey) and key not in needed:
                self._linger.hold(key, now + LINGER)
        await self._leave(self._needed([key for key in self._linger.held(now) if key in self._left]))
        return bool(self._left or servers.drain.held)

    async def _unused(self) -> list[RealKey]:
        """Return the servers behind marks that no connection to an address of a Service uses.

        While both modes stood, a connection of this node to a frontend of policy Local was translated by the other one and then, for its
        mark, entered by IPVS as well, which never sees its end. Such an entry leads from an endpoint's address, not from a Service's.
        """
        marked = [key for key in self.kernel.servers.drain.keys if key.virtual.mark]
        if not marked:
            return []
        table = await Ipvsadm(await self.kernel.servers.channel()).connections()
        name = names.SETS[self.kernel.family].short_circuit
        marks = {key.element: str(value) for key, value in self._left.items() if isinstance(key, SetKey) and key.name == name}
        used: set[tuple[str, str, int]] = set()
        for one in table.connections:
            element = f"{canonical(one.virtual)},{one.protocol.lower()}:{one.virtual_port}"
            if element in marks and not one.template:
                used.add((marks[element], one.real, one.real_port))
        return [key for key in marked if (f"skbmark {key.virtual.mark:#x}", key.address, key.port) not in used]

    async def close(self) -> None:
        """Close the sockets."""
        for kernel in self._kernels:
            await kernel.close()

    def _needed(self, lingering: Collection[AddressKey]) -> dict[Key, Value]:
        return remainder(self._left, self.kernel.servers.drain.held, lingering, self.kernel.family, self._bit)

    async def _leave(self, wanted: dict[Key, Value]) -> None:
        """Remove all but what is wanted; servers aside."""
        if wanted != self._left:
            await self.kernel.reduce(reduction(self._left, wanted))
            self._left = dict(wanted)

