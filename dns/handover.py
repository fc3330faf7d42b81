"""Handing the sockets over: how a resolver that is to be replaced gives its listening sockets to whoever starts the next one.

The sockets are the same ones, not others bound to the same addresses: what waits in their queues is neither lost nor answered twice, and
for a while both processes may read them. The next one takes over by connecting to an abstract Unix socket, whose name is known to everybody
in this network namespace, whatever file system and process namespace it has: it is sent the sockets (SCM_RIGHTS) with their description,
starts, and when it answers it says `end`; this one then reads no more, answers what it has read, and goes.

Several may give: each worker, and whom an agent left that was killed while it took over. All are taken, and all told to go. Both ends must
be of one user; others may have such names, too, so nobody is waited for before it is known whose process it is.

`Giver` is the resolver's side, `take` is the agent's. Source: unix(7).
"""

import array
import asyncio
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs
from pointsman.dns.feed import Listener

log = logging.getLogger(__name__)

END: Final = b"end"
PREFIX: Final = "pointsman/dns/"
"""How the names of those sockets begin."""

_LISTING: Final = Path("/proc/thread-self/net/unix")
_LARGEST: Final = 200
"""Descriptors that one message carries at most; the kernel's limit is 253. One that carries as many is followed by another."""
_BUFFER: Final = 65536
_PATIENCE: Final = 2.0
"""Seconds that who is told to end is waited for."""
_FULL: Final = 0.02
"""Seconds after which somebody is called again who had no room for another caller."""
_CREDENTIALS: Final = struct.Struct("=iii")


class Giver:
    """Gives the sockets of `listeners` to whoever connects to `listening`; calls `ended` when told to end."""

    def __init__(self, listening: socket.socket, listeners: Sequence[Listener], ended: Callable[[], None]) -> None:
        self._listening = listening
        self._listeners = tuple(listeners)
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
            for at in range(0, len(self._listeners) + 1, _LARGEST):
                _send(peer, self._listeners[at : at + _LARGEST])
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
            with suppress(OSError):
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
    """What was taken over: the sockets, as listeners with descriptors of this process, and the line to who gave them."""

    def __init__(self, peer: socket.socket, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)
        self._peer = peer

    def end(self) -> None:
        """Tell who gave them that the next one answers; it goes then. It may have gone already; waits for its word, so not in a loop."""
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

    def close(self) -> None:
        """Close the sockets that were given; the line stays."""
        for each in self.listeners:
            os.close(each.fd)


def take(timeout: float = 2.0) -> tuple[Taken, ...]:
    """Return what resolvers of this network namespace give, the youngest first, within the time at most."""
    deadline = time.monotonic() + timeout
    peers = _call(names(_LISTING.read_text(encoding="utf-8", errors="replace")), deadline)
    found = {name: taken for name, peer in peers.items() if (taken := _hear(peer, deadline)) is not None}
    return tuple(found[name] for name in sorted(found, reverse=True))


def _call(wanted: Iterable[str], deadline: float) -> dict[str, socket.socket]:
    """Return lines to those of this user who are there, without waiting for anybody else."""
    found: dict[str, socket.socket] = {}
    left = list(wanted)
    while left:
        full = []
        for name in left:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            try:
                peer.connect(f"\0{name}")
                if user_of(peer) == os.geteuid():
                    found[name] = peer
                    continue
            except BlockingIOError:  # ours may be busy; who of others fills them, or their own, gains nothing but the time
                full.append(name)
            except OSError:
                log.debug("who would give sockets has gone", extra={"name": name})
            peer.close()
        left = full if time.monotonic() < deadline else []
        if left:
            time.sleep(_FULL)
    return found


def _hear(peer: socket.socket, deadline: float) -> Taken | None:
    """Return what comes over a line before the deadline, or is there already; None if it is nothing that can be used."""
    found: list[Listener] = []
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    try:
        while True:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                break
            listeners = _described(*_receive(peer))
            found += listeners
            if len(listeners) < _LARGEST:
                break
    except OSError:
        log.debug("who would give sockets has gone")
    peer.setblocking(True)
    peer.settimeout(_PATIENCE)
    if not found:
        peer.close()
        return None
    return Taken(peer, found)


def _receive(peer: socket.socket) -> tuple[bytes, Sequence[int]]:
    """Return a message and its descriptors; processes that are started here do not inherit them (recv_fds does not see to that)."""
    numbers = array.array("i")
    described, beside, _, _ = peer.recvmsg(_BUFFER, socket.CMSG_SPACE(_LARGEST * numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, body in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(body[: len(body) - len(body) % numbers.itemsize])
    return described, numbers


def _described(described: bytes, descriptors: Sequence[int]) -> list[Listener]:
    """Return the listeners of one message with the descriptors that came; none if it is not what was agreed."""
    with suppress(msgspec.DecodeError, ValueError):
        listeners = msgspec.json.decode(described, type=list[Listener])
        return [structs.replace(each, fd=number) for each, number in zip(listeners, descriptors, strict=True)]
    for each in descriptors:
        os.close(each)
    return []


def _send(peer: socket.socket, listeners: Sequence[Listener]) -> None:
    numbers = array.array("i", [each.fd for each in listeners]).tobytes()
    peer.sendmsg([msgspec.json.encode(listeners)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if numbers else [])
