"""IPVS requests as bytes: one compiled `struct` call per message instead of a tree of attribute objects. Pure.

A request here is the *body* of a netlink message: generic-netlink header and attributes. Message header, family number and sequence number
are the channel's, so a body can be made long before it is sent, kept, and sent again. With attribute objects a hundred thousand real
servers take most of a minute to encode; this takes half a second, and a property test holds the bytes equal to pyroute2's.

What the kernel wants and does not say:
- an IPv6 virtual server needs its prefix length, as a native number, in the attribute that is a dotted mask for IPv4;
- a request for a real server names its virtual server by key only: address, port and protocol, or mark;
- flags come with a mask of the flags that are meant; all of them are meant here, for a value is whole;
- ports are big-endian, protocol and family numbers native.

A value that does not fit raises ValueError that names it, before anything is sent. `answers` reads what comes back, `channel` carries both.
Source: include/uapi/linux/ip_vs.h.
"""

import struct
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from pointsman.ipvs.objects import Forwarding, RealKey, RealServer, Timeouts, VirtualKey, VirtualServer
from pointsman.netlink.codec import attribute
from pointsman.routing.route import Family, Protocol

FAMILY_NAME: Final = "IPVS"
VERSION: Final = 1
HEADER_SIZE: Final = 4
"""Bytes of the generic-netlink header before the attributes."""

# Commands.
NEW_VIRTUAL: Final = 1
SET_VIRTUAL: Final = 2
DELETE_VIRTUAL: Final = 3
GET_VIRTUAL: Final = 4
NEW_REAL: Final = 5
SET_REAL: Final = 6
DELETE_REAL: Final = 7
GET_REAL: Final = 8
SET_CONFIG: Final = 12
GET_CONFIG: Final = 13
SET_INFO: Final = 14
GET_INFO: Final = 15
ZERO: Final = 16

AF: Final = {Family.IPV4: 2, Family.IPV6: 10}
BITS: Final = {Family.IPV4: 32, Family.IPV6: 128}
PROTOCOLS: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}

_OCTETS: Final = {str(number): bytes([number]) for number in range(256)}
_ALL: Final = 0xFFFFFFFF
_NAME: Final = 16
_WEIGHT: Final = 0x7FFFFFFF

_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")
_PORT: Final = struct.Struct(">H")

# Attributes with their headers, ready to be packed in one call: each pair "HH" is length and type, "2s" a big-endian port, "xx" padding.
_KEY4: Final = struct.Struct("=HH HHHxx HHHxx HH4s HH2sxx")
_KEY6: Final = struct.Struct("=HH HHHxx HHHxx HH16s HH2sxx")
_KEY_MARK: Final = struct.Struct("=HH HHHxx HHI")
_OPTIONS: Final = struct.Struct("=HHII HHI HH4s")
_PLACE4: Final = struct.Struct("=HH HH4s HHBBxx")
_PLACE6: Final = struct.Struct("=HH HH16s HHBBxx")
_QUALITIES: Final = struct.Struct("=HHI HHI HHI HHI HHHxx")
_REAL_KEY4: Final = struct.Struct("=HH HH4s HH2sxx HHHxx")
_REAL_KEY6: Final = struct.Struct("=HH HH16s HH2sxx HHHxx")
_KEY_PLACE: Final = HEADER_SIZE + 4 + 8 + 8 + 4
"""Where the address of a virtual server stands: behind three attributes' headers and two whole attributes."""
_TIMEOUTS: Final = struct.Struct("=BBxx HHI HHI HHI")


def _header(command: int) -> bytes:
    return struct.pack("=BBxx", command, VERSION)


_HEADERS: Final = {command: _header(command) for command in range(1, 18)}

LONGEST: Final = 0x7FFFFFFF // 1000
"""Seconds that every kernel takes as a timeout, whatever its tick."""

DUMP_VIRTUALS: Final = _HEADERS[GET_VIRTUAL]
"""Ask for every virtual server; a dump."""
ASK_TIMEOUTS: Final = _HEADERS[GET_CONFIG]
ASK_FACTS: Final = _HEADERS[GET_INFO]
ZERO_ALL: Final = _HEADERS[ZERO]
"""Zero every counter of every virtual server, also of other programs'."""


