"""The kernel as a mode reads it for explanations: what differs, what happens to a packet, what passed. Never writes.

`modes` programs, this module only looks; it runs in the process of a command, beside a running agent or without one, in the network
namespace of the caller. Each mode has an inspector in `INSPECTORS`; a further mode is a further line there.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct
from pointsman.dataplane.contract import Mark
from pointsman.dataplane.trace import Difference, Tracer
from pointsman.dataplane.traffic import Passed
from pointsman.explain import drift
from pointsman.iptables import reading
from pointsman.iptables import traffic as iptables_traffic
from pointsman.iptables import words as iptables_words
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.tracer import IptablesTracer
from pointsman.iptables.variant import Variant, choose
from pointsman.iptables.writer import Writer
from pointsman.ipvs import device, names
from pointsman.ipvs import words as ipvs_words
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.ipvsadm import Ipvsadm, Listed
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.ipvs.keys import Key as IpvsKey
from pointsman.ipvs.keys import Value as IpvsValue
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey
from pointsman.ipvs.tracer import IpvsTracer, ServerReading
from pointsman.netlink.lookup import leads
from pointsman.proxy import node as this_node
from pointsman.proxy.config import Config
from pointsman.proxy.modes import ipvs_options
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing


class Sight(Struct, frozen=True):
    """A kernel that was read: who tells what happens to packets, and what was read, in words."""

    tracer: Tracer
    said: str


class Inspector(Protocol):
    """A mode's kernel, to be looked at; every method may raise KernelError."""

    variant: str

    async def differences(self, family: Family, routing: Routing, node: NodeFacts) -> tuple[Difference, ...]:
        """Return what the kernel holds otherwise than wanted."""
        ...

    async def sight(self, family: Family, addresses: Iterable[str]) -> Sight:
        """Read what decides about packets; `addresses` are those whose ways out matter."""
        ...

    async def passed(self, family: Family) -> tuple[Passed, ...]:
        """Return what passed per frontend or endpoint, as the kernel counted it."""
        ...


class IptablesInspector:
    """The iptables mode in one variant."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant.value
        self._variant = variant

    async def differences(self, family: Family, routing: Routing, node: NodeFacts) -> tuple[Difference, ...]:
        """See `Inspector`."""
        seen = await IptablesKernel(family, self._variant, Writer()).standing()
        return drift.between(IptablesCompiler(family), iptables_words.differences, seen, family=family, routing=routing, node=node)

    async def sight(self, family: Family, addresses: Iterable[str]) -> Sight:
        """See `Inspector`."""
        found = await reading.read(family, self._variant)
        local = (await this_node.read_addresses())[family]
        return Sight(IptablesTracer(found.rulesets, found.sets, local, await leads(addresses)), found.said)

    async def passed(self, family: Family) -> tuple[Passed, ...]:
        """See `Inspector`."""
        return iptables_traffic.passed(await reading.rules_of(family, self._variant))


class IpvsInspector:
    """The ipvs mode, with companion rules in one variant."""

    def __init__(self, variant: Variant, config: Config) -> None:
        self.variant = variant.value
        self._variant = variant
        self._options = ipvs_options(config)

    async def differences(self, family: Family, routing: Routing, node: NodeFacts) -> tuple[Difference, ...]:
        """See `Inspector`; what drains is as it should be."""
        kernel = IpvsKernel(family, self._variant, Writer(), Settings(options=self._options))
        try:
            seen = await kernel.observe()
        finally:
            await kernel.close()
        compiler = IpvsCompiler(family, self._options)
        return drift.between(compiler, ipvs_words.differences, without_draining(seen), family=family, routing=routing, node=node)

    async def sight(self, family: Family, addresses: Iterable[str]) -> Sight:
        """See `Inspector`."""
        found = await reading.read(family, self._variant)
        servers = {one.virtual.key: (one.virtual, one.reals) for one in await _listed() if one.virtual.key.family is family}
        bound = frozenset(key.address for key in await device.observe(family))
        local = (await this_node.read_addresses())[family]
        tracer = IpvsTracer(found.rulesets, found.sets, ServerReading(servers, bound), local, await leads(addresses))
        return Sight(tracer, f"{found.said}, {len(servers)} virtual servers, {len(bound)} addresses of {names.DEVICE}")

    async def passed(self, family: Family) -> tuple[Passed, ...]:
        """See `Inspector`: IPVS counts both ways, per virtual and per real server."""
        found = []
        for one in await _listed():
            key = one.virtual.key
            if key.family is not family or key.protocol is None:
                continue
            for real in one.reals:
                total = real.statistics.total
                found.append(Passed(
                    key.protocol.value, key.address, key.port, real.key.address, real.key.port,
                    total.connections, total.packets_in, total.bytes_in, total.packets_out, total.bytes_out,
                ))  # fmt: skip
        return tuple(found)


def without_draining(seen: Mapping[IpvsKey, IpvsValue | Mark]) -> dict[IpvsKey, IpvsValue | Mark]:
    """Return what was seen without real servers that take no new connection, and virtual servers that only wait for those."""
    draining = {key for key, value in seen.items() if isinstance(key, RealKey) and isinstance(value, RealServer) and value.weight == 0}
    kept = {key.virtual for key in seen if isinstance(key, RealKey) and key not in draining}
    waiting = {key.virtual for key in draining if isinstance(key, RealKey)} - kept
    return {
        key: value for key, value in seen.items() if key not in draining and not (isinstance(key, VirtualKey) and key in waiting)
    }  # fmt: skip


async def _listed() -> tuple[Listed, ...]:
    async with await Ipvsadm.open() as ipvsadm:
        return await ipvsadm.list_all()


async def inspector(mode: str, config: Config, variant: str = "") -> Inspector:
    """Return the inspector of a mode; `variant` as a running agent has it, else as it would be chosen. Raises KernelError."""
    chosen = Variant(variant) if variant else (await choose(config.iptables_variant)).variant
    return IpvsInspector(chosen, config) if mode == "ipvs" else IptablesInspector(chosen)
