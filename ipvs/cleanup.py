"""Taking everything of the ipvs mode out of the kernel, in both families and all variants of iptables (IPVS-40, pains 29, 30 and 34).

Other programs' virtual servers stay: only what `ownership` calls ours goes, and our device with it. What `whose` calls kube-proxy's stays
unless the caller takes it over. A kernel without IPVS, or a machine without the tools, has nothing of ours. A second run finds nothing and
writes nothing.

Packets are led away first, then the rules of every variant go, and only then the sets, which all variants share.
"""

from collections.abc import Mapping, Sequence

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.variant import Variant, find_tools
from pointsman.iptables.writer import Writer
from pointsman.ipvs import device, names, whose
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.ipvs.removal import Seen, describe
from pointsman.routing.route import Family

_PARTS = ((AddressKey, VirtualKey, RealKey), RuleKey, SetKey)


async def cleanup(*, dry_run: bool, variants: Sequence[Variant] = tuple(Variant), spare: bool = True) -> tuple[str, ...]:
    """Remove everything of ours; return what was (or would be) removed, in words.

    What is kube-proxy's stays unless `spare` is false. Tools that are not installed are passed over. Everything is tried; then a
    KernelError tells what could not be removed.
    """
    removed: list[str] = []
    spared = False
    errors: list[KernelError] = []
    writer = Writer()
    for family in Family:
        kernels = [IpvsKernel(family, variant, writer, Settings()) for variant in variants]
        try:
            there = await read_all(kernels)
            seen = ours(there, family) if spare else there
            spared |= bool(there) and not seen
            for kernel, found in seen.items():
                removed += describe(found, family, kernel.variant.value)
            if not dry_run:
                errors += await _remove(seen)
        except KernelError as error:
            errors.append(error)
        finally:
            for kernel in kernels:
                await kernel.close()
    try:
        removed += () if spared else await remove_device(dry_run=dry_run)
    except KernelError as error:
        errors.append(error)
    if errors:
        raise KernelError(errors[0].kind, "; ".join(dict.fromkeys(map(str, errors))), "cleanup")
    return tuple(dict.fromkeys(removed))


async def forwarding(variants: Sequence[Variant] = tuple(Variant)) -> frozenset[Family]:
    """Return the families in which virtual servers of ours are, not of kube-proxy's. Raises KernelError."""
    writer = Writer()
    found: set[Family] = set()
    for family in Family:
        kernels = [IpvsKernel(family, variant, writer, Settings()) for variant in variants]
        try:
            seen = ours(await read_all(kernels), family)
        finally:
            for kernel in kernels:
                await kernel.close()
        if any(isinstance(key, VirtualKey) for part in seen.values() for key in part):
            found.add(family)
    return frozenset(found)


async def remove_inherited(variants: Sequence[Variant] = tuple(Variant)) -> tuple[str, ...]:
    """Remove what kube-proxy's ipvs mode left and ours has no name for; return it in words. Raises KernelError.

    Call it when its other chains are gone, or ours: they lead to these.
    """
    writer = Writer()
    removed: list[str] = []
    for family in Family:
        kernels = [IpvsKernel(family, variant, writer, Settings()) for variant in variants]
        seen: dict[IpvsKernel, Seen] = {}
        for kernel in kernels:
            try:
                await find_tools(family, kernel.variant)
                seen[kernel] = await kernel.inherited()
            except KernelError as error:
                if error.kind is not ErrorKind.UNSUPPORTED:
                    raise
        for kind in (RuleKey, SetKey):
            for kernel, found in seen.items():
                await kernel.remove({key: value for key, value in found.items() if isinstance(key, kind)})
        removed += [word for kernel, found in seen.items() for word in describe(found, family, kernel.variant.value)]
    return tuple(dict.fromkeys(removed))


async def read_all(kernels: Sequence[IpvsKernel]) -> dict[IpvsKernel, Seen]:
    """Return what is there in one family, by the kernels of its variants: the one with the most rules is first and has what they share.

    Kernels that find nothing, and those whose tools, or IPVS itself, are missing, are left out. Raises KernelError.
    """
    seen: dict[IpvsKernel, Seen] = {}
    for kernel in kernels:
        try:
            await find_tools(kernel.family, kernel.variant)
            found = await kernel.read()
        except KernelError as error:
            if error.kind is not ErrorKind.UNSUPPORTED:
                raise
            continue
        if found:
            seen[kernel] = found
    ordered = sorted(seen, key=lambda kernel: sum(isinstance(key, RuleKey) for key in seen[kernel]), reverse=True)
    for kernel in ordered[1:]:
        seen[kernel] = {key: value for key, value in seen[kernel].items() if isinstance(key, RuleKey)}
    return {kernel: seen[kernel] for kernel in ordered if seen[kernel]}


def ours(seen: Mapping[IpvsKernel, Seen], family: Family) -> dict[IpvsKernel, Seen]:
    """Return what was seen in a family without what is kube-proxy's; nothing is left where all of it is."""
    if whose.is_kube_proxys(seen.values(), family):
        return {}
    mine = {kernel: whose.without_kube_proxys(found, family) for kernel, found in seen.items()}
    return {kernel: found for kernel, found in mine.items() if found}


async def _remove(seen: dict[IpvsKernel, Seen]) -> list[KernelError]:
    errors: list[KernelError] = []
    for part in _PARTS:
        for kernel, found in seen.items():
            try:
                await kernel.remove({key: value for key, value in found.items() if isinstance(key, part)})
            except KernelError as error:
                errors.append(error)
    return errors


async def remove_device(*, dry_run: bool) -> tuple[str, ...]:
    """Remove our device; return it in words if it is there. Raises KernelError."""
    if not await device.exists():
        return ()
    if not dry_run:
        await device.remove()
    return (f"device {names.DEVICE}",)
