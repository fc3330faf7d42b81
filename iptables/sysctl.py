"""Reading and writing single kernel settings below /proc/sys, tolerant of their absence.

A setting may be absent because its module is not loaded (pain 41): reading then answers None. It is written only if it differs, so that a
restart without the right to write (PROC-05) works when an earlier, privileged run has set it.

`route_localnet` (SEM-45) lets connections to loopback node ports be routed; `kernel` writes it behind the first plan that accepts them.
"""

from pathlib import Path
from typing import Final

from pointsman.dataplane.errors import ErrorKind, KernelError

ROOT: Final = Path("/proc/sys")
ROUTE_LOCALNET: Final = "net/ipv4/conf/all/route_localnet"
TCP_BE_LIBERAL: Final = "net/netfilter/nf_conntrack_tcp_be_liberal"


def read_sysctl(path: str) -> int | None:
    """Return a setting by its path below /proc/sys; None if it is absent or no number."""
    try:
        return int((ROOT / path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def write_sysctl(path: str, value: int) -> bool:
    """Make a setting hold a value; return whether it had to be written. Raises KernelError that names the setting and the remedy."""
    if read_sysctl(path) == value:
        return False
    name = path.replace("/", ".")
    try:
        (ROOT / path).write_text(f"{value}\n", encoding="ascii")
    except FileNotFoundError as error:
        text = "this kernel has no such setting: load the module that it belongs to"
        raise KernelError(ErrorKind.MISSING, text, f"sysctl {name}") from error
    except (PermissionError, OSError) as error:
        text = f"cannot be set to {value} ({error.strerror}): set it on the host with `sysctl -w {name}={value}`, or run privileged once"
        raise KernelError(ErrorKind.DENIED, text, f"sysctl {name}") from error
    return True


def allow_loopback_node_ports() -> bool:
    """Let connections from 127.0.0.0/8 be routed to endpoints (SEM-45); return whether that was not so before. It is never set back."""
    return write_sysctl(ROUTE_LOCALNET, 1)
