"""The settings of connection tracking that kube-proxy makes at its start: table size and timeouts (CT-20 to CT-22).

Every translated connection is an entry; when the table is full, new connections are dropped on the whole node, so its size follows the
number of CPUs. The hash table behind it grows with it, or looking up gets slow. A setting is written only if it differs, and nothing is
written for what is configured as 0. Each one stands alone: what cannot be set is returned as an error, and the others are set.

The size belongs to the host: in the network namespace of a container it is read-only, and hash size likewise.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.sysctl import TCP_BE_LIBERAL, read_sysctl, write_sysctl

MAX: Final = "net/netfilter/nf_conntrack_max"
COUNT: Final = "net/netfilter/nf_conntrack_count"
HASH_SIZE: Final = Path("/sys/module/nf_conntrack/parameters/hashsize")
ONLINE: Final = Path("/sys/devices/system/cpu/online")

ENTRIES_PER_BUCKET: Final = 4
MOST_SCALED: Final = 1 << 20
"""Scaling by CPUs ends here: as many entries take 300 MB."""


class Limits(Struct, frozen=True):
    """What is wanted; 0 leaves a setting alone, times are seconds."""

    max_per_core: int = 0
    minimum: int = 0
    tcp_established: float = 0.0
    tcp_close_wait: float = 0.0
    tcp_be_liberal: bool = False
    udp: float = 0.0
    udp_stream: float = 0.0


def most_entries(limits: Limits, cpus: int) -> int:
    """Return how many connections may be tracked; 0 leaves the kernel's limit, and ignores the minimum (CT-20)."""
    if limits.max_per_core <= 0:
        return 0
    return max(min(limits.max_per_core * cpus, MOST_SCALED), limits.minimum)


def wanted(limits: Limits, cpus: int) -> dict[str, int]:
    """Return the settings by their path below /proc/sys (CT-20, CT-22)."""
    times = {
        "net/netfilter/nf_conntrack_tcp_timeout_established": limits.tcp_established,
        "net/netfilter/nf_conntrack_tcp_timeout_close_wait": limits.tcp_close_wait,
        "net/netfilter/nf_conntrack_udp_timeout": limits.udp,
        "net/netfilter/nf_conntrack_udp_timeout_stream": limits.udp_stream,
    }
    found = {path: int(seconds) for path, seconds in times.items() if seconds >= 1}
    entries = most_entries(limits, cpus)
    return ({MAX: entries} if entries else {}) | found | ({TCP_BE_LIBERAL: 1} if limits.tcp_be_liberal else {})


def ensure(limits: Limits) -> tuple[tuple[str, ...], tuple[KernelError, ...]]:
    """Make all settings hold; return those that were written as `name = value`, and why others could not be."""
    written: list[str] = []
    errors: list[KernelError] = []
    settings = wanted(limits, count_cpus())
    for path, value in settings.items():
        try:
            if write_sysctl(path, value):
                written.append(f"{path.replace('/', '.')} = {value}")
        except KernelError as error:
            errors.append(error)
    try:
        written += _grow_hash(read_sysctl(MAX) or 0) if MAX in settings else ()
    except KernelError as error:
        errors.append(error)
    return tuple(written), tuple(errors)


def usage() -> tuple[int, int]:
    """Return how many connections are tracked in this network namespace, and how many may be; 0 where the kernel does not tell."""
    return read_sysctl(COUNT) or 0, read_sysctl(MAX) or 0


def drifted(limits: Limits) -> dict[str, tuple[int, int]]:
    """Return the settings that are there and otherwise than wanted, by their path below /proc/sys: the value, and the wanted one."""
    settings = wanted(limits, count_cpus())
    found = ((path, read_sysctl(path), asked) for path, asked in settings.items())
    return {path: (value, asked) for path, value, asked in found if value is not None and value != asked}


def count_cpus(online: Path = ONLINE) -> int:
    """Return how many CPUs this host has online, whatever share of them this process may use (CT-20)."""
    try:
        ranges = [entry.split("-") for entry in online.read_text(encoding="ascii").strip().split(",")]
        found = sum(int(entry[-1]) - int(entry[0]) + 1 for entry in ranges)
    except (OSError, ValueError):
        found = 0
    return found if found > 0 else os.cpu_count() or 1


def _grow_hash(entries: int, path: Path = HASH_SIZE) -> Iterator[str]:
    """Make the hash table large enough for so many entries; raises KernelError (CT-21)."""
    size = entries // ENTRIES_PER_BUCKET
    if not size:
        return
    try:
        text = path.read_text(encoding="ascii").strip()
        if not re.fullmatch("[0-9]+", text) or int(text) >= size:
            return
        path.write_text(f"{size}\n", encoding="ascii")
    except OSError as error:
        reason = f"cannot be set to {size} ({error.strerror}): looking up connections gets slow when they are many; set it on the host"
        raise KernelError(ErrorKind.DENIED, reason, str(path)) from error
    yield f"{path.name} = {size}"
