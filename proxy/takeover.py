"""Taking over from kube-proxy, and from ourselves in the other variant of iptables: what they left goes, once ours carries the traffic.

What there may be, by kube-proxy's mode: rules in either variant of iptables, the tables `kube-proxy` of nftables, and virtual servers with
their device, sets and chains, which belong to our mode of that name. In the variant that we program ourselves nothing is left to remove:
the chains have the same names, so the first write makes them ours in one step (`iptables.whose`). Everything else stands beside ours for
a moment, which hurts nobody: both send new connections to endpoints of the same Services, and the first to choose is the only one.
Established connections are the kernel's own and need no rule. So: program, read back, and only then remove.

A kube-proxy that still runs would write its rules again, so it is named and waited for. With `--takeover=false` its rules stay and are
named, also those of its ipvs mode. `daemon` runs this beside the loops; `remove_all` is what `run --cleanup` does.

The way back is `hand_back`: before `pointsman cleanup` removes anything, a kube-proxy that runs here again must have written its own rules,
for which those of ours may have to make way first (`iptables.release`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Protocol

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.cleanup import cleanup as iptables_cleanup
from pointsman.iptables.cleanup import usable
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.release import release, stuck
from pointsman.iptables.variant import Variant
from pointsman.iptables.whose import Owner, owner
from pointsman.ipvs.cleanup import forwarding as ipvs_forwarding
from pointsman.netlink import tables
from pointsman.proxy import peers
from pointsman.proxy.modes import MODES
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

TABLE = "kube-proxy"
"""The name of kube-proxy's tables in nftables (NFT-02)."""
POLL = 1.0
"""Seconds between two looks whether kube-proxy has ended, or written."""
BEGIN = 60.0
"""Seconds in which a kube-proxy that runs here begins to write in every family in which it is to write at all."""
RETRY = 90.0
"""Seconds in which a kube-proxy writes again that could not: it looks for its canaries every 30 s, unless told otherwise."""

_FAMILIES = {"ip": Family.IPV4, "ip6": Family.IPV6}


class Removal(Protocol):
    """A way to remove things that says in words what it removes, or only would; what is kube-proxy's stays if it is to `spare` it."""

    def __call__(self, *, dry_run: bool, spare: bool) -> Awaitable[tuple[str, ...]]:
        """See `Mode.cleanup`."""
        ...


class Leftovers(Struct, frozen=True):
    """What was (or would be) removed, in words, and what could not be."""

    removed: tuple[str, ...] = ()
    errors: tuple[KernelError, ...] = ()


async def announce(mode: str, variant: str, *, allowed: bool) -> None:
    """Say at the start what an operator should know: a kube-proxy that still runs here, and rules of its that cannot be left alone."""
    if found := await asyncio.to_thread(peers.running):
        text = "kube-proxy still runs here, and both would write rules; stop it: what it leaves is removed as soon as it has ended"
        log.warning(text, extra={"pid": ", ".join(map(str, found))})
    if not allowed and mode == "iptables" and await _kube_proxys(_rules_of([Variant(variant)])):
        text = "kube-proxy's rules in this variant of iptables become ours whatever --takeover says: the chains have the same names"
        log.warning(text, extra={"variant": variant})
    if not allowed and mode == "ipvs" and (shared := await _kube_proxys(MODES[mode].cleanup)):
        text = "kube-proxy's kube-ipvs0, its sets with names of ours and their virtual servers become ours whatever --takeover says"
        log.warning(text, extra={"objects": len(shared), "named": _named(shared)})


async def ended() -> None:
    """Wait until no kube-proxy runs here."""
    while await asyncio.to_thread(peers.running):  # noqa: ASYNC110  the kernel tells of the end of children only
        await asyncio.sleep(POLL)


async def run(mode: str, variant: str, *, allowed: bool) -> None:
    """Remove what others left beside this mode and variant; `allowed` says whether kube-proxy's may go. Call it once ours is verified."""
    left = await clear(mode, variant, everyone=allowed)
    for error in left.errors:
        log.warning("what another service proxy left stays; try `pointsman run --cleanup`", extra={"error": str(error)})
    tell_removed(left.removed)
    if not allowed and (stays := await _stays(mode, variant)):
        text = "rules of kube-proxy stay, as --takeover=false says; they still choose endpoints, which nobody updates"
        log.warning(text, extra={"objects": len(stays), "named": _named(stays)})


def tell_removed(words: Sequence[str]) -> None:
    """Say what of others was removed, if anything was."""
    if words:
        log.info("removed what an earlier proxy left", extra={"objects": len(words), "named": _named(words)})


async def _stays(mode: str, variant: str) -> tuple[str, ...]:
    """Return in words what there is of kube-proxy's, whichever mode made it."""
    removals = [_rules_of([one for one in Variant if mode != "iptables" or one.value != variant])]
    removals += [MODES[name].cleanup for name in MODES if name != "iptables"]
    words = [word for removal in removals for word in await _kube_proxys(removal)]
    return (*words, *(await each([_nftables(dry_run=True)])).removed)


