"""Datagrams by the batch: `recvmmsg` and `sendmmsg` through ctypes, into one preallocated piece of memory.

One system call takes up to 64 queries, one sends up to 64 replies; a reply is written over its query, whose id stays where it is. The
memory is an anonymous mmap because slicing one gives bytes in a single step, which is what a look-up in a dict wants. Headers for receiving
and for sending are separate, so nothing has to be put back between the two calls.

A socket that is bound to a wildcard address also takes the address each query was sent to (IP_PKTINFO) and sends the reply from there
(WIR-46); the interface is left to routing. Who is next: `udp` turns the batches into answers.
"""

import ctypes
import mmap
import socket
import struct
from ipaddress import ip_address
from typing import Final

from pointsman.dns.tally import Cell

SLOTS: Final = 64
ROOM: Final = 4096
"""Bytes per datagram; a longer query is cut and then does not parse (WIR-07)."""

_NAME: Final = 28  # sockaddr_in6
_MAPPED: Final = bytes(10) + b"\xff\xff"
_CONTROL: Final = 64
_HEADER: Final = 64  # struct mmsghdr on 64-bit systems
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50

_libc = ctypes.PyDLL(None)  # calls never block, so the interpreter's lock need not be given away
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_DONTWAIT = int(socket.MSG_DONTWAIT)


class Datagrams:
    """The batch of one UDP socket.

    After `receive`, slot `i` holds `length(i)` bytes from `i * ROOM` in `memory`. To answer, write the reply there, set
    `sizes[2 * i + 1]` to its length and `send` the range of slots. What cannot be sent (buffers full, no route) is counted in `lost`.
    """

    def __init__(self, sock: socket.socket, lost: Cell) -> None:
        self._sock = sock
        self._lost = lost
        self._ipv6 = sock.family == socket.AF_INET6
        self._wild = ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified
        if self._wild:
            ask = (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO) if self._ipv6 else (socket.IPPROTO_IP, _IP_PKTINFO)
            sock.setsockopt(ask[0], ask[1], 1)
        self.memory = mmap.mmap(-1, SLOTS * ROOM)
        self._names = mmap.mmap(-1, SLOTS * _NAME)
        self._controls = mmap.mmap(-1, SLOTS * _CONTROL)
        self._receiving = _Headers(self.memory, self._names, self._controls if self._wild else None)
        self._sending = _Headers(self.memory, self._names, self._controls if self._wild else None)
        self._sending.set_lengths(_NAME if self._ipv6 else 16, (40 if self._ipv6 else 32) if self._wild else 0)
        self.lengths = self._receiving.lengths
        self.sizes = self._sending.sizes

    def receive(self) -> int:
        """Fill the slots with what waits; return how many (0: nothing, or an error that concerns one datagram only)."""
        if self._wild:
            self._receiving.reset()
        got = int(_recvmmsg(self._sock.fileno(), self._receiving.address, SLOTS, _DONTWAIT, None))
        return max(got, 0)

    def length(self, slot: int) -> int:
        """Return how long the query in a slot is."""
        return self.lengths[slot * 16 + 14]

    def send(self, first: int, last: int) -> None:
        """Send the replies of slots `first` to before `last`."""
        at = first
        if self._wild:
            self._aim(first, last)
        while at < last:
            sent = int(_sendmmsg(self._sock.fileno(), self._sending.address + at * _HEADER, last - at, _DONTWAIT))
            if sent > 0:
                at += sent
            else:
                at += 1
                self._lost[0] += 1

    def client(self, slot: int) -> tuple[str, int]:
        """Return who sent the query in a slot."""
        at = slot * _NAME
        port = int.from_bytes(self._names[at + 2 : at + 4], "big")
        if self._ipv6:
            return _text6(self._names[at + 8 : at + 24]), port
        return socket.inet_ntop(socket.AF_INET, self._names[at + 4 : at + 8]), port

    def host(self, slot: int) -> bytes:
        """Return the packed address of the sender, for counting."""
        at = slot * _NAME
        return self._names[at + 8 : at + 24] if self._ipv6 else self._names[at + 4 : at + 8]

    def is_ipv4(self, slot: int) -> bool:
        """Return whether an IPv4 client of a socket for both families sent the query in a slot."""
        at = slot * _NAME + 8
        return self._names[at : at + 12] == _MAPPED

    def local(self, slot: int) -> str:
        """Return the address that the query in a slot was sent to."""
        if not self._wild:
            return str(self._sock.getsockname()[0])
        at = slot * _CONTROL + 16
        if self._ipv6:
            return _text6(self._controls[at : at + 16])
        return socket.inet_ntop(socket.AF_INET, self._controls[at + 8 : at + 12])

    def route(self, slot: int) -> "Route":
        """Return how to answer the query in a slot later."""
        at = slot * _NAME
        name = self._names[at : at + _NAME]
        if self._ipv6:
            scope = struct.unpack("=I", name[24:28])[0]
            target: tuple[str | int, ...] = (
                socket.inet_ntop(socket.AF_INET6, name[8:24]), int.from_bytes(name[2:4], "big"), 0, scope
            )  # fmt: skip
        else:
            target = (socket.inet_ntop(socket.AF_INET, name[4:8]), int.from_bytes(name[2:4], "big"))
        if not self._wild:
            return Route(self._sock, target, (), self._lost)
        self._aim(slot, slot + 1)
        at = slot * _CONTROL + 16
        if self._ipv6:
            return Route(self._sock, target, ((socket.IPPROTO_IPV6, _IPV6_PKTINFO, self._controls[at : at + 20]),), self._lost)
        return Route(self._sock, target, ((socket.IPPROTO_IP, _IP_PKTINFO, self._controls[at : at + 12]),), self._lost)

    def _aim(self, first: int, last: int) -> None:
        """Take the interface out of what was received with the queries, so that the replies follow the routing table."""
        place = 32 if self._ipv6 else 16
        for slot in range(first, last):
            at = slot * _CONTROL + place
            if not (self._ipv6 and self._controls[at - 16 : at - 14] == b"\xfe\x80"):  # a link-local address needs its interface
                self._controls[at : at + 4] = b"\x00\x00\x00\x00"


