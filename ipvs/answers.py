"""What the kernel answers about IPVS, read from bytes. Pure.

The functions take the body of one netlink message. They accept attributes in any order and pass over those that they do not know, for a
newer kernel may send more; what cannot be true (a missing address, a length that is wrong) raises MalformedError and nothing else.
Every answer about a server carries its counters; they come back beside the value. `wire` makes the requests.

64-bit counters are preferred; kernels before 4.1 send only the 32-bit ones.

A hundred thousand real servers are read whenever the state is observed. Kernels since 5.3 write the attributes of a real server in one
order; where an answer has that order it is read in one call of `struct`, without its counters, and otherwise attribute by attribute.
Source: include/uapi/linux/ip_vs.h.
"""

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from msgspec import Struct
from pointsman.ipvs.objects import (
    Counters,
    Facts,
    Forwarding,
    Load,
    RealKey,
    RealServer,
    ServerFlag,
    Statistics,
    Timeouts,
    Tunnel,
    TunnelKind,
    VirtualKey,
    VirtualServer,
)
from pointsman.ipvs.wire import AF, BITS, HEADER_SIZE, PROTOCOLS
from pointsman.netlink.codec import MalformedError, attributes, text
from pointsman.routing.route import Family

_FAMILIES: Final = {number: family for family, number in AF.items()}
_PROTOCOL_NAMES: Final = {number: protocol for protocol, number in PROTOCOLS.items()}
_FORWARDING: Final = {one.value: one for one in Forwarding}
_TUNNELS: Final = {one.value: one for one in TunnelKind}
_HASHED: Final = 0x02
_FLAG_PAIR: Final = struct.Struct("=II")
_EMPTY: Final = memoryview(b"")

_Attributes = dict[int, memoryview]


class Virtual(Struct, frozen=True, gc=False):
    """A virtual server as the kernel has it."""

    key: VirtualKey
    server: VirtualServer
    statistics: Statistics


class Real(Struct, frozen=True, gc=False):
    """A real server as the kernel has it."""

    key: RealKey
    server: RealServer
    load: Load
    statistics: Statistics


def _number(found: _Attributes, kind: int, size: int, default: int | None = None) -> int:
    """Return a number in the machine's byte order."""
    payload = found.get(kind)
    if payload is None:
        if default is None:
            raise MalformedError(f"attribute {kind} is missing")
        return default
    if len(payload) != size:
        raise MalformedError(f"attribute {kind} has {len(payload)} bytes, not {size}")
    return struct.unpack(_NATIVE[size], payload)[0]  # type: ignore[no-any-return]


_NATIVE: Final = {1: "=B", 2: "=H", 4: "=I", 8: "=Q"}


def _port(found: _Attributes, kind: int) -> int:
    payload = found.get(kind, _EMPTY)
    if len(payload) != 2:
        raise MalformedError(f"attribute {kind} has {len(payload)} bytes: a port has 2")
    return payload[0] << 8 | payload[1]


def _address(found: _Attributes, kind: int, family: Family) -> str:
    """Return an address; the kernel sends 16 bytes for both families, of which IPv4 uses the first four."""
    payload = found.get(kind, _EMPTY)
    size = BITS[family] // 8
    if len(payload) < size:
        raise MalformedError(f"attribute {kind} has {len(payload)} bytes: an {family.value} address has {size}")
    number = bytes(payload[:size])
    return str(IPv4Address(number)) if size == 4 else str(IPv6Address(number))


def _family(number: int) -> Family:
    family = _FAMILIES.get(number)
    if family is None:
        raise MalformedError(f"address family {number}: neither IPv4 nor IPv6")
    return family


def _nested(body: bytes | memoryview, kind: int) -> _Attributes:
    """Return the attributes inside the one that an answer is about."""
    content = dict(attributes(body, HEADER_SIZE)).get(kind)
    if content is None:
        raise MalformedError(f"the answer has no attribute {kind}")
    return dict(attributes(content))


def virtual(body: bytes | memoryview) -> Virtual:
    """Read one answer to `wire.DUMP_VIRTUALS` or `wire.ask_virtual`."""
    found = _nested(body, 1)
    family = _family(_number(found, 1, 2))
    mark = _number(found, 5, 4, 0)
    if mark:
        key = VirtualKey(family, mark=mark)
    else:
        number = _number(found, 2, 2)
        protocol = _PROTOCOL_NAMES.get(number)
        if protocol is None:
            raise MalformedError(f"protocol {number}: IPVS serves TCP, UDP and SCTP")
        key = VirtualKey(family, protocol, _address(found, 3, family), _port(found, 4))
    flags = found.get(7, _EMPTY)
    if len(flags) != _FLAG_PAIR.size:
        raise MalformedError(f"flags have {len(flags)} bytes, not {_FLAG_PAIR.size}")
    server = VirtualServer(
        scheduler=text(found.get(6, _EMPTY)),
        flags=ServerFlag(_FLAG_PAIR.unpack(flags)[0] & ~_HASHED),
        persistence_seconds=_number(found, 8, 4, 0),
        persistence_prefix=_prefix(found, family),
        persistence_engine=text(found.get(11, _EMPTY)),
    )
    return Virtual(key, server, _statistics(found, 10, 12))


