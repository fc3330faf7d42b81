"""What answers in the laboratory: on given ports of a place, over TCP, UDP and SCTP, each answer says who answered and whom it saw asking.

One process serves every place: the sockets were opened inside the places' namespaces, the callbacks run on the one event loop. Answers
leave from the address that was asked, so a place may own whole ranges of addresses. A TCP connection stays open after the answer and
echoes what it gets, which is what long-lived streams use.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct
from pointsman.proxy.demo import lab_sctp
from pointsman.proxy.demo.lab_namespace import Namespaces
from pointsman.routing.route import Family, Protocol

_BACKLOG = 4096
_READ = 65536
_CONTROL = 256
_RCVBUFFORCE = 33  # not named by the socket module
_ROOM = 8 << 20
_KINDS = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_V4_HEADER_WORDS = 0x0F


class Answer(Struct, frozen=True):
    """Who answered (place and port), and which source address and port it saw."""

    place: str
    port: int
    source: str
    source_port: int


def packet_information(family: Family) -> tuple[int, int, int]:
    """Return level, receive option and message type by which a socket learns and sets the local address of a datagram."""
    if family is Family.IPV4:
        return socket.IPPROTO_IP, 8, 8  # IP_PKTINFO, not named by the socket module
    return socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO


def v4_payload(text: bytes) -> bytes:
    """Return what follows the IPv4 header that raw sockets give."""
    return text[(text[0] & _V4_HEADER_WORDS) * 4 :] if text else b""


def make_roomy(one: socket.socket) -> None:
    """Let a socket that serves many at once hold what arrives between two turns of the event loop."""
    one.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)


class Servers:
    """Every open server of a laboratory."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._loop = asyncio.get_running_loop()
        self._open: set[socket.socket] = set()
        self._sctp: dict[tuple[str, Family], tuple[socket.socket, set[int]]] = {}
        self._streams: dict[socket.socket, tuple[str, int]] = {}

    def serve(self, place: str, protocol: Protocol, port: int) -> None:
        """Answer on a port of a place, in both families."""
        for family in Family:
            if protocol is Protocol.SCTP:
                self._serve_sctp(place, family, port)
            else:
                self._serve_port(place, family, protocol, port)

    def drop(self, place: str) -> None:
        """Close every established TCP connection of a place, as if its pod had died."""
        for stream in [stream for stream, (at, _) in self._streams.items() if at == place]:
            self._close(stream)

    def streams(self, place: str) -> int:
        """Return how many TCP connections are established at a place."""
        return sum(at == place for at, _ in self._streams.values())

    def close(self) -> None:
        """Close everything."""
        for one in list(self._open):
            self._close(one)

    def _serve_port(self, place: str, family: Family, protocol: Protocol, port: int) -> None:
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        [listener] = self._namespaces.sockets(place, _KINDS[family], kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is Family.IPV6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("", port))
        if protocol is Protocol.TCP:
            listener.listen(_BACKLOG)
            self._add(listener, lambda: self._accept(listener, place, port))
        else:
            make_roomy(listener)
            level, option, _ = packet_information(family)
            listener.setsockopt(level, option, 1)
            self._add(listener, lambda: self._datagrams(listener, place, port))

    def _serve_sctp(self, place: str, family: Family, port: int) -> None:
        if (place, family) not in self._sctp:
            [raw] = self._namespaces.sockets(place, _KINDS[family], socket.SOCK_RAW, lab_sctp.NUMBER)
            make_roomy(raw)
            level, option, _ = packet_information(family)
            raw.setsockopt(level, option, 1)
            ports: set[int] = set()
            self._sctp[place, family] = (raw, ports)
            self._add(raw, lambda: self._segments(raw, place, family, ports))
        self._sctp[place, family][1].add(port)

    def _add(self, one: socket.socket, callback: Callable[[], None]) -> None:
        self._open.add(one)
        self._loop.add_reader(one.fileno(), callback)  # a number: of a socket, the selector asks its addresses each time

    def _close(self, one: socket.socket) -> None:
        self._loop.remove_reader(one.fileno())
        self._open.discard(one)
        self._streams.pop(one, None)
        one.close()

    def _accept(self, listener: socket.socket, place: str, port: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                stream, peer = listener.accept()
                stream.setblocking(False)
                try:
                    stream.send(msgspec.json.encode(Answer(place, port, peer[0], peer[1])) + b"\n")
                except OSError:
                    stream.close()
                    continue
                self._streams[stream] = (place, port)
                self._add(stream, lambda stream=stream: self._echo(stream))  # type: ignore[misc]

    def _echo(self, stream: socket.socket) -> None:
        try:
            text = stream.recv(_READ)
            if text:
                stream.send(text)
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # the client has gone: the same as the end of its stream
        self._close(stream)

    def _datagrams(self, listener: socket.socket, place: str, port: int) -> None:
        for _, control, peer in _received(listener):
            _send(listener, msgspec.json.encode(Answer(place, port, *peer)), control, peer)

    def _segments(self, raw: socket.socket, place: str, family: Family, ports: set[int]) -> None:
        for text, control, peer in _received(raw):
            segment = lab_sctp.decode(v4_payload(text) if family is Family.IPV4 else text)
            if segment is None or segment.port not in ports:
                continue
            saying = msgspec.json.encode(Answer(place, segment.port, peer[0], segment.source_port))
            reply = lab_sctp.answer(segment, saying)
            if reply:
                _send(raw, reply, control, (peer[0], 0))


Control = list[tuple[int, int, bytes]]
Address = tuple[str, int]


def _received(one: socket.socket) -> Iterable[tuple[bytes, Control, Address]]:
    """Yield what waits at a socket: text, the local address as control message for the reply, and the sender."""
    family = Family.IPV4 if one.family == socket.AF_INET else Family.IPV6
    level, _, message = packet_information(family)
    while True:
        try:
            text, control, _, peer = one.recvmsg(_READ, _CONTROL)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error of an earlier answer: its client has gone
        local = [value for at, kind, value in control if at == level and kind == message]
        # The interface must be 0 for the reply to be routed; IPv4 keeps the local address in the second place, IPv6 in the first.
        value = b"" if not local else bytes(4) + local[0][4:8] + bytes(4) if family is Family.IPV4 else local[0][:16] + bytes(4)
        yield text, [(level, message, value)] if value else [], (peer[0], peer[1])


def _send(one: socket.socket, text: bytes, control: Control, peer: Address) -> None:
    """Send a reply from the address that was asked; a client that is gone is no error."""
    with contextlib.suppress(OSError):
        one.sendmsg([text], control, 0, peer)