def packed(address: str) -> bytes:
    """Return an address as the network writes it: 4 or 16 bytes; raises ValueError with the text for what is none."""
    if ":" in address:
        return IPv6Address(address).packed
    try:
        first, second, third, fourth = address.split(".")
        return _OCTETS[first] + _OCTETS[second] + _OCTETS[third] + _OCTETS[fourth]
    except (ValueError, KeyError):
        raise ValueError(f"{address!r} is no IP address") from None


def _port(key: VirtualKey | RealKey, port: int) -> bytes:
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{key}: {port} is no port")
    return _PORT.pack(port)


@lru_cache(maxsize=4096)
def _key(key: VirtualKey) -> bytes:
    """Return the attribute that names a virtual server; the requests for its real servers begin with the same."""
    family = AF[key.family]
    if key.protocol is None:
        if not 0 < key.mark <= _ALL:
            raise ValueError(f"{key}: a mark is from 1 to {_ALL}; without one, the virtual server needs a protocol")
        return _KEY_MARK.pack(_KEY_MARK.size, 1, 6, 1, family, 8, 5, key.mark)
    place = packed(key.address)
    layout = _KEY4 if len(place) == 4 else _KEY6
    if (len(place) == 4) is not (key.family is Family.IPV4):
        raise ValueError(f"{key}: the address is no {key.family.value} address")
    return layout.pack(layout.size, 1, 6, 1, family, 6, 2, PROTOCOLS[key.protocol], 4 + len(place), 3, place, 6, 4, _port(key, key.port))


@lru_cache(maxsize=256)
def _value(family: Family, server: VirtualServer) -> bytes:
    """Return the attributes that say how a virtual server picks; few different values serve thousands of virtual servers."""
    if not 0 < len(server.scheduler) < _NAME or not server.scheduler.isascii():
        raise ValueError(f"scheduler {server.scheduler!r}: a name has 1 to {_NAME - 1} letters")
    if len(server.persistence_engine) >= _NAME or not server.persistence_engine.isascii():
        raise ValueError(f"persistence engine {server.persistence_engine!r}: a name has at most {_NAME - 1} letters")
    name = attribute(6, server.scheduler.encode("ascii") + b"\0")
    bits = BITS[family]
    prefix = bits if server.persistence_prefix is None else server.persistence_prefix
    if not 0 < prefix <= bits:
        raise ValueError(f"persistence prefix {prefix}: must be from 1 to {bits} for {family.value}")
    mask = (_ALL << (32 - prefix) & _ALL).to_bytes(4, "big") if family is Family.IPV4 else _U32.pack(prefix)
    if not 0 <= server.persistence_seconds <= _ALL:
        raise ValueError(f"persistence of {server.persistence_seconds} seconds: must be from 0 to {_ALL}")
    options = _OPTIONS.pack(12, 7, int(server.flags), _ALL, 8, 8, server.persistence_seconds, 8, 9, mask)
    engine = attribute(11, server.persistence_engine.encode("ascii") + b"\0") if server.persistence_engine else b""
    return name + options + engine


def _virtual(command: int, key: VirtualKey, server: VirtualServer) -> bytes:
    name = _key(key)
    content = name[4:] + _value(key.family, server)
    return b"".join((_HEADERS[command], _U16.pack(4 + len(content)), name[2:4], content))


def new_virtual(key: VirtualKey, server: VirtualServer) -> bytes:
    """Add a virtual server; the kernel refuses with EEXIST if it is there."""
    return _virtual(NEW_VIRTUAL, key, server)


def set_virtual(key: VirtualKey, server: VirtualServer) -> bytes:
    """Change a virtual server and keep its real servers and connections; ESRCH if it is not there."""
    return _virtual(SET_VIRTUAL, key, server)


def delete_virtual(key: VirtualKey) -> bytes:
    """Remove a virtual server with its real servers; ESRCH if it is not there."""
    return _HEADERS[DELETE_VIRTUAL] + _key(key)


def ask_virtual(key: VirtualKey) -> bytes:
    """Ask for one virtual server; ESRCH if it is not there."""
    return _HEADERS[GET_VIRTUAL] + _key(key)


def zero(key: VirtualKey) -> bytes:
    """Zero the counters of a virtual server and its real servers."""
    return _HEADERS[ZERO] + _key(key)