def _prefix(found: _Attributes, family: Family) -> int | None:
    """Return the prefix length of persistence, None for whole addresses."""
    if 9 not in found:
        return None
    if family is Family.IPV6:
        prefix = _number(found, 9, 4)
    elif len(found[9]) != 4:
        raise MalformedError(f"persistence mask {found[9].hex()}: not 4 bytes")
    else:  # ipvsadm admits masks with holes: what counts as their prefix are the ones before the first hole
        prefix = 32 - (int.from_bytes(found[9], "big") ^ 0xFFFFFFFF).bit_length()
    bits = BITS[family]
    if prefix > bits:
        raise MalformedError(f"persistence prefix {prefix}: at most {bits} for {family.value}")
    return None if prefix == bits else prefix


def real(body: bytes | memoryview, key: VirtualKey) -> Real:
    """Read one answer to `wire.dump_reals(key)`."""
    found = _nested(body, 2)
    family = _family(_number(found, 11, 2)) if 11 in found else key.family
    server = _real_server(
        _number(found, 3, 4) & 7,
        _number(found, 4, 4),
        _number(found, 5, 4, 0),
        _number(found, 6, 4, 0),
        (_number(found, 13, 1, 0), _port(found, 14) if 14 in found else 0, _number(found, 15, 2, 0)),
    )
    load = Load(_number(found, 7, 4, 0), _number(found, 8, 4, 0), _number(found, 9, 4, 0))
    return Real(RealKey(key, _address(found, 1, family), _port(found, 2)), server, load, _statistics(found, 10, 12))


def quick_real(body: bytes | memoryview, key: VirtualKey) -> Real:
    """Read one answer to `wire.dump_reals(key)` without its counters, several times faster where the kernel's order is the usual one."""
    try:
        (
            head, place, port_head, port, method_head, method, weight_head, weight, kind_head, kind, outer_head, outer, flags_head, flags,
            upper_head, upper, lower_head, lower, active_head, active, idle_head, idle, bound_head, bound, family_head, number,
        ) = _USUAL.unpack_from(body, HEADER_SIZE)  # fmt: skip
    except struct.error:
        return _slowly(body, key)
    heads = (
        head[2:], port_head, method_head, weight_head, kind_head, outer_head, flags_head,
        upper_head, lower_head, active_head, idle_head, bound_head, family_head,
    )  # fmt: skip
    family = _FAMILIES.get(number)
    if heads != _USUAL_HEADS or family is None:
        return _slowly(body, key)
    address = f"{place[0]}.{place[1]}.{place[2]}.{place[3]}" if family is Family.IPV4 else str(IPv6Address(place))
    server = _real_server(method & 7, weight, upper, lower, (kind, outer[0] << 8 | outer[1], flags))
    return Real(RealKey(key, address, port[0] << 8 | port[1]), server, _load(active, idle, bound), _NO_STATISTICS)


def _slowly(body: bytes | memoryview, key: VirtualKey) -> Real:
    found = real(body, key)
    return Real(found.key, found.server, found.load, _NO_STATISTICS)


def _head(length: int, kind: int) -> bytes:
    return struct.pack("=HH", length, kind)


# What follows the header: the length of the attribute with everything in it (which varies) and its type, then attributes of known length.
_USUAL: Final = struct.Struct("=8s16s 4s2s2x 4sI 4sI 4sB3x 4s2s2x 4sH2x 4sI 4sI 4sI 4sI 4sI 4sH2x")
_USUAL_HEADS: Final = (
    struct.pack("=H", 2) + _head(20, 1), _head(6, 2), _head(8, 3), _head(8, 4), _head(5, 13), _head(6, 14), _head(6, 15),
    _head(8, 5), _head(8, 6), _head(8, 7), _head(8, 8), _head(8, 9), _head(6, 11),
)  # fmt: skip
_NO_STATISTICS: Final = Statistics()


@lru_cache(maxsize=1024)
def _real_server(method: int, weight: int, upper: int, lower: int, outer: tuple[int, int, int]) -> RealServer:
    """Return the value; few different ones serve all real servers. `outer` is a tunnel's type, port and flags."""
    forwarding = _FORWARDING.get(method)
    if forwarding is None:
        raise MalformedError(f"forwarding method {method}: unknown")
    if forwarding is not Forwarding.TUNNEL:
        return RealServer(weight, forwarding, upper, lower)
    kind, port, flags = outer
    if kind not in _TUNNELS:
        raise MalformedError(f"tunnel type {kind}: unknown")
    return RealServer(weight, forwarding, upper, lower, Tunnel(_TUNNELS[kind], port, flags))


@lru_cache(maxsize=256)
def _load(active: int, inactive: int, persistent: int) -> Load:
    return Load(active, inactive, persistent)


def _statistics(found: _Attributes, narrow: int, wide: int) -> Statistics:
    if wide in found:
        counts = dict(attributes(found[wide]))
        sizes = (8,) * 10
    elif narrow in found:
        counts = dict(attributes(found[narrow]))
        sizes = (4, 4, 4, 8, 8, 4, 4, 4, 4, 4)
    else:
        return Statistics()
    numbers = [_number(counts, kind, size, 0) for kind, size in enumerate(sizes, 1)]
    return Statistics(Counters(*numbers[:5]), Counters(*numbers[5:]))


def timeouts(body: bytes | memoryview) -> Timeouts:
    """Read the answer to `wire.ASK_TIMEOUTS`."""
    found = dict(attributes(body, HEADER_SIZE))
    return Timeouts(_number(found, 4, 4), _number(found, 5, 4), _number(found, 6, 4))


def facts(body: bytes | memoryview) -> Facts:
    """Read the answer to `wire.ASK_FACTS`."""
    found = dict(attributes(body, HEADER_SIZE))
    version = _number(found, 1, 4)
    return Facts((version >> 16 & 0xFF, version >> 8 & 0xFF, version & 0xFF), _number(found, 2, 4))
