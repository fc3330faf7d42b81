"""The ipvs mode's kernel for one family: observe, apply, watch, clean up.

A plan comes in stages (`render`): rules and sets by the tools of one iptables variant, servers by netlink, addresses by netlink. Each stage
is idempotent, and a failure belongs to its keys. What is ours among virtual servers is told by the sets and the device (`ownership`), so
observation reads those first. While the watch runs it also ends what drains, and looks whether somebody removed servers or addresses: the
kernel tells nobody about IPVS.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from msgspec import Struct
from pointsman.dataplane.contract import ForeignChange, Mark, Outcome, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import ipset
from pointsman.iptables.application import Application
from pointsman.iptables.run import LONG, lines, output_of
from pointsman.iptables.variant import Tools, Variant, find_tools, legacy_tables
from pointsman.iptables.watches import Watches
from pointsman.iptables.writer import Turn, Writer
from pointsman.ipvs import device, dns_frontends, names, parse, preflight, sysctl
from pointsman.ipvs.drain import Drain
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, Timeouts, VirtualKey
from pointsman.ipvs.ownership import Inherited, Ownership
from pointsman.ipvs.removal import describe, removal
from pointsman.ipvs.render import Stage, stages
from pointsman.ipvs.servers import Servers
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between two looks at what drains, and at what others may have removed."""
LONGEST_TICK: Final = 5.0
LOOK_SHARE: Final = 50
"""So many times longer than the look itself is the wait for the next one."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the operator chose for this mode; times in seconds."""

    options: Options = Options()
    strict_arp: bool = False
    timeouts: Timeouts = Timeouts()
    drain_cap: float = 900.0


