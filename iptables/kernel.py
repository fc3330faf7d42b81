"""The iptables mode's kernel for one family: observe, apply, watch, clean up, through the tools of one variant.

Rendering and parsing of whole tables runs in a thread, so that 120,000 lines never stall the event loop. Nothing outside of the chains
and sets that `names` calls ours is ever written. `watch` tells our writes from others', `writer` makes us one writer, `application` brings
a plan's steps into the kernel.
"""

import asyncio
import logging
import queue
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from pointsman.dataplane.contract import ForeignChange, Mark, Outcome, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import counters, ipset, names, preflight, render, sysctl
from pointsman.iptables.application import Application
from pointsman.iptables.names import TABLES, Role
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.iptables.parse import observed, observed_sets
from pointsman.iptables.removal import describe, removal
from pointsman.iptables.run import lines
from pointsman.iptables.variant import Tools, Variant, find_tools, legacy_tables
from pointsman.iptables.watches import Watches
from pointsman.iptables.whose import without_kube_proxys
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

_DISPATCH: Final = RuleKey("nat", names.SERVICES)
_SHIELD: Final = RuleKey("filter", names.KUBELET_FIREWALL, names.LOCALNET_RULE)
_SMALL: Final = 500
"""Changes up to which rendering in the event loop is quicker than a thread."""
_AHEAD: Final = 4
"""So many slices of a listing may wait to be parsed; the tool waits longer."""


