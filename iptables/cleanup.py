"""Taking everything of ours out of the kernel, in all families and variants, from whatever state it is in (IPT-44, pains 62 and 63).

Each table is left whole by one restore, hooks and chains together; sets go last, when no rule of any variant names them. Rules and chains
of others are never named in what we write. A second run finds nothing and writes nothing. `removal` says what goes and what stays.

kube-proxy's rules have the names of ours; `whose` tells them apart, and they stay unless the caller takes them over.

Looking at the tables of a variant that was never used would create them, so only those that exist are looked at.
"""

from collections.abc import Sequence

from pointsman.dataplane.errors import KernelError
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family


async def cleanup(*, dry_run: bool, variants: Sequence[Variant] = tuple(Variant), spare: bool = True) -> tuple[str, ...]:
    """Remove everything of ours in both families and the given variants; return what was (or would be) removed, in words.

    Rules of kube-proxy stay unless `spare` is false. Tools that are not installed are passed over. Sets are common to the variants, so they
    go only when all variants are cleaned up. Everything is tried; then a KernelError tells what could not be removed.
    """
    removed: list[str] = []
    errors: list[KernelError] = []
    kernels = await usable(variants)
    for part in (RuleKey, SetKey) if set(variants) == set(Variant) else (RuleKey,):
        for kernel in kernels:
            try:
                removed += await kernel.remove(part, dry_run=dry_run, spare=spare)
            except KernelError as error:
                errors.append(error)
    if errors:
        done = f"; of {len(set(removed))} others all were removed" if removed else ""
        raise KernelError(errors[0].kind, "; ".join(dict.fromkeys(map(str, errors))) + done)
    return tuple(dict.fromkeys(removed))


async def usable(variants: Sequence[Variant] = tuple(Variant)) -> list[IptablesKernel]:
    """Return the kernels of both families and the given variants whose tools are installed."""
    writer = Writer()
    return [kernel for variant in variants for family in Family if await _usable(kernel := IptablesKernel(family, variant, writer))]


async def _usable(kernel: IptablesKernel) -> bool:
    try:
        await kernel.tools()
    except KernelError:
        return False
    return True
