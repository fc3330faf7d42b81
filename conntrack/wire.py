"""Connection tracking as bytes: requests to the kernel, and the flows in its answers. Pure, one compiled `struct` per shape.

Nothing here has effects: `socket` is imported for its conversion of addresses.

The kernel writes entries of a family and protocol always in the same shape: two nested tuples, then status and the rest. `TUPLES` reads
both tuples in one call and returns the constant parts too, so that a shape that is not as expected (a protocol without ports, a zone within
a tuple) is noticed and read attribute by attribute instead. Filters are the kernel's own: protocol, status, mark and zone leave out entries
before they are copied; an older kernel that does not know a filter ignores it, so whoever asks looks again at what comes.

A deletion names an entry by its original direction, its zone and its identity: a younger entry between the same ends stays. Numbers are
big-endian, headers native. `sweep` reads dumps at speed, `kernel` carries the bytes. Source: linux/netfilter/nfnetlink_conntrack.h.
"""

import struct
from collections.abc import Iterator, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from msgspec import Struct
from pointsman.conntrack.flow import Counters, Direction, Flow
from pointsman.netlink import codec
from pointsman.netlink.codec import NESTED, MalformedError, attribute, attributes
from pointsman.routing.route import Family

PROTOCOL: Final = 12
"""NETLINK_NETFILTER."""
_SUBSYSTEM: Final = 1 << 8
NEW: Final = _SUBSYSTEM | 0
GET: Final = _SUBSYSTEM | 1
DELETE: Final = _SUBSYSTEM | 2
GET_CPU_STATISTICS: Final = _SUBSYSTEM | 4
GET_STATISTICS: Final = _SUBSYSTEM | 5
GROUPS: Final = {"new": 1, "update": 2, "destroy": 3}
"""Multicast groups of events."""
FIXED: Final = 4
"""Bytes of the fixed header before the attributes: family, version, two bytes of resource number."""

AF: Final = {Family.IPV4: int(AF_INET), Family.IPV6: int(AF_INET6)}
FAMILIES: Final = {number: family for family, number in AF.items()}

(_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_STATE, _TIMEOUT, _MARK, _SENT, _RETURNED, _USE, _IDENTITY) = (1, 2, 3, 4, 7, 8, 9, 10, 11, 12)
(_ZONE, _TIMESTAMP, _MARK_MASK, _FILTER, _STATUS_MASK) = (18, 20, 21, 25, 26)
_FILTER_PROTOCOL: Final = 1 << 3

_U8: Final = struct.Struct("=B")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_FLAGS: Final = struct.Struct("=I")

TUPLES: Final = {
    Family.IPV4: struct.Struct("=IH10x 16s4s4x4s 8sB7x2s6x2s2x 12s4s4x4s 8sB7x2s6x2s2x HH4s"),
    Family.IPV6: struct.Struct("=IH10x 16s16s4x16s 8sB7x2s6x2s2x 12s16s4x16s 8sB7x2s6x2s2x HH4s"),
}
"""A whole entry's beginning, message header included: length, type, | header, source, destination, | header, protocol, ports, | the same
for the reply, | header and payload of the attribute that follows (the status, in the kernel's own zone)."""

_TCP_STATES: Final = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
)  # fmt: skip
_SCTP_STATES: Final = (
    "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
)  # fmt: skip
_STATES: Final = {1: _TCP_STATES, 3: _SCTP_STATES}


def shape(family: Family) -> tuple[bytes, bytes, bytes, bytes, int]:
    """Return the constant parts that `TUPLES` finds in an entry of a protocol with ports, and the type of the attribute behind them."""
    size = 4 if family is Family.IPV4 else 16
    source = 1 if family is Family.IPV4 else 3
    inner = struct.pack("=HHHH", 4 + 2 * (4 + size), 1 | NESTED, 4 + size, source)
    ports = struct.pack("=HHHH", 28, 2 | NESTED, 5, 1)
    whole = 4 + 4 + 2 * (4 + size) + 28
    head = struct.pack("=BBHHH", AF[family], 0, 0, whole, _ORIGINAL | NESTED)
    return head + inner, ports, struct.pack("=HH", whole, _REPLY | NESTED) + inner, ports, _STATUS


