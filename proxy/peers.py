"""Which other service proxies run in this network namespace: processes called kube-proxy.

Two of them in one kernel repair each other's rules for ever, and what one removes the other writes again. So whoever takes over waits until
the other has ended, and an operator who goes back is told in which order. A process in another process namespace cannot be seen; then
nobody is waited for. `takeover` asks. Source: proc(5).
"""

import os
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "kube-proxy"
_PROCESSES = Path("/proc")


def running(program: str = PROGRAM) -> tuple[int, ...]:
    """Return the ids of the processes of a program that live in our network namespace.

    A program is told by the first word of its command line, which for a script is its interpreter: our own command of the same name
    does not count.
    """
    ours = Path("/proc/thread-self/ns/net").readlink()
    return tuple(pid for pid in _called(program) if _namespace(pid) == ours)


def _called(program: str) -> Iterator[int]:
    for entry in _PROCESSES.iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if os.fsdecode(command.split(b"\0", 1)[0]).rpartition("/")[2] == program:
                yield int(entry.name)


def _namespace(pid: int) -> Path | None:
    try:
        return (_PROCESSES / str(pid) / "ns/net").readlink()
    except OSError:
        return None
