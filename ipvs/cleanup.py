"""Taking everything of the ipvs mode out of the kernel, in both families and all variants of iptables (IPVS-40, pains 29, 30 and 34).

Other programs' virtual servers stay: only what `ownership` calls ours goes, and our device with it. A kernel without IPVS, or a machine
without the tools, has nothing of ours. A second run finds nothing and writes nothing.
"""

from collections.abc import Sequence

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Variant, find_tools
from pointsman.iptables.writer import Writer
from pointsman.ipvs import device, names
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.routing.route import Family


async def cleanup(*, dry_run: bool, variants: Sequence[Variant] = tuple(Variant)) -> tuple[str, ...]:
    """Remove everything of ours; return what was (or would be) removed, in words.

    Tools that are not installed are passed over. Everything is tried; then a KernelError tells what could not be removed.
    """
    removed: list[str] = []
    errors: list[KernelError] = []
    writer = Writer()
    for variant in variants:
        for family in Family:
            kernel = IpvsKernel(family, variant, writer, Settings())
            try:
                await find_tools(family, variant)
                removed += await kernel.cleanup(dry_run=dry_run)
            except KernelError as error:
                if error.kind is not ErrorKind.UNSUPPORTED:
                    errors.append(error)
            finally:
                await kernel.close()
    try:
        if await device.exists():
            if not dry_run:
                await device.remove()
            removed.append(f"device {names.DEVICE}")
    except KernelError as error:
        errors.append(error)
    if errors:
        raise KernelError(errors[0].kind, "; ".join(dict.fromkeys(map(str, errors))), "cleanup")
    return tuple(dict.fromkeys(removed))
