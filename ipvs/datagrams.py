"""Many requests as one datagram: the bytes that `wire` makes, behind message headers, several times faster.

Requests come in runs that differ by nothing but an address: the real servers of one virtual server, virtual servers of one port. The first
of a run is written by `wire`; the others are copies of it with another address and another sequence number. What is written where stays
`wire`'s knowledge alone, and a property test holds the bytes equal to messages that are made one by one.

Every message has a sequence number of its own, by which an error finds its request; only the last asks for an acknowledgement. No message
is longer than LONGEST bytes, so MESSAGES of them are never more than a send buffer takes.

Nothing here has effects: `socket` is imported for its conversion of addresses, seven times faster than any in Python. `channel` sends what
is written here.
"""

import struct
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from pointsman.ipvs import wire
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.netlink import codec
from pointsman.routing.route import Family

MESSAGES: Final = 512
"""Requests in one datagram."""
LONGEST: Final = 192
"""Bytes that no message exceeds, its header included."""

Request = tuple[int, VirtualKey, VirtualServer | None] | tuple[int, RealKey, RealServer | None]
"""A command of `wire`, the server that it is about, and the value to write; None where it is removed."""

_NUMBER: Final = struct.Struct("=I")
_NUMBER_AT: Final = 8
_NUMBER_END: Final = 12
_FLAGS: Final = struct.Struct("=H")
_ASKED: Final = _FLAGS.pack(codec.REQUEST | codec.ACK)
_INET: Final = {Family.IPV4: int(AF_INET), Family.IPV6: int(AF_INET6)}
_SOME: Final = {Family.IPV4: "1.2.3.4", Family.IPV6: "1:2:3:4:5:6:7:8"}
"""Addresses that hold the place of others in a form."""

_Value = VirtualServer | RealServer | None
_Pieces = tuple[bytes, bytes, bytes, bytes]
"""A message without its sequence number: what stands before that, what follows, the address that differs within a run, the rest."""


class Writer:
    """Writes datagrams, and remembers the forms of the last messages; `kind` is the number of the family IPVS."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._common: tuple[object, ...] = ()
        self._forms: dict[int, tuple[bytes, bytes, bytes, bytes]] = {}

    def write(self, requests: Sequence[Request], first: int) -> bytes:
        """Return the datagram; message number n has the sequence number `first` + n.

        Values are recognised by being the same object, as those that a compiler makes are. Raises ValueError for what does not fit, as
        `wire` does.
        """
        parts: list[bytes] = [b""]
        number = _NUMBER.pack
        lead = tail = join = b""
        command, port, inet = 0, 0, 0
        virtual: VirtualKey | None = None
        value: _Value = None
        for sequence, request in enumerate(requests, first):
            key = request[1]
            if key.__class__ is RealKey and key.virtual is virtual and request[2] is value and key.port == port and request[0] == command:
                try:
                    parts += (number(sequence), lead, inet_pton(inet, key.address), join)
                    continue
                except (OSError, ValueError):  # an address of the other family, one written in a way that only `wire` knows, or none
                    pass
            command, key, value = request
            head, lead, place, rest = self._message(command, key, value)
            parts[-1] = tail + head
            tail, join = rest, rest + head
            virtual, port = (key.virtual, key.port) if isinstance(key, RealKey) else (None, 0)
            inet = AF_INET6 if len(place) == 16 else AF_INET
            parts += (number(sequence), lead, place, join)
        parts[-1] = tail
        parts[-5] = parts[-5][: -_FLAGS.size] + _ASKED
        return b"".join(parts)

    def _message(self, command: int, key: VirtualKey | RealKey, value: _Value) -> _Pieces:
        """Return a message in pieces: quickly where the last one differed only in addresses, and had a virtual port met before."""
        virtual, port = (key.virtual, key.port) if isinstance(key, RealKey) else (key, None)
        common = (command, value, port, virtual.family, virtual.protocol)
        if common != self._common:
            self._common, self._forms = common, {}
        inet = _INET[virtual.family]
        try:
            if virtual.port not in self._forms:
                self._forms[virtual.port] = self._form(command, virtual, port, value)
            head, lead, middle, tail = self._forms[virtual.port]
            outer = inet_pton(inet, virtual.address)
            return (head, lead, outer, tail) if port is None else (head, lead + outer + middle, inet_pton(inet, key.address), tail)
        except (OSError, ValueError):  # a mark, a tunnel to the other family, or an address or port as above
            return self._alone(command, key, value)

    def _form(self, command: int, virtual: VirtualKey, port: int | None, value: _Value) -> _Pieces:
        """Return a message around the addresses of its virtual and its real server. Raises ValueError."""
        some = _SOME[virtual.family]
        owner = VirtualKey(virtual.family, virtual.protocol, some, virtual.port)
        key = owner if port is None else RealKey(owner, some, port)
        head, lead, _, tail = self._alone(command, key, value)
        if port is None:
            return head, lead, b"", tail
        outer = lead.index(inet_pton(_INET[virtual.family], some))
        return head, lead[:outer], lead[outer + wire.BITS[virtual.family] // 8 :], tail

    def _alone(self, command: int, key: VirtualKey | RealKey, value: _Value) -> _Pieces:
        """Have `wire` write a message, and cut it. Raises ValueError."""
        body = wire.request(command, key, value)
        head = codec.HEADER.pack(codec.HEADER.size + len(body), self._kind, codec.REQUEST, 0, 0)
        place = wire.place(body, key)
        return head[:_NUMBER_AT], head[_NUMBER_END:] + body[: place.start], body[place], body[place.stop :]
