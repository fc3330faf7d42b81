"""The sockets that queries come to: which a Corefile asks for, and opening them.

The agent opens them and keeps them open for as long as it lives; resolvers inherit them. So a resolver that is killed loses no query: what
waits in a queue is answered by the next one. A place is an address and a port; each has a UDP and a TCP socket (WIR-45) per worker. Several
workers share a place by SO_REUSEPORT; one alone does without, so that a place that somebody else has is an error and not a share of the
queries. Sockets that an earlier process gave are all used, also if it had more workers or fewer: each holds a share of the queries, and of
what waits. On a node addresses may be bound before they are the host's (IP_FREEBIND).

A Corefile that names no address listens everywhere, or where the caller says. `supervisor` hands the sockets on.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from pointsman.dns.corefile.load import Corefile
from pointsman.dns.feed import Listener
from pointsman.dns.heartbeat import SIZE

EVERYWHERE: Final = ("::",)
BACKLOG: Final = 512
RECEIVE_BUFFER: Final = 16 << 20
"""Bytes of queries that may wait, if the system allows it: some 15,000. That is more than come while a resolver starts, and no more than a
resolver that is flooded with its most costly questions answers before those who asked have given up."""

TRANSPORTS: Final = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}

_IP_FREEBIND, _IPV6_FREEBIND, _SO_RCVBUFFORCE = 15, 78, 33


class ListenError(Exception):
    """A place cannot be listened at; the text says which one, why, and what to do."""


class Place(Struct, frozen=True, order=True):
    """An address and port; `key_port` is the port by which keys of the Corefile mean it, 0 if all of them do."""

    address: str
    port: int
    key_port: int

    def __str__(self) -> str:
        """Return `address:port`, IPv6 in brackets."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def places(corefile: Corefile, interfaces: Mapping[str, Sequence[str]], default: Sequence[str] = EVERYWHERE) -> tuple[Place, ...]:
    """Return where a Corefile listens; blocks without bind listen at the `default` addresses. Raises ListenError.

    `interfaces` gives the addresses of each interface, which bind may name instead of addresses (COR-14).
    """
    found: dict[Place, None] = {}
    for block in corefile.blocks:
        chosen = _addresses(block.addresses, interfaces) if block.addresses else default
        for key in block.keys:
            found.update((Place(address, key.port, key.port), None) for address in chosen)
    return tuple(found)


def _addresses(named: Iterable[str], interfaces: Mapping[str, Sequence[str]]) -> list[str]:
    found: dict[str, None] = {}
    for name in named:
        try:
            found[str(ipaddress.ip_address(name))] = None
        except ValueError:
            known = interfaces.get(name)
            if not known:
                text = f"bind {name}: this host has no interface of that name with an address; there are: {', '.join(sorted(interfaces))}"
                raise ListenError(text) from None
            found.update(dict.fromkeys(known))
    return list(found)


