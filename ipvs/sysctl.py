"""The kernel settings that the ipvs mode needs (IPVS-02), chosen by kernel version, and their drift.

- `conntrack`: IPVS keeps netfilter's connection tracking, without which nothing can be masqueraded.
- `conn_reuse_mode`: 0 on kernels before 5.9, where 1 delays a connection that reuses a port by a second (pain 17); on later kernels 1 does
  that no more, and 0 would send reused ports to servers that drain, for ever (pain 18).
- `expire_nodest_conn`: a connection whose server was removed ends with its next packet, instead of hanging for 15 minutes.
- `expire_quiescent_template`: a client's affinity to a draining server ends (pain 21).
- `ip_forward`; with strict ARP, answers for addresses of our device are given by no interface that does not hold them (pain 28): set per
  interface, because `all` breaks other network plug-ins. Our device is left out: nobody asks it.

They are written only if they differ. `kernel` writes them before the first plan and looks again with every observation. Where an earlier,
privileged run made them (PROC-05) and no right to write is left, only interfaces that came since lack theirs: `ensure_arp` returns those
instead of failing, because no Service depends on them.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.sysctl import ROOT, read_sysctl, write_sysctl
from pointsman.ipvs import names

_VS = "net/ipv4/vs/"
_CONF = "net/ipv4/conf"
_UNTOUCHED = frozenset({"all", "default", "lo", names.DEVICE})


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


def drifted(settings: Mapping[str, int]) -> dict[str, int]:
    """Return the settings that are not as they must be, with the value that they must have."""
    return {path: value for path, value in settings.items() if read_sysctl(path) != value}


def ensure(*, arp: bool) -> dict[str, int]:
    """Make all settings hold; return those that were written. Raises KernelError that names the first one that cannot be."""
    settings = wanted(kernel_version(os.uname().release)) | (dict(strict_arp()) if arp else {})
    written, refused = _write(settings)
    if refused:
        raise next(iter(refused.values()))
    return written


def ensure_arp() -> tuple[dict[str, int], frozenset[str]]:
    """Make strict ARP hold wherever this process may; return what was written, and the interfaces that stay without it."""
    written, refused = _write(dict(strict_arp()))
    return written, frozenset(path.split("/")[3] for path in refused)


def _write(settings: Mapping[str, int]) -> tuple[dict[str, int], dict[str, KernelError]]:
    """Write what differs; return what was written and what could not be.

    An interface may go while it is looked at: then its settings need not hold.
    """
    written: dict[str, int] = {}
    refused: dict[str, KernelError] = {}
    for path, value in drifted(settings).items():
        try:
            write_sysctl(path, value)
        except KernelError as error:
            if not (error.kind is ErrorKind.MISSING and path.startswith(_CONF)):
                refused[path] = error
        else:
            written[path] = value
    return written, refused