class Route:
    """The way back to a client."""

    __slots__ = ("_ancillary", "_lost", "_sock", "_target")

    def __init__(
        self, sock: socket.socket, target: tuple[str | int, ...], ancillary: tuple[tuple[int, int, bytes], ...], lost: Cell
    ) -> None:
        self._sock = sock
        self._target = target
        self._ancillary = ancillary
        self._lost = lost

    def send(self, reply: bytes | None) -> None:
        """Send a reply, if there is one; what cannot be sent is counted, and is as if the network had lost it."""
        if reply is None:
            return
        try:
            if self._ancillary:
                self._sock.sendmsg([reply], self._ancillary, _DONTWAIT, self._target)
            else:
                self._sock.sendto(reply, _DONTWAIT, self._target)
        except OSError:
            self._lost[0] += 1


class _Headers:
    """An array of struct mmsghdr over the slots."""

    def __init__(self, memory: mmap.mmap, names: mmap.mmap, controls: mmap.mmap | None) -> None:
        self._array = ctypes.create_string_buffer(SLOTS * _HEADER)
        self._vectors = (ctypes.c_uint64 * (2 * SLOTS))()
        self.address = ctypes.addressof(self._array)
        self.sizes = memoryview(self._vectors).cast("B").cast("Q")
        self.lengths = memoryview(self._array).cast("B").cast("I")
        starts = [ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (memory, names)]
        control = ctypes.addressof(ctypes.c_char.from_buffer(controls)) if controls is not None else 0
        vectors = ctypes.addressof(self._vectors)
        for slot in range(SLOTS):
            self.sizes[2 * slot] = starts[0] + slot * ROOM
            self.sizes[2 * slot + 1] = ROOM
            struct.pack_into(
                "=QIIQQQQIIII", self._array, slot * _HEADER,
                starts[1] + slot * _NAME, _NAME, 0, vectors + slot * 16, 1,
                control + slot * _CONTROL if control else 0, _CONTROL if control else 0, 0, 0, 0, 0,
            )  # fmt: skip
        self._fresh = self._array.raw

    def reset(self) -> None:
        """Put the lengths back that the kernel overwrites."""
        ctypes.memmove(self.address, self._fresh, SLOTS * _HEADER)

    def set_lengths(self, name: int, control: int) -> None:
        """Set what every reply says of its address and its ancillary part."""
        for slot in range(SLOTS):
            struct.pack_into("=I", self._array, slot * _HEADER + 8, name)
            struct.pack_into("=Q", self._array, slot * _HEADER + 40, control)


def _text6(raw: bytes) -> str:
    """Return the text of an address; an IPv4 client of a socket for both families is an IPv4 client."""
    if raw[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)