class Filter(Struct, frozen=True):
    """What the kernel may leave out of a dump; None leaves in. Status and mark are (value, mask)."""

    protocol: int | None = None
    status: tuple[int, int] | None = None
    mark: tuple[int, int] | None = None
    zone: int | None = None

    def admits(self, flow: Flow) -> bool:
        """Return whether a flow is left in; to be asked of everything that comes, for an older kernel leaves in more."""
        return (
            self.protocol in (None, flow.protocol)
            and self.zone in (None, flow.zone)
            and (self.status is None or flow.status & self.status[1] == self.status[0] & self.status[1])
            and (self.mark is None or flow.mark & self.mark[1] == self.mark[0] & self.mark[1])
        )


EVERYTHING: Final = Filter()


def _head(family: Family | None) -> bytes:
    return struct.pack("=BBH", AF[family] if family is not None else 0, 0, 0)


def dump(family: Family | None, only: Filter = EVERYTHING) -> bytes:
    """Return the body of a request for all entries of a family (None = all) that a filter leaves in."""
    parts = [_head(family)]
    if only.mark is not None:
        parts += (attribute(_MARK, _U32.pack(only.mark[0])), attribute(_MARK_MASK, _U32.pack(only.mark[1])))
    if only.status is not None:
        parts += (attribute(_STATUS, _U32.pack(only.status[0])), attribute(_STATUS_MASK, _U32.pack(only.status[1])))
    if only.zone is not None:
        parts.append(attribute(_ZONE, _U16.pack(only.zone)))
    if only.protocol is not None:
        if family is None:
            raise ValueError("the kernel filters by protocol within one family only: name the family")
        parts.append(attribute(_ORIGINAL | NESTED, attribute(2 | NESTED, attribute(1, _U8.pack(only.protocol)))))
        parts.append(attribute(_FILTER | NESTED, attribute(1, _FLAGS.pack(_FILTER_PROTOCOL))))
    return b"".join(parts)


def delete(flow: Flow) -> bytes:
    """Return the body of a request that removes this very entry; ENOENT if it is gone, also if a younger one took its place."""
    zone = attribute(_ZONE, _U16.pack(flow.zone)) if flow.zone else b""
    return _head(flow.family) + _tuple(_ORIGINAL, flow.protocol, flow.original) + zone + attribute(_IDENTITY, _U32.pack(flow.identity))


def create(flow: Flow) -> bytes:
    """Return the body of a request that adds an entry (its identity is the kernel's to give); for tests and measurements."""
    return b"".join(
        (
            _head(flow.family),
            _tuple(_ORIGINAL, flow.protocol, flow.original),
            _tuple(_REPLY, flow.protocol, flow.reply),
            attribute(_ZONE, _U16.pack(flow.zone)) if flow.zone else b"",  # where the kernel writes it too
            attribute(_STATUS, _U32.pack(flow.status)),
            attribute(_TIMEOUT, _U32.pack(flow.timeout)),
            attribute(_MARK, _U32.pack(flow.mark)),
            _state(flow),
        )
    )


def _state(flow: Flow) -> bytes:
    for kind, states in _STATES.items():
        if flow.state in states and {1: 6, 3: 132}[kind] == flow.protocol:
            inner = attribute(1, _U8.pack(states.index(flow.state)))
            if kind == 3:  # the kernel takes an SCTP state only with both verification tags
                inner += attribute(2, _U32.pack(1)) + attribute(3, _U32.pack(1))
            return attribute(_PROTOCOL_STATE | NESTED, attribute(kind | NESTED, inner))
    return b""


def _tuple(kind: int, protocol: int, one: Direction) -> bytes:
    family = AF_INET6 if ":" in one.source else AF_INET
    source, destination = (3, 4) if family == AF_INET6 else (1, 2)
    try:
        addresses = attribute(source, inet_pton(family, one.source)) + attribute(destination, inet_pton(family, one.destination))
    except OSError:
        raise ValueError(f"{one}: these are no two addresses of one family") from None
    number, first, second = (
        attribute(1, _U8.pack(protocol)), attribute(2, _U16.pack(one.source_port)), attribute(3, _U16.pack(one.destination_port)),
    )  # fmt: skip
    return attribute(kind | NESTED, attribute(1 | NESTED, addresses) + attribute(2 | NESTED, number + first + second))