class Sockets:
    """The open sockets of all places, for a number of workers; `beats` is memory for the signs of life of several (`dns.heartbeat`).

    With `early` addresses may be bound before they are this host's.
    """

    def __init__(self, workers: int = 1, *, early: bool = False) -> None:
        self.workers = workers
        self._early = early
        self.beats = -1
        if workers > 1:
            self.beats = os.memfd_create("pointsman-dns-beats")
            os.ftruncate(self.beats, workers * SIZE)
        self._open: dict[tuple[Place, str, int], socket.socket] = {}
        self._given: dict[tuple[str, int, str], list[socket.socket]] = {}
        self._host: tuple[str, ...] = ()

    @property
    def local(self) -> tuple[str, ...]:
        """Return the addresses at which it is listened; all of this host where that is everywhere (REC-94)."""
        return tuple(dict.fromkeys(address for place in sorted(self.places) for address in _standing_for(place.address, self._host)))

    @property
    def places(self) -> frozenset[Place]:
        """Return where it is listened at present."""
        return frozenset(place for place, _, _ in self._open)

    def want(self, wanted: Iterable[Place], host: Iterable[str] = ()) -> bool:
        """Open what is missing, close what is not wanted; return whether anything changed. Raises ListenError, and changes nothing then.

        `host` are the addresses of this host.
        """
        chosen = tuple(dict.fromkeys(wanted))
        missing = [place for place in chosen if place not in self.places]
        made: dict[tuple[Place, str, int], socket.socket] = {}
        try:
            for place in missing:
                for way, kind in TRANSPORTS.items():
                    if (place.address, place.port, way) in self._given:
                        continue
                    for number in range(self.workers):
                        made[place, way, number] = _bound(place, kind, shared=self.workers > 1, early=self._early)
        except OSError as error:
            for each in made.values():
                each.close()
            raise ListenError(_reason(place, error)) from error
        gone = [key for key in self._open if key[0] not in chosen]
        for key in gone:
            self._open.pop(key).close()
        self._open.update(made)
        for place in missing:
            for way in TRANSPORTS:
                given = self._given.pop((place.address, place.port, way), [])
                self._open.update(((place, way, number), each) for number, each in enumerate(given))
        self._host = tuple(host)
        return bool(missing or gone)

    def adopt(self, listeners: Iterable[Listener]) -> None:
        """Take sockets over that other processes opened, as `handover` brings them; they are used for places that are wanted later.

        Several may give the same one; of several workers each gives its own.
        """
        known = {os.fstat(each.fileno()).st_ino for some in self._given.values() for each in some}
        for listener in listeners:
            given = socket.socket(fileno=listener.fd)
            inode = os.fstat(listener.fd).st_ino
            if inode in known:
                given.close()
                continue
            known.add(inode)
            self._given.setdefault((listener.address, listener.port, listener.transport), []).append(given)

    def complete(self) -> None:
        """Open what workers lack because fewer had sockets before; from now on these have a share. Raises ListenError."""
        for place in self.places:
            for way, kind in TRANSPORTS.items():
                there = [each for key, each in self._open.items() if key[:2] == (place, way)]
                try:
                    for number in range(len(there), self.workers):
                        for each in there:
                            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                        self._open[place, way, number] = _bound(place, kind, shared=True, early=self._early)
                except OSError as error:
                    raise ListenError(_reason(place, error)) from error

    def settle(self) -> None:
        """Close what was taken over and is not wanted: nobody would read it."""
        for each in (one for some in self._given.values() for one in some):
            each.close()
        self._given.clear()

    def of(self, worker: int) -> tuple[Listener, ...]:
        """Return a worker's sockets; where there are more than workers, some have several of a place."""
        found = ((key, each) for key, each in self._open.items() if key[2] % self.workers == worker)
        return tuple(Listener(each.fileno(), way, place.address, place.port, place.key_port) for (place, way, _), each in found)

    def close(self) -> None:
        """Close all of them; queries that wait in a queue stay with whoever inherited it."""
        self.settle()
        for each in self._open.values():
            each.close()
        self._open.clear()
        if self.beats >= 0:
            os.close(self.beats)
            self.beats = -1


def _standing_for(address: str, host: Iterable[str]) -> Iterable[str]:
    """Return the addresses of a host that a listener's address stands for."""
    if not ipaddress.ip_address(address).is_unspecified:
        return (address,)
    return [each for each in host if ":" in address or ":" not in each]


def _bound(place: Place, kind: socket.SocketKind, *, shared: bool, early: bool) -> socket.socket:
    six = ":" in place.address
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place.address != "::"))
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, int(early))
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, int(early))
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.address, place.port))
        if kind is socket.SOCK_STREAM:
            made.listen(BACKLOG)
        else:
            _enlarge(made)
    except OSError:
        made.close()
        raise
    return made


def _enlarge(made: socket.socket) -> None:
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _reason(place: Place, error: OSError) -> str:
    what = f"cannot listen at {place}: {error.strerror or error}"
    if error.errno == errno.EADDRINUSE:
        return f"{what}; another DNS server has it: stop that one, or choose another place with --listen or bind"
    if error.errno == errno.EACCES:
        return f"{what}; ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another one with --listen"
    return f"{what}; is it an address of this host?"