class IpvsKernel:
    """Implements `dataplane.contract.Kernel`. It belongs to the network namespace of the thread that makes it."""

    def __init__(self, family: Family, variant: Variant, writer: Writer, settings: Settings) -> None:
        self.family = family
        self.variant = variant
        self.settings = settings
        self.servers = Servers(family, Drain(settings.drain_cap))
        self._writer = writer
        self._tools: Tools | None = None
        self._watches: Watches | None = None
        self._lock = asyncio.Lock()
        self._prepared = False
        self._owned: dict[Key, None] = {}
        self._total = 0
        self._without_arp: frozenset[str] | None = None

    async def preflight(self) -> tuple[KernelError, ...]:
        """Return everything that keeps this mode from working here."""
        return await preflight.preflight(self.family, self.variant, self.settings.options.scheduler)

    async def observe(self) -> Mapping[Key, Value | Mark]:
        """Return everything of ours, without servers that drain. From the first call on, foreign changes are noticed."""
        await self._watching().start()
        async with self._lock:
            return await self._read()

    async def read(self) -> Mapping[Key, Value | Mark]:
        """Return everything of ours as `observe` does, and of kube-proxy's, for somebody who will only remove; nothing is noticed then."""
        self._prepared = True  # nothing needs to be set for what goes away
        async with self._lock:
            return await self._read(inherited=True)

    async def inherited(self) -> Mapping[Key, Value | Mark]:
        """Return the rules and sets of kube-proxy's that ours do not take the place of; for somebody who will only remove them."""
        self._prepared = True
        async with self._lock:
            rules, sets = await self._listings()
        seen: dict[Key, Value | Mark] = dict(parse.observed(rules, inherited=True))
        seen.update(parse.observed_sets(sets, self.family, inherited=True))
        ours = dict(parse.observed(rules)).keys() | dict(parse.observed_sets(sets, self.family)).keys()
        return {key: value for key, value in seen.items() if key not in ours}

    async def _listings(self) -> tuple[list[str], list[str]]:
        """Return what the tools print of rules and sets."""
        tools = await self._find_tools()
        listing: list[str] = []
        if self.variant is Variant.NFT or legacy_tables(self.family):
            await lines([tools.save], listing.extend)
        return listing, await saved_sets(self.family)

    async def _read(self, *, inherited: bool = False) -> dict[Key, Value | Mark]:
        rules, sets = await self._listings()
        seen: dict[Key, Value | Mark] = {}
        try:
            seen.update(parse.observed(rules, inherited=inherited))
        except ValueError as error:
            raise KernelError(ErrorKind.OTHER, str(error), "iptables-save") from error
        seen.update(parse.observed_sets(sets, self.family, inherited=inherited))
        excludes = self.settings.options.excludes
        seen.update((key, "") for key in await device.observe(self.family) if not excludes(key.address))
        node_ports, frontends = parse.inherited_frontends(sets, self.family)
        local = await device.local_addresses(self.family) if node_ports else frozenset[str]()
        ownership = Ownership(self.family, self.settings.options, seen, Inherited(node_ports, frontends, local))
        seen.update(await self.servers.observe(ownership.owns))
        self._owned = {key: None for key in seen if isinstance(key, VirtualKey | AddressKey)}
        self.servers.ruled = dns_frontends.ruled(seen)
        return seen

    async def apply(self, plan: Plan[Key, Value]) -> Outcome[Key]:
        """Make the kernel match the plan, as far as the kernel takes it."""
        async with self._lock:
            await self._prepare()
            failed: dict[Key, KernelError] = {}
            unbound: set[str] = set()
            if names.DNS_GROUP in plan.groups:
                self.servers.ruled = dns_frontends.ruled(plan.groups[names.DNS_GROUP])
            for stage in stages(plan, self.family):
                failed.update(await self._carry_out(stage, unbound))
            self._remember(plan, failed)
        return Outcome(failed)

    async def _carry_out(self, stage: Stage, unbound: set[str]) -> dict[Key, KernelError]:
        if stage.means == "tools":
            async with self._writer.turn() as turn:
                return await self._run_tools(stage, turn)
        if stage.means == "addresses":
            keys = [change.key for change in stage.changes if isinstance(change.key, AddressKey)]
            if not stage.deletes:
                return dict[Key, KernelError]((await device.bind(keys)).items())
            failed = await device.unbind(keys)
            unbound.update(key.address for key in keys if key not in failed)
            return dict[Key, KernelError](failed.items())
        if not stage.deletes:
            return await self.servers.add(stage.changes)
        return await self.servers.delete([c.key for c in stage.changes if isinstance(c.key, VirtualKey | RealKey)], unbound)

    async def _run_tools(self, stage: Stage, turn: Turn) -> dict[Key, KernelError]:
        outcome = await Application(await self._find_tools(), stage.tool_plan, turn).run(stage.steps)
        return dict[Key, KernelError](outcome.failed.items())

    async def _prepare(self) -> None:
        """Set what must hold before the first packet is served."""
        if self._prepared:
            return
        written = self._ensure_settings()
        if written:
            log.info("set kernel settings", extra=_told(written))
        if self.settings.timeouts != Timeouts():
            try:
                await Ipvsadm(await self.servers.channel()).set_timeouts(self.settings.timeouts)
            except KernelError as error:
                log.warning("IPVS timeouts stay as they are", extra={"error": str(error)})
        self._prepared = True

    def _ensure_settings(self) -> dict[str, int]:
        """Make the settings hold, and tell of interfaces that this process may not set; return what was written. Raises KernelError."""
        written = sysctl.ensure(arp=False)
        if not self.settings.strict_arp or self.family is not Family.IPV4:
            return written
        by_interface, without = sysctl.ensure_arp()
        if came := without - (self._without_arp or frozenset()):
            remedy = "set arp_ignore=1 and arp_announce=2 on those that face a network, or let `pointsman run --init-only` run again"
            level = logging.WARNING if self._without_arp is None else logging.DEBUG  # pods' interfaces come all the time
            told = {"interfaces": ", ".join(sorted(came)), "remedy": remedy}
            log.log(level, "strict ARP cannot be set on interfaces that came after the privileged start", extra=told)
            self._without_arp = without
        return written | by_interface

    async def watch(self) -> AsyncIterator[ForeignChange]:
        """Yield foreign changes to what may be ours; raise KernelError where they cannot be followed any more."""
        reports: asyncio.Queue[ForeignChange] = asyncio.Queue(1)
        followers = [asyncio.create_task(self._follow_rules(reports)), asyncio.create_task(self._follow_servers(reports))]
        taking = asyncio.create_task(reports.get())
        try:
            while True:
                await asyncio.wait({taking, *followers}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    yield taking.result()
                    taking = asyncio.create_task(reports.get())
                for follower in followers:
                    if follower.done():
                        follower.result()
                        return
        finally:
            for task in (taking, *followers):
                task.cancel()
            await asyncio.gather(taking, *followers, return_exceptions=True)

    async def _follow_rules(self, reports: asyncio.Queue[ForeignChange]) -> None:
        async for change in self._watching().changes():
            await reports.put(change)

    async def _follow_servers(self, reports: asyncio.Queue[ForeignChange]) -> None:
        """End what drains, and report servers, addresses and settings that somebody took away."""
        told = ""
        while True:
            async with self._lock:
                began = time.monotonic()  # a plan that is being applied is not our own cost
            try:
                what = await self._look()
                told = self._keep_settings(told)
            except KernelError as error:
                if str(error) != told:
                    log.warning("cannot look at IPVS", extra={"error": str(error)})
                what, told = "", str(error)
            if what:
                await reports.put(ForeignChange(what))
            await asyncio.sleep(min(max(TICK, LOOK_SHARE * (time.monotonic() - began)), LONGEST_TICK))

    async def _look(self) -> str:
        """Return what others did, in words; empty for nothing."""
        async with self._lock:
            await self.servers.tick()
            if not self._prepared:
                return ""
            bound = {key for key in self._owned if isinstance(key, AddressKey)}
            virtuals = {key for key in self._owned if isinstance(key, VirtualKey)}
            total = await self.servers.total()
            suspicious = total < max(self._total, len(virtuals))
            there = await self.servers.count(virtuals.__contains__) if suspicious else len(virtuals)
            self._total = total
            lost_addresses = len(bound - set(await device.observe(self.family)))
        lost = [f"{len(virtuals) - there} virtual servers"] if there < len(virtuals) else []
        lost += [f"{lost_addresses} addresses of {names.DEVICE}"] if lost_addresses else []
        for key in [key for key in self._owned if lost]:
            del self._owned[key]  # told once; the observation that follows knows better
        return f"{' and '.join(lost)} vanished" if lost else ""

    def _keep_settings(self, told: str) -> str:
        """Put settings right that drifted; return what went wrong, which is told unless it was already (`told`)."""
        if not self._prepared:
            return ""
        try:
            written = self._ensure_settings()
        except KernelError as error:
            if str(error) != told:
                log.warning("a kernel setting that was changed stays so", extra={"error": str(error)})
            return str(error)
        if written:
            log.info("set kernel settings that somebody changed, or that a new interface brought", extra=_told(written))
        return ""

    def _remember(self, plan: Plan[Key, Value], failed: Mapping[Key, KernelError]) -> None:
        for change in plan.changes:
            if isinstance(change.key, VirtualKey | AddressKey):
                if isinstance(change.after, Mark):
                    self._owned.pop(change.key, None)
                elif change.key not in failed:
                    self._owned[change.key] = None

    async def cleanup(self, *, dry_run: bool) -> tuple[str, ...]:
        """Remove everything of ours in this family, drained or not; return what was (or would be) removed, in words."""
        seen = await self.read()
        if not dry_run:
            await self.remove(seen)
        return describe(seen, self.family, self.variant.value)

    async def remove(self, seen: Mapping[Key, Value | Mark]) -> None:
        """Remove what was seen, drained or not; raises KernelError if something stayed."""
        self.servers.drain.cap = 0
        if seen:
            await self.reduce(removal(seen))

    async def reduce(self, plan: Plan[Key, Value]) -> None:
        """Carry out a plan that removes; raises KernelError if something stayed."""
        outcome = await self.apply(plan)
        if outcome.failed:
            error = next(iter(outcome.failed.values()))
            text = f"{len(outcome.failed)} objects could not be removed, the first because of: {error.text}"
            raise KernelError(error.kind, text, f"ipvs {self.family.value}")

    async def close(self) -> None:
        """Stop watching and close the sockets."""
        if self._watches is not None:
            self._watches.close()
            self._watches = None
        with suppress(KernelError):
            await self.servers.close()

    async def _find_tools(self) -> Tools:
        if self._tools is None:
            self._tools = await find_tools(self.family, self.variant)
        return self._tools

    def _watching(self) -> Watches:
        if self._watches is None:
            self._watches = Watches(self.family, self.variant, self._writer, names.is_our_chain, self._is_our_set)
        return self._watches

    def _is_our_set(self, name: str) -> bool:
        return names.is_our_set(name, self.family)


def _told(settings: Mapping[str, int]) -> dict[str, int]:
    return {path.replace("/", "."): value for path, value in settings.items()}


async def saved_sets(family: Family) -> list[str]:
    """Return our sets of one family, and kube-proxy's, as `ipset save` prints them.

    Sets of others may be huge, so they are not read; where there are none, one call reads all.
    """
    found: list[str] = []
    there = (await output_of([ipset.program(), "list", "-name"])).split()
    ours = [name for name in there if _is_known(name, family)]
    if ours and all(any(_is_known(name, one) for one in Family) for name in there):
        await lines([ipset.program(), "save"], found.extend, seconds=LONG)
        return found
    for name in ours:
        await lines([ipset.program(), "save", name], found.extend, seconds=LONG)
    return found


def _is_known(name: str, family: Family) -> bool:
    return names.is_our_set(name, family) or names.is_inherited_set(name, family)