def statistics(family: Family | None = None) -> bytes:
    """Return the body of a request for statistics: how many entries there are, or (a dump) what each CPU counted."""
    return _head(family)


def flow(body: bytes | memoryview) -> Flow:
    """Read the body of one message about an entry; raises MalformedError for one that lacks what makes an entry, or is no IP flow."""
    family = FAMILIES.get(body[0]) if len(body) >= FIXED else None
    if family is None:
        raise MalformedError(f"an entry of address family {body[0] if len(body) else None}")
    found = dict(attributes(body, FIXED))
    if _ORIGINAL not in found or _REPLY not in found:
        raise MalformedError("an entry lacks one of its directions")
    protocol, original = _direction(found[_ORIGINAL], family)
    _, reply = _direction(found[_REPLY], family)
    times = dict(attributes(found[_TIMESTAMP])) if _TIMESTAMP in found else {}
    return Flow(
        family=family,
        protocol=protocol,
        original=original,
        reply=reply,
        status=_number(found, _STATUS, _U32, 0),
        state=_state_name(found.get(_PROTOCOL_STATE)),
        timeout=_number(found, _TIMEOUT, _U32, -1),
        mark=_number(found, _MARK, _U32, 0),
        zone=_number(found, _ZONE, _U16, 0) or _tuple_zone(found[_ORIGINAL]),
        identity=_number(found, _IDENTITY, _U32, 0),
        use=_number(found, _USE, _U32, 0),
        began=_number(times, 1, _U64, 0) / 1e9,
        sent=_counted(found.get(_SENT)),
        returned=_counted(found.get(_RETURNED)),
    )


def flows(datagram: bytes) -> Iterator[Flow]:
    """Yield the IP flows that one datagram tells of; other messages are passed over. Raises MalformedError."""
    for message in codec.messages(datagram):
        if message.type in (NEW, DELETE) and len(message.body) >= FIXED and message.body[0] in FAMILIES:
            yield flow(message.body)


def numbers(body: bytes | memoryview) -> Mapping[int, int]:
    """Return the 32-bit numbers of a statistics answer by attribute."""
    return {kind: _U32.unpack(payload)[0] for kind, payload in attributes(body, FIXED) if len(payload) == _U32.size}


def _direction(payload: memoryview, family: Family) -> tuple[int, Direction]:
    parts = dict(attributes(payload))
    if 1 not in parts or 2 not in parts:
        raise MalformedError("a direction lacks its addresses or its protocol")
    addresses, ports = dict(attributes(parts[1])), dict(attributes(parts[2]))
    source, destination, size = (1, 2, 4) if family is Family.IPV4 else (3, 4, 16)
    if len(addresses.get(source, b"")) != size or len(addresses.get(destination, b"")) != size:
        raise MalformedError(f"a direction has no two {family.value} addresses")
    inet = AF[family]
    ends = inet_ntop(inet, addresses[source]), inet_ntop(inet, addresses[destination])
    return _number(ports, 1, _U8, 0), Direction(*ends, _number(ports, 2, _U16, 0), _number(ports, 3, _U16, 0))


def _tuple_zone(payload: memoryview) -> int:
    return _number(dict(attributes(payload)), 3, _U16, 0)


def _state_name(payload: memoryview | None) -> str:
    for kind, inner in attributes(payload) if payload is not None else ():
        if kind in _STATES:
            number = _number(dict(attributes(inner)), 1, _U8, 0)
            return _STATES[kind][number] if number < len(_STATES[kind]) else str(number)
    return ""


def _counted(payload: memoryview | None) -> Counters | None:
    if payload is None:
        return None
    found = dict(attributes(payload))
    return Counters(_number(found, 1, _U64, 0), _number(found, 2, _U64, 0))


def _number(found: Mapping[int, memoryview], kind: int, layout: struct.Struct, absent: int) -> int:
    payload = found.get(kind)
    if payload is None:
        return absent
    if len(payload) != layout.size:
        raise MalformedError(f"attribute {kind} has {len(payload)} bytes, not {layout.size}")
    number: int = layout.unpack(payload)[0]
    return number
