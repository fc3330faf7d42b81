"""Whether this process may program the kernel, asked before anything is tried.

What counts are capabilities, not the user's number: root in a container may lack them, and another user may have them. The tools are
children of this process, and what other users hand on to children are their *ambient* capabilities (capabilities(7)). CAP_NET_RAW is needed
because iptables opens raw sockets. `run` and `cleanup` ask; what needs more than these is in `privileges`.
"""

import re
from pathlib import Path

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""What programming Services takes, with the bits."""

STATUS = Path("/proc/self/status")


def lacking(status: str) -> str:
    """Return why a process of such a status (proc_pid_status(5)) may not program the kernel, with what to do; empty if it may."""
    root = re.search(r"^Uid:\s+\d+\s+0\s", status, re.MULTILINE) is not None
    found = re.search(rf"^{'CapEff' if root else 'CapAmb'}:\s*([0-9a-f]+)$", status, re.MULTILINE)
    held = int(found[1], 16) if found else 0
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1]
    if not missing:
        return ""
    if root:
        short = ", ".join(name.removeprefix("CAP_") for name in missing)
        return (
            f"this process is root without {' and '.join(missing)}, as in a container; "
            f"let its manifest say securityContext.capabilities.add: [{short}], or privileged: true"
        )
    return (
        f"only root, or a user with the ambient capabilities {' and '.join(NEEDED)}, may program the kernel; "
        "try it with sudo, or look with `pointsman plan` first"
    )


def refusal() -> str:
    """Return why this process may not program the kernel, with what to do; empty if it may."""
    return lacking(STATUS.read_text(encoding="ascii", errors="replace"))
