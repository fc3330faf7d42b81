"""Work that ends for the terminal but goes on in the background, for `pointsman demo --keep`.

The work runs in a child process from the start, so all it holds (sockets, processes, namespaces) stays in one hand. The parent waits until
the child says that it stays, or ends; then it returns the status to the shell. Before that, both share the terminal, and Ctrl-C reaches
the child as usual.
"""

import os
import signal
from collections.abc import Callable

Stay = Callable[[int], None]
"""Called by the work when it goes to the background, with the exit status that the terminal gets."""


def run(work: Callable[[Stay], int]) -> int:
    """Run `work` in a child process and return its exit status, or the one it stays with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            status = work(lambda status: _leave(writing, status))
        finally:
            os._exit(status)
    os.close(writing)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read(1)
        return said[0] if said else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.signal(signal.SIGINT, former)


def _leave(writing: int, status: int) -> None:
    """Leave the terminal, and let the parent go."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    os.write(writing, bytes([status]))
    os.close(writing)
