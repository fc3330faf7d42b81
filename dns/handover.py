"""Handing the sockets over: how a resolver that is to be replaced gives its listening sockets to whoever starts the next one.

The sockets are the same ones, not others bound to the same addresses: what waits in their queues is neither lost nor answered twice, and
for a while both processes may read them. The next one takes over by connecting to a Unix socket beside the agent's: it is sent the sockets
(SCM_RIGHTS) with their description, starts, and when it answers it says `end`; this one then reads no more, answers what it has read, and
goes. Whoever connects must be this very user.

`Giver` is the resolver's side, `take` and `end` are the agent's. Source: unix(7).
"""

import array
import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

log = logging.getLogger(__name__)

END: Final = b"end"
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


def listen(path: str) -> socket.socket:
    """Return a socket that listens at a path, for `Giver`; whoever listened there before no longer does. Raises OSError."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 - a path of the kernel's, not of a tree of files
        before = os.umask(0o177)
        try:
            found.bind(path)
        finally:
            os.umask(before)
        found.listen(4)
    except OSError:
        found.close()
        raise
    return found


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


def take(path: str, timeout: float = 2.0) -> Taken | None:
    """Return what a resolver at `path` gives; None if none is there."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    peer.settimeout(timeout)
    try:
        peer.connect(path)
        if user_of(peer) != os.geteuid():
            peer.close()
            return None
        described, descriptors, _, _ = socket.recv_fds(peer, _BUFFER, _LARGEST)
    except OSError:
        peer.close()
        return None
    if not descriptors:
        peer.close()
        return None
    return Taken(peer, described, descriptors)
