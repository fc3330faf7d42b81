"""Who holds the xtables lock: so that waiting for it has a name.

The legacy tools of the whole machine take one file lock before they touch a table; `/proc/locks` lists file locks with device, inode and
the process that took them. Everything here is best effort and never raises: in a container the holder may live in a process namespace
that we cannot see (the kernel then lists process 0), and a holder may be gone before we look. `run` puts the answer into the error of a
write that waited in vain. Sources: proc_locks(5); IPT-41.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

DEFAULT_PATH: Final = Path("/run/xtables.lock")


class Holder(Struct, frozen=True):
    """A process that holds the lock; `command` is empty where it cannot be read."""

    pid: int
    command: str

    def __str__(self) -> str:
        """Return `process 4711 (iptables-restore --wait)`."""
        return f"process {self.pid} ({self.command})" if self.command else f"process {self.pid}"


def lock_path() -> Path:
    """Return the lock file that the tools use: XTABLES_LOCKFILE, or the host's."""
    return Path(os.environ.get("XTABLES_LOCKFILE") or DEFAULT_PATH)


def holders_of(lines: Iterable[str], major: int, minor: int, inode: int) -> tuple[int, ...]:
    """Return the processes that hold (not: wait for) a lock on a file, from the lines of /proc/locks."""
    wanted = f"{major:02x}:{minor:02x}:{inode}"
    pids: dict[int, None] = {}
    for line in lines:
        words = line.split()
        # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:9773057 0 EOF`; who waits has `->` as the second word.
        if len(words) >= 6 and words[1] != "->" and words[5] == wanted and words[4].lstrip("-").isdigit():
            pids[int(words[4])] = None
    return tuple(pids)


def holders(path: Path | None = None) -> tuple[Holder, ...]:
    """Return who holds the lock now; empty when nobody does or nobody can tell."""
    try:
        status = (path or lock_path()).stat()
        lines = Path("/proc/locks").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    pids = holders_of(lines, os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    return tuple(Holder(pid, _command(pid)) for pid in pids)


def _command(pid: int) -> str:
    if pid <= 0:
        return "outside of this process namespace"
    process = Path("/proc") / str(pid)
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return words[:120] or (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