@lru_cache(maxsize=1024)
def _qualities(server: RealServer, family: int) -> tuple[bytes, int]:
    """Return what follows a real server's address and port, and the length of the whole attribute; few values serve all real servers."""
    if not (0 <= server.weight <= _WEIGHT and 0 <= server.lower <= _ALL and 0 <= server.upper <= _ALL):
        raise ValueError(f"{server}: the weight is above {_WEIGHT}, or a number is negative or too large")
    content = _QUALITIES.pack(8, 3, server.forwarding.value, 8, 4, server.weight, 8, 5, server.upper, 8, 6, server.lower, 6, 11, family)
    if server.forwarding is Forwarding.TUNNEL:
        kind, port, flags = server.tunnel.kind, server.tunnel.port, server.tunnel.flags
        if not (0 <= port <= 0xFFFF and 0 <= flags <= 0xFFFF):
            raise ValueError(f"{server.tunnel}: port and flags are from 0 to {0xFFFF}")
        content += attribute(13, bytes([kind.value])) + attribute(14, _PORT.pack(port)) + attribute(15, _U16.pack(flags))
    return content, len(content)


def _real(command: int, key: RealKey, server: RealServer) -> bytes:
    place = packed(key.address)
    port = key.port
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{key}: {port} is no port")
    if len(place) == 4:
        content, length = _qualities(server, 2)
        where = _PLACE4.pack(_PLACE4.size + length, 2, 8, 1, place, 6, 2, port >> 8, port & 0xFF)
    else:
        content, length = _qualities(server, 10)
        where = _PLACE6.pack(_PLACE6.size + length, 2, 20, 1, place, 6, 2, port >> 8, port & 0xFF)
    return b"".join((_HEADERS[command], _key(key.virtual), where, content))


def new_real(key: RealKey, server: RealServer) -> bytes:
    """Add a real server; EEXIST if it is there, ESRCH if its virtual server is not."""
    return _real(NEW_REAL, key, server)


def set_real(key: RealKey, server: RealServer) -> bytes:
    """Change a real server and keep its connections; ENOENT if it is not there, ESRCH if its virtual server is not."""
    return _real(SET_REAL, key, server)


def delete_real(key: RealKey) -> bytes:
    """Remove a real server; its connections go with their next packet where the sysctl expire_nodest_conn is 1. ENOENT, ESRCH."""
    return _named_real(DELETE_REAL, key)


def _named_real(command: int, key: RealKey) -> bytes:
    place = packed(key.address)
    layout, family = (_REAL_KEY4, 2) if len(place) == 4 else (_REAL_KEY6, 10)
    body = layout.pack(layout.size, 2, 4 + len(place), 1, place, 6, 2, _port(key, key.port), 6, 11, family)
    return b"".join((_HEADERS[command], _key(key.virtual), body))


def dump_reals(key: VirtualKey) -> bytes:
    """Ask for every real server of a virtual server; a dump, empty also where there is no such virtual server."""
    return _HEADERS[GET_REAL] + _key(key)


def request(command: int, key: VirtualKey | RealKey, value: VirtualServer | RealServer | None) -> bytes:
    """Return the request of a command about a server; without a value (as for a removal) the server is only named."""
    if isinstance(key, RealKey):
        return _real(command, key, value) if isinstance(value, RealServer) else _named_real(command, key)
    return _virtual(command, key, value) if isinstance(value, VirtualServer) else _HEADERS[command] + _key(key)


def place(body: bytes, key: VirtualKey | RealKey) -> slice:
    """Return where in a request the address of its real or of its virtual server stands; a mark has none, and its place is empty."""
    if isinstance(key, RealKey):
        begin = HEADER_SIZE + _U16.unpack_from(body, HEADER_SIZE)[0] + 8
        return slice(begin, begin + (16 if ":" in key.address else 4))
    if key.protocol is None:
        return slice(HEADER_SIZE, HEADER_SIZE)
    return slice(_KEY_PLACE, _KEY_PLACE + BITS[key.family] // 8)


def set_timeouts(timeouts: Timeouts) -> bytes:
    """Set the three timeouts of the whole network namespace; a 0 leaves what is there."""
    if not all(0 <= seconds <= LONGEST for seconds in (timeouts.tcp, timeouts.tcp_fin, timeouts.udp)):
        raise ValueError(f"{timeouts}: must be from 0 to {LONGEST} seconds")
    return _TIMEOUTS.pack(SET_CONFIG, VERSION, 8, 4, timeouts.tcp, 8, 5, timeouts.tcp_fin, 8, 6, timeouts.udp)
