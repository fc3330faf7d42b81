"""The kernel settings that the ipvs mode needs (IPVS-02), chosen by kernel version, and their drift.

- `conntrack`: IPVS keeps netfilter's connection tracking, without which nothing can be masqueraded.
- `conn_reuse_mode`: 0 on kernels before 5.9, where 1 delays a connection that reuses a port by a second (pain 17); on later kernels 1 does
  that no more, and 0 would send reused ports to servers that drain, for ever (pain 18).
- `expire_nodest_conn`: a connection whose server was removed ends with its next packet, instead of hanging for 15 minutes.
- `expire_quiescent_template`: a client's affinity to a draining server ends (pain 21).
- `ip_forward`; with strict ARP, answers for addresses of our device are given by no interface that does not hold them (pain 28): set per
  interface, because `all` breaks other network plug-ins.

They are written only if they differ. `kernel` writes them before the first plan and looks again with every observation.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.sysctl import ROOT, read_sysctl, write_sysctl

_VS = "net/ipv4/vs/"
_CONF = "net/ipv4/conf"
_UNTOUCHED = frozenset({"all", "default", "lo"})


def kernel_version(release: str) -> tuple[int, int]:
    """Return the version of a kernel from its release (`6.1.0-13-amd64`); (0, 0) if it cannot be read."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def wanted(version: tuple[int, int]) -> dict[str, int]:
    """Return the settings for a kernel version, by their path below /proc/sys."""
    reuse = {f"{_VS}conn_reuse_mode": 0 if (4, 1) <= version < (5, 9) else 1}
    return {
        f"{_VS}conntrack": 1,
        **(reuse if version >= (4, 1) else {}),
        f"{_VS}expire_nodest_conn": 1,
        f"{_VS}expire_quiescent_template": 1,
        "net/ipv4/ip_forward": 1,
    }


def strict_arp(root: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Yield the settings of strict ARP for every interface that is there."""
    for folder in sorted((root / _CONF).glob("*")):
        if folder.name not in _UNTOUCHED:
            yield f"{_CONF}/{folder.name}/arp_ignore", 1
            yield f"{_CONF}/{folder.name}/arp_announce", 2


def drifted(*, arp: bool) -> dict[str, int]:
    """Return the settings that are not as they must be, with the value that they must have."""
    settings = wanted(kernel_version(os.uname().release)) | (dict(strict_arp()) if arp else {})
    return {path: value for path, value in settings.items() if read_sysctl(path) != value}


def ensure(*, arp: bool) -> dict[str, int]:
    """Make all settings hold; return those that were written. Raises KernelError that names the first one that cannot be.

    An interface may go while it is looked at: then its settings need not hold.
    """
    written: dict[str, int] = {}
    error: KernelError | None = None
    for path, value in drifted(arp=arp).items():
        try:
            write_sysctl(path, value)
        except KernelError as refused:
            if not (refused.kind is ErrorKind.MISSING and path.startswith(_CONF)):
                error = error or refused
        else:
            written[path] = value
    if error:
        raise error
    return written
