"""Handing the sockets over: how a resolver that is to be replaced gives its listening sockets to whoever starts the next one.

The sockets are the same ones, not others bound to the same addresses: what waits in their queues is neither lost nor answered twice, and
for a while both processes may read them. The next one takes over by connecting to an abstract Unix socket, whose name is known to everybody
in this network namespace, whatever file system and process namespace it has: it is sent the sockets (SCM_RIGHTS) with their description,
starts, and when it answers it says `end`; this one then reads no more, answers what it has read, and goes. Both ends must be of one user.

`Giver` is the resolver's side, `take` is the agent's. Source: unix(7).
"""

import array
import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

END: Final = b"end"
PREFIX: Final = "pointsman/dns/"
"""How the names of those sockets begin."""

_LISTING: Final = Path("/proc/thread-self/net/unix")
_LARGEST: Final = 200
"""Descriptors that one message carries at most; the kernel's limit is 253."""
_BUFFER: Final = 65536
_CREDENTIALS: Final = struct.Struct("=iii")


class Giver:
    """Gives sockets to whoever connects to `listening`, with `described` beside them; calls `ended` when told to end."""

    def __init__(self, listening: socket.socket, described: bytes, descriptors: Sequence[int], ended: Callable[[], None]) -> None:
        self._listening = listening
        self._described = described
        self._descriptors = tuple(descriptors)[:_LARGEST]
        self._ended = ended
        self._peers: dict[int, socket.socket] = {}

    def start(self) -> None:
        """Wait for somebody; to be called in the event loop."""
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def stop(self) -> None:
        """Wait no more, and hang up."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening.fileno())
        for number, peer in self._peers.items():
            loop.remove_reader(number)
            peer.close()
        self._peers.clear()
        self._listening.close()

    def _accept(self) -> None:
        try:
            peer, _ = self._listening.accept()
        except OSError:
            return
        peer.setblocking(False)
        if user_of(peer) != os.geteuid():
            peer.close()
            return
        try:
            peer.sendmsg([self._described], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self._descriptors).tobytes())])
        except OSError as error:
            log.warning("the sockets could not be handed over", extra={"error": error.strerror})
            peer.close()
            return
        log.info("the sockets were handed to the next process")
        self._peers[peer.fileno()] = peer
        asyncio.get_running_loop().add_reader(peer.fileno(), self._hear, peer)

    def _hear(self, peer: socket.socket) -> None:
        try:
            said = peer.recv(_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        asyncio.get_running_loop().remove_reader(peer.fileno())
        self._peers.pop(peer.fileno(), None)
        if said == END:
            peer.send(END)
            self._ended()
        peer.close()


def user_of(peer: socket.socket) -> int:
    """Return the user of the process at the other end."""
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


def listen() -> socket.socket:
    """Return a socket for `Giver`, under a name of its own in this network namespace. Raises OSError."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        found.bind(f"\0{PREFIX}{time.time_ns():020d}")
        found.listen(4)
    except OSError:
        found.close()
        raise
    return found


def names(listing: str) -> list[str]:
    """Return the names at which resolvers give their sockets, the youngest first, from the text of /proc/net/unix."""
    last = (line.rpartition(" ")[2] for line in listing.splitlines())
    return sorted({name[1:] for name in last if name.startswith(f"@{PREFIX}")}, reverse=True)


class Taken:
    """What was taken over: the sockets with their description, and the line to who gave them."""

    def __init__(self, peer: socket.socket, described: bytes, descriptors: Sequence[int]) -> None:
        self.described = described
        self.descriptors = tuple(descriptors)
        self._peer = peer

    def end(self) -> None:
        """Tell who gave them that the next one answers; it goes then. It may have gone already."""
        try:
            self._peer.send(END)
            self._peer.recv(_BUFFER)
        except OSError:
            log.debug("who gave the sockets has gone already")
        finally:
            self._peer.close()

    def leave(self) -> None:
        """Hang up without telling anything."""
        self._peer.close()


def take(timeout: float = 2.0) -> Taken | None:
    """Return what a resolver of this network namespace gives; None if there is none."""
    for name in names(_LISTING.read_text(encoding="utf-8", errors="replace")):
        if (found := _ask(name, timeout)) is not None:
            return found
    return None


def _ask(name: str, timeout: float) -> Taken | None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    peer.settimeout(timeout)
    try:
        peer.connect(f"\0{name}")
        described, descriptors, _, _ = socket.recv_fds(peer, _BUFFER, _LARGEST)
    except OSError:
        peer.close()
        return None
    if not descriptors or user_of(peer) != os.geteuid():
        for each in descriptors:
            os.close(each)
        peer.close()
        return None
    return Taken(peer, described, descriptors)
