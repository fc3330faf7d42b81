"""Whether this machine can carry the ipvs mode: asked before anything is written, everything wrong told at once (IPVS-01).

Rules, sets, the device and the scheduler are tried for real, but in a network namespace that exists only for the question, so no virtual
server of the host is touched and the kernel loads its modules as it would later. Where making a namespace is not allowed, only IPVS itself
is asked for.
"""

import asyncio
import ctypes
import threading
from collections.abc import Callable
from typing import Final

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import preflight as tools
from pointsman.iptables.preflight import PROBES, Probe
from pointsman.iptables.variant import Variant
from pointsman.ipvs import channel, device
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import VirtualKey, VirtualServer
from pointsman.routing.route import Family, Protocol

_NOT_NEEDED: Final = frozenset({"statistic", "recent", "DNAT"})
_COMPANIONS: Final = (
    *(probe for probe in PROBES if probe.name not in _NOT_NEEDED),
    Probe("ipvs", "nat", "-m ipvs --ipvs -j ACCEPT", "NETFILTER_XT_MATCH_IPVS"),
    Probe("SET", "mangle", "-j SET --map-set {set} dst --map-mark", "NETFILTER_XT_SET"),
)
_CLONE_NEWNET: Final = 0x40000000
_TRIED: Final = {Family.IPV4: "198.51.100.0", Family.IPV6: "2001:db8:5157::"}
_PORT: Final = 20000


async def preflight(family: Family, variant: Variant, scheduler: str) -> tuple[KernelError, ...]:
    """Return everything that keeps the mode from working here for one family; empty if it can work. Writes nothing."""
    try:
        await channel.require()
    except KernelError as error:
        return (error,)
    errors = list(await tools.preflight(family, variant, _COMPANIONS))
    if tools.family_error(tuple(errors)):
        return tuple(errors)
    return (*errors, *await asyncio.to_thread(_apart, lambda: _try(family, scheduler)))


def _apart(question: Callable[[], tuple[KernelError, ...]]) -> tuple[KernelError, ...]:
    """Ask in a thread with a network namespace of its own, which ends with the thread."""
    found: list[KernelError] = []

    def ask() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) == 0:
            found.extend(question())

    thread = threading.Thread(target=ask, name="preflight")
    thread.start()
    thread.join()
    return tuple(found)


def _try(family: Family, scheduler: str) -> tuple[KernelError, ...]:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_servers_and_device(family, scheduler))


async def _servers_and_device(family: Family, scheduler: str) -> tuple[KernelError, ...]:
    errors: list[KernelError] = []
    try:
        async with await Ipvsadm.open() as ipvsadm:
            await ipvsadm.add_service(VirtualKey(family, Protocol.TCP, _TRIED[family], _PORT), VirtualServer(scheduler))
    except KernelError as error:
        module = f"ip_vs_{scheduler}"
        text = f"cannot be used ({error.text}): load its module with `modprobe {module}`, or choose another with --ipvs-scheduler"
        errors.append(KernelError(ErrorKind.UNSUPPORTED, text, f"IPVS scheduler {scheduler} for {family.value}"))
    try:
        errors += (await device.bind([AddressKey(_TRIED[family])])).values()
    except KernelError as error:
        errors.append(error)
    return tuple(errors)