def _rules_of(variants: Sequence[Variant]) -> Removal:
    return partial(iptables_cleanup, variants=variants)


async def _kube_proxys(removal: Removal) -> tuple[str, ...]:
    """Return in words what a removal finds that is kube-proxy's, not ours; nothing if it cannot be read."""
    try:
        ours = await removal(dry_run=True, spare=True)
        return tuple(word for word in await removal(dry_run=True, spare=False) if word not in ours)
    except KernelError:
        return ()


async def clear(mode: str, variant: str, *, everyone: bool) -> Leftovers:
    """Remove what stands beside a mode in a variant and goes with no other mode (`succession`). Waits for nobody.

    That is ours of the other variant, and of `everyone` kube-proxy's too.
    """
    return await each(_beside([one for one in Variant if mode == "iptables" and one.value != variant], everyone=everyone, dry_run=False))


async def remove_all(*, dry_run: bool = False) -> Leftovers:
    """Remove everything that pointsman and kube-proxy, in any mode, put into this kernel (PROC-04).

    What fails is tried once more: kube-proxy's chains of one mode may lead to those of another.
    """

    def everything() -> Iterator[Awaitable[tuple[str, ...]]]:
        modes = (MODES[name].cleanup(dry_run=dry_run, spare=False) for name in MODES if name != "iptables")
        return chain(_beside(tuple(Variant), everyone=True, dry_run=dry_run), modes)

    left = await each(everything())
    if not left.errors:
        return left
    again = await each(everything())
    return Leftovers(tuple(dict.fromkeys((*left.removed, *again.removed))), again.errors)


async def each(removals: Iterable[Awaitable[tuple[str, ...]]]) -> Leftovers:
    """Wait for removals one after the other; one that fails does not keep the others from being done."""
    removed: list[str] = []
    errors: list[KernelError] = []
    for removal in removals:
        try:
            removed += await removal
        except KernelError as error:
            errors.append(error)
    return Leftovers(tuple(dict.fromkeys(removed)), tuple(errors))


async def hand_back() -> None:
    """Wait until a kube-proxy that runs here has written its rules, and help it where ours are in its way; without one, do nothing.

    Raises KernelError if it does not come to that, and then nothing should be removed: ours still forward.
    """
    if not await asyncio.to_thread(peers.running):
        return
    kernels, by_ipvs = await usable(), await ipvs_forwarding()
    await _within(BEGIN, lambda: _shown(kernels, by_ipvs, lambda way: way.begun >= way.ours))
    for kernel in kernels:
        if stuck(seen := await kernel.standing()):
            await release(await kernel.tools(), seen)
            log.info("kube-proxy is to write its rules yet; ours forward until then", extra={"at_most_seconds": RETRY})
    if not await _within(RETRY, lambda: _shown(kernels, by_ipvs, lambda way: way.through >= (way.begun or way.ours))):
        text = f"kube-proxy runs here but did not write its rules within {RETRY:g} s (see its log); to remove ours all the same, end it"
        if by_ipvs:
            text += "; its mode ipvs cannot begin beside our sets: end it, and let `pointsman run --proxy-mode iptables` take over first"
        raise KernelError(ErrorKind.TIMEOUT, text, "nothing was removed")


class Way(Struct, frozen=True):
    """How far kube-proxy has come: families in which ours forwards, in which it has written something, and in which everything."""

    ours: frozenset[Family]
    begun: frozenset[Family]
    through: frozenset[Family]


async def _shown(kernels: Sequence[IptablesKernel], by_ipvs: frozenset[Family], what: Callable[[Way], bool]) -> bool:
    """Read the kernel and ask how far kube-proxy has come; `by_ipvs` are the families in which ours forwards by IPVS."""
    found = [(kernel.family, await kernel.standing()) for kernel in kernels]
    by_nftables = {_FAMILIES[word] for word in await tables.find(TABLE)}

    def where(table: str, whose: Owner) -> frozenset[Family]:
        return frozenset(family for family, seen in found if owner(table, seen) is whose)

    through = where("nat", Owner.KUBE_PROXY) | by_nftables
    return what(Way(where("nat", Owner.OURS) | by_ipvs, where("filter", Owner.KUBE_PROXY) | through, through))


async def _within(seconds: float, so: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until it is so; return whether it is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await so():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL)
    return True


def _beside(variants: Sequence[Variant], *, everyone: bool, dry_run: bool) -> Iterator[Awaitable[tuple[str, ...]]]:
    """Yield removals, each to be waited for before the next one is asked for."""
    if variants:
        yield iptables_cleanup(dry_run=dry_run, variants=variants, spare=not everyone)
    if everyone:
        yield _nftables(dry_run=dry_run)


async def _nftables(*, dry_run: bool) -> tuple[str, ...]:
    """Remove kube-proxy's tables of nftables (NFT-38)."""
    found = await tables.find(TABLE)
    if not dry_run:
        await tables.remove(TABLE, found)
    return tuple(f"nftables table {family} {TABLE}" for family in found)


def _named(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
