"""The modes that this version can program, behind the interface of `mode`: the only place that knows a mode by name.

A further mode is a further class and a further line in `MODES`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from pointsman.dataplane import plan as planning
from pointsman.dataplane.contract import Compiler, K, V
from pointsman.dataplane.errors import KernelError
from pointsman.iptables import cleanup as iptables_cleanup
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.preflight import family_error
from pointsman.iptables.sysctl import allow_loopback_node_ports
from pointsman.iptables.variant import Choice, Variant, choose
from pointsman.iptables.writer import Writer
from pointsman.ipvs import cleanup as ipvs_cleanup
from pointsman.ipvs import sysctl as ipvs_sysctl
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.drain import Draining
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.ipvs.names import mark_node_port, mark_of, mark_protocol
from pointsman.ipvs.objects import RealKey, Timeouts, VirtualKey
from pointsman.ipvs.retirement import Endpoints, Retirement
from pointsman.proxy import facts
from pointsman.proxy.config import Config
from pointsman.proxy.drained import Drained
from pointsman.proxy.loop import FamilyLoop, LoopSettings
from pointsman.proxy.mode import DEFAULTS, Ended, Engine, Leaving, Loop, Mode
from pointsman.proxy.status import FamilyProgress
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing

log = logging.getLogger(__name__)


async def _choose(config: Config) -> Choice:
    """Return which variant of iptables to use; tell of rules of a service proxy in the other one (pain 40)."""
    choice = await choose(config.iptables_variant)
    if choice.beside:
        log.warning(
            "the other variant of iptables holds rules of a service proxy, which take packets as well until they are removed: that is done"
            " as soon as ours carry the traffic, except with --takeover=false for kube-proxy's; stop what writes them",
            extra={"variant": choice.variant.value, "rules_in_the_other": choice.beside},
        )
    return choice


def _fragments(compiler: Compiler[K, V], family: Family, routing: Routing, node: NodeFacts) -> dict[str, list[object]]:
    found = {planning.STATIC: compiler.static(node, routing)}
    for key, route in routing.routes.items():
        if key.family is family:
            found[f"{key.port_name} {key.port_name.protocol.lower}"] = compiler.compile(route, node)
    plain = msgspec.to_builtins
    return {owner: [{"key": plain(key), "value": plain(value)} for key, value in each.items()] for owner, each in found.items()}


class IptablesMode:
    """iptables, in either variant."""

    def text(self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS) -> str:  # noqa: ARG002
        """See `Mode`."""
        compiler = IptablesCompiler(family)
        return compiler.render(planning.from_scratch(compiler, family, routing, node))

    def fragments(
        self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS  # noqa: ARG002
    ) -> dict[str, list[object]]:
        """See `Mode`."""
        return _fragments(IptablesCompiler(family), family, routing, node)

    def privileged(self, config: Config) -> None:
        """See `Mode`: node ports on loopback addresses need a setting (SEM-45)."""
        if facts.loopback_node_ports(config):
            allow_loopback_node_ports()

    async def open(self, config: Config) -> Engine:
        """See `Mode`."""
        choice = await _choose(config)
        return IptablesEngine(choice.variant, choice.reason)

    async def cleanup(self, *, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        """See `Mode`."""
        return await iptables_cleanup.cleanup(dry_run=dry_run, spare=spare)

    async def succeed(self) -> tuple[str, ...]:
        """See `Mode`: all chains have the same names, so they are ours already."""
        return ()

    def retire(self, config: Config, endpoints: Endpoints) -> Leaving:  # noqa: ARG002
        """See `Mode`: connection tracking keeps translating what it once has, so everything can go at once."""
        return _AtOnce(self, spare=not config.takeover)


class IpvsMode:
    """IPVS, with companion rules in either variant of iptables."""

    def text(self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS) -> str:
        """See `Mode`."""
        compiler = IpvsCompiler(family, ipvs_options(config))
        return compiler.render(planning.from_scratch(compiler, family, routing, node))

    def fragments(self, family: Family, routing: Routing, node: NodeFacts, config: Config = DEFAULTS) -> dict[str, list[object]]:
        """See `Mode`."""
        return _fragments(IpvsCompiler(family, ipvs_options(config)), family, routing, node)

    def privileged(self, config: Config) -> None:
        """See `Mode` (IPVS-02)."""
        ipvs_sysctl.ensure(arp=config.ipvs_strict_arp)

    async def open(self, config: Config) -> Engine:
        """See `Mode`."""
        choice = await _choose(config)
        return IpvsEngine(choice.variant, choice.reason, config)

    async def cleanup(self, *, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        """See `Mode`."""
        return await ipvs_cleanup.cleanup(dry_run=dry_run, spare=spare)

    async def succeed(self) -> tuple[str, ...]:
        """See `Mode`."""
        return await ipvs_cleanup.remove_inherited()

    def retire(self, config: Config, endpoints: Endpoints) -> Leaving:
        """See `Mode`."""
        return _IpvsLeaving(Retirement(_ipvs_settings(config), config.masquerade_bit, endpoints, spare=not config.takeover))


class _AtOnce:
    """The end of a mode that no connection needs once it is established."""

    def __init__(self, mode: Mode, *, spare: bool) -> None:
        self._mode = mode
        self._spare = spare

    async def begin(self) -> tuple[str, ...]:
        return await self._mode.cleanup(dry_run=False, spare=self._spare)

    async def finish(self) -> None:
        """Nothing is left."""

    def draining(self, wall: datetime) -> tuple[Drained, ...]:  # noqa: ARG002
        return ()

    def bury(self, addresses: frozenset[str]) -> None:
        """Nothing is waited for."""


class _IpvsLeaving:
    """The end of the ipvs mode, which drains."""

    def __init__(self, retirement: Retirement) -> None:
        self._retirement = retirement
        self.begin = retirement.begin
        self.finish = retirement.finish
        self.bury = retirement.bury

    def draining(self, wall: datetime) -> tuple[Drained, ...]:
        now = time.monotonic()
        return tuple(_drained(one, wall, now) for one in self._retirement.draining())


def ipvs_options(config: Config) -> Options:
    """Return what the operator chose that decides which servers are wanted."""
    return Options(config.ipvs_scheduler or "rr", config.ipvs_exclude_cidrs)


def _ipvs_settings(config: Config) -> Settings:
    return Settings(
        options=ipvs_options(config),
        strict_arp=config.ipvs_strict_arp,
        timeouts=Timeouts(round(config.ipvs_tcp_timeout), round(config.ipvs_tcpfin_timeout), round(config.ipvs_udp_timeout)),
        drain_cap=config.ipvs_drain_cap,
    )


class IpvsEngine:
    """IPVS on this machine; both families share one writer of rules."""

    def __init__(self, variant: Variant, reason: str, config: Config) -> None:
        self.variant = variant.value
        self.reason = reason
        self._options = ipvs_options(config)
        settings = _ipvs_settings(config)
        writer = Writer()
        self._kernels = {family: IpvsKernel(family, variant, writer, settings) for family in Family}

    async def preflight(self) -> Mapping[Family, tuple[KernelError, ...]]:
        """See `Engine`."""
        errors = await asyncio.gather(*(kernel.preflight() for kernel in self._kernels.values()))
        return dict(zip(self._kernels, errors, strict=True))

    def draining(self, wall: datetime) -> tuple[Drained, ...]:
        """See `Engine`."""
        now = time.monotonic()
        return tuple(_drained(one, wall, now) for kernel in self._kernels.values() for one in kernel.servers.drain.listed())

    async def counted(self) -> Mapping[str, int]:
        """See `Engine`: the companion rules are not asked, as kube-proxy's are not in this mode (MET-16)."""
        return {}

    def bury(self, addresses: frozenset[str]) -> None:
        """See `Engine`."""
        for kernel in self._kernels.values():
            kernel.servers.gone = addresses

    def end(self, family: Family, connections: Iterable[Ended]) -> None:
        """See `Engine`: whose server drains loses it, and IPVS with it all that it had."""
        servers = self._kernels[family].servers
        for one in connections:
            by_address = VirtualKey(family, one.protocol, one.address, one.port)
            by_mark = VirtualKey(family, mark=mark_of(one.port_name, one.node_port))
            servers.ended.update(RealKey(virtual, one.backend, one.backend_port) for virtual in (by_address, by_mark))

    def loop(self, family: Family, settings: LoopSettings) -> Loop:
        """See `Engine`."""
        return FamilyLoop(IpvsCompiler(family, self._options), self._kernels[family], FamilyProgress(family), settings)