class IptablesKernel:
    """Implements `dataplane.contract.Kernel`. It belongs to the network namespace of the thread that makes it.

    `writer` is shared by the kernels of both families.
    """

    def __init__(self, family: Family, variant: Variant, writer: Writer) -> None:
        self.family = family
        self.variant = variant
        self._writer = writer
        self._tools: Tools | None = None
        self._watches: Watches | None = None
        self._tally = counters.Tally()
        self._told = ""  # why loopback is not routed, said once

    async def preflight(self) -> tuple[KernelError, ...]:
        """Return everything that keeps this mode from working here; see `preflight`, also for `family_error`."""
        return await preflight.preflight(self.family, self.variant)

    async def tools(self) -> Tools:
        """Return the programs that are used, and their version. Raises KernelError(UNSUPPORTED) if they are not installed."""
        if self._tools is None:
            self._tools = await find_tools(self.family, self.variant)
        return self._tools

    async def observe(self) -> Mapping[Key, Value | Mark]:
        """Return all rules, chains and sets of ours. From the first call on, foreign changes are noticed."""
        await self._watching().start()
        seen = await self._read()
        if self.family is Family.IPV4 and is_loopback_accepted(seen):
            self._route_loopback()  # whoever wrote these rules may have been killed before it came to this
        return seen

    async def standing(self) -> Mapping[Key, Value | Mark]:
        """Return what `observe` returns, once: nothing is watched from then on."""
        return await self._read()

    async def _read(self) -> dict[Key, Value | Mark]:
        tools = await self.tools()
        seen: dict[Key, Value | Mark] = {}
        if self.variant is Variant.NFT or legacy_tables(self.family):
            seen.update(await _read_tables(tools))
        seen.update(observed_sets(await ipset.saved(self.family), self.family))
        return seen

    async def apply(self, plan: Plan[Key, Value]) -> Outcome[Key]:
        """Make the kernel match the plan, as far as the kernel takes it."""
        tools = await self.tools()
        if len(plan.changes) > _SMALL:
            steps = await asyncio.to_thread(render.script, plan, self.family)
        else:
            steps = render.script(plan, self.family)
        async with self._writer.turn() as turn:
            outcome = await Application(tools, plan, turn).run(steps)
        if self.family is Family.IPV4 and accepts_loopback(plan) and _SHIELD not in outcome.failed:
            self._route_loopback()  # only now: the rule that shields loopback from neighbours stands (pain 79)
        return outcome

    async def watch(self) -> AsyncIterator[ForeignChange]:
        """Yield foreign changes to what may be ours; ends only by cancellation."""
        async for change in self._watching().changes():
            yield change

    async def counted(self) -> Mapping[str, int]:
        """Return what the kernel counted since the start (MET-12); raises KernelError if it cannot be read."""
        if self.variant is Variant.LEGACY and not legacy_tables(self.family):
            return {}  # looking would make the table
        tools = await self.tools()
        listing: list[str] = []
        await lines([tools.save, "-c", "-t", "filter"], lambda some: listing.extend(line for line in some if " -A KUBE-" in line))
        return self._tally.read(counters.counted(listing))

    async def cleanup(self, *, dry_run: bool) -> tuple[str, ...]:
        """Remove everything of ours in this family and variant, and this family's sets; raise KernelError if something stayed."""
        rules = await self.remove(RuleKey, dry_run=dry_run)
        return (*rules, *await self.remove(SetKey, dry_run=dry_run))

    async def remove(self, part: type[RuleKey] | type[SetKey], *, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        """Remove either all rules and chains of ours, or all sets; return what was (or would be) removed, in words.

        Rules of kube-proxy stay, unless `spare` is false.
        """
        everything = await self._read()
        ours = without_kube_proxys(everything) if spare else everything
        if part is RuleKey and len(ours) < len(everything):
            log.info("rules of kube-proxy stay", extra={"family": self.family.value, "variant": self.variant.value})
        seen = {key: value for key, value in ours.items() if isinstance(key, part)}
        going = [key for key in seen if not names.is_kept(key)]
        if going and not dry_run:
            outcome = await self.apply(removal(seen))
            if outcome.failed:
                error = next(iter(outcome.failed.values()))
                text = f"{len(outcome.failed)} objects could not be removed, the first because of: {error.text}"
                raise KernelError(error.kind, text, f"iptables {self.variant.value} {self.family.value}")
        return describe(going, self.family, self.variant.value)

    def close(self) -> None:
        """Stop watching and close the sockets."""
        if self._watches is not None:
            self._watches.close()
            self._watches = None

    def _route_loopback(self) -> None:
        """Let the kernel route what is accepted on loopback; where that is not permitted, only those node ports do not work."""
        try:
            sysctl.allow_loopback_node_ports()
        except KernelError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.warning("node ports on loopback addresses will not answer", extra={"error": self._told})

    def _watching(self) -> Watches:
        if self._watches is None:
            self._watches = Watches(self.family, self.variant, self._writer, is_our_chain, self._is_our_set)
        return self._watches

    def _is_our_set(self, name: str) -> bool:
        return names.is_our_set(name, self.family)


def is_our_chain(table: str, chain: str) -> bool:
    """Return whether a chain is ours alone or shared with kubelet; built-in chains are not."""
    return names.role(table, chain) not in {None, Role.BUILTIN}


def accepts_loopback(plan: Plan[Key, Value]) -> bool:
    """Return whether a plan lets connections to loopback addresses through to node ports (SEM-45)."""
    return any(change.key == _DISPATCH and _lets_loopback_in(change.after) for change in plan.changes)


def is_loopback_accepted(seen: Mapping[Key, Value | Mark]) -> bool:
    """Return whether the rules that stand let such connections in, and shield loopback from neighbours (pain 79)."""
    return _SHIELD in seen and _lets_loopback_in(seen.get(_DISPATCH, ""))


def _lets_loopback_in(dispatch: Value | Mark) -> bool:
    if isinstance(dispatch, Mark):
        return False
    jumps = (rule for rule in dispatch.split("\n") if names.jump_target(rule) == names.NODE_PORTS)
    return any(rule.startswith("-d 127.") or not rule.startswith(("-d ", "! -d ")) for rule in jumps)


async def _read_tables(tools: Tools) -> dict[Key, Value]:
    """Parse in a thread while the tool still prints, and let it print no faster than that: a listing never is in memory as text."""
    printed: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
    refused: list[str] = []

    def arrived() -> Iterator[str]:
        while (some := printed.get()) is not None:
            for line in some:
                if line.startswith("# Table ") and "incompatible" in line:
                    refused.append(line)
                yield line

    parsing = asyncio.create_task(asyncio.to_thread(lambda: dict(observed(arrived(), tools.family))))
    try:
        await lines([tools.save], printed.put, full=lambda: printed.qsize() > _AHEAD and not parsing.done())
    except BaseException:
        printed.put(None)
        await asyncio.wait({parsing})
        parsing.exception()  # the tool's error is the reason; the half-read listing's is only its consequence
        raise
    printed.put(None)
    try:
        seen = await parsing
    except ValueError as error:
        raise KernelError(ErrorKind.OTHER, str(error), tools.save) from error
    for line in refused:
        if any(f"`{table}'" in line for table in TABLES):
            text = f"{line.lstrip('# ')} Another program wrote rules into it that iptables cannot show; remove them with nft"
            raise KernelError(ErrorKind.UNSUPPORTED, text, tools.save)
    return seen
