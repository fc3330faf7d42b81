"""One agent per node: whoever programs a network namespace holds its reservation.

Two agents with different flags would repair each other's rules for ever. What they share is neither a file system nor a process namespace,
but exactly the network namespace; so the reservation is an abstract unix socket, a name that the kernel keeps per network namespace and
gives up with its holder, also when that is killed. A holder may be on its way out (a restart, a rolling update), so it is waited for a
little while. `daemon` reserves before it looks at anything. Sources: unix(7), network_namespaces(7).
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

log = logging.getLogger(__name__)

NAME = "\0pointsman/agent"
PATIENCE = 5.0
"""Seconds to wait for another agent to end."""

_POLL = 0.05
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group


class OccupiedError(Exception):
    """Another agent programs this network namespace; the text says which and what to do."""


@asynccontextmanager
async def reserved(*, patience: float = PATIENCE, name: str = NAME) -> AsyncIterator[None]:
    """Hold the reservation of this network namespace; raises OccupiedError if another agent keeps it for `patience` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as mine:
        mine.setblocking(False)
        deadline = asyncio.get_running_loop().time() + patience
        waiting = False
        while not _bound(mine, name):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise OccupiedError(f"another pointsman{_holder(name)} programs this network namespace; stop that one first")
            if not waiting:
                log.info("waiting for another pointsman to end", extra={"holder": _holder(name).strip(" ()"), "seconds": patience})
                waiting = True
            await asyncio.sleep(min(_POLL, left))
        mine.listen()  # only so that others can ask the kernel whose it is
        loop = asyncio.get_running_loop()
        loop.add_reader(mine, _turn_away, mine)
        try:
            yield
        finally:
            loop.remove_reader(mine)


def _turn_away(mine: socket.socket) -> None:
    """Close a connection: whoever made it knows by then whose the name is. Kept, they would fill the queue, and nobody could ask again."""
    with suppress(OSError):
        mine.accept()[0].close()


def _bound(mine: socket.socket, name: str) -> bool:
    try:
        mine.bind(name)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def _holder(name: str) -> str:
    """Return ` (process 4711)`; empty where the holder lives in a process namespace that we cannot see, or is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe, suppress(OSError):
        probe.setblocking(False)
        probe.connect(name)
        process, _, _ = _CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return f" (process {process})" if process > 0 else ""
    return ""