def _drained(one: Draining, wall: datetime, now: float) -> Drained:
    key = one.key.virtual
    return Drained(
        family=key.family,
        real=one.key.address,
        real_port=one.key.port,
        virtual=str(key),
        protocol=key.protocol or mark_protocol(key.mark),
        address=key.address,
        port=key.port or mark_node_port(key.mark),
        active=one.load.active,
        inactive=one.load.inactive,
        since=wall + timedelta(seconds=one.since - now),
        removed_by=wall + timedelta(seconds=one.until - now),
    )


class IptablesEngine:
    """One variant of iptables on this machine; both families share one writer (pain 37)."""

    def __init__(self, variant: Variant, reason: str) -> None:
        self.variant = variant.value
        self.reason = reason
        writer = Writer()
        self._kernels = {family: IptablesKernel(family, variant, writer) for family in Family}

    async def preflight(self) -> Mapping[Family, tuple[KernelError, ...]]:
        """See `Engine`."""
        errors = await asyncio.gather(*(kernel.preflight() for kernel in self._kernels.values()))
        return dict(zip(self._kernels, errors, strict=True))

    def draining(self, wall: datetime) -> tuple[Drained, ...]:  # noqa: ARG002
        """See `Engine`: connections of removed endpoints end by themselves here."""
        return ()

    async def counted(self) -> Mapping[str, int]:
        """See `Engine`."""
        found: Counter[str] = Counter()
        for reading in await asyncio.gather(*(kernel.counted() for kernel in self._kernels.values())):
            found.update(reading)
        return found

    def bury(self, addresses: frozenset[str]) -> None:
        """See `Engine`."""

    def end(self, family: Family, connections: Iterable[Ended]) -> None:
        """See `Engine`: connection tracking has the only entry here."""

    def loop(self, family: Family, settings: LoopSettings) -> Loop:
        """See `Engine`."""
        return FamilyLoop(IptablesCompiler(family), self._kernels[family], FamilyProgress(family), settings)


MODES: Mapping[str, Mode] = {"iptables": IptablesMode(), "ipvs": IpvsMode()}
"""By the name that --proxy-mode gives."""


def usable(errors: Mapping[Family, tuple[KernelError, ...]]) -> tuple[tuple[Family, ...], tuple[KernelError, ...]]:
    """Return the families to serve, and the errors that forbid starting at all.

    A family that this kernel does not have leaves the other one alone (PROC-09); any other error, or no family left, forbids it.
    """
    absent = tuple(family for family, found in errors.items() if family_error(found))
    families = tuple(family for family in errors if family not in absent)
    fatal = tuple(dict.fromkeys(str(error) for family in families or absent for error in errors[family]))
    by_text = {str(error): error for found in errors.values() for error in found}
    return families, tuple(by_text[text] for text in fatal)
