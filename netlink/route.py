"""rtnetlink messages about links, addresses and local routes, as bytes: what addresses need that are to be served here. Pure.

Bodies only: `channel` adds headers and sends. Addresses are given the longest prefix of their family. IPv4 ones get host scope, IPv6 ones
a preferred lifetime of zero (deprecated) and no duplicate detection: they answer, but the kernel does not choose them as the source of
other connections.

A local route makes an address this host's own without giving it to any device: packets to it are delivered here, programs may listen at
it, and nobody who lists the addresses of interfaces takes it for one of the node's. Ours carry a protocol number of their own
(`ORIGIN`), by which a process without memory knows them. Sources: rtnetlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h.
"""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from pointsman.netlink import codec

NEW_LINK: Final = 16
DELETE_LINK: Final = 17
GET_LINK: Final = 18
NEW_ADDRESS: Final = 20
DELETE_ADDRESS: Final = 21
GET_ADDRESS: Final = 22
NEW_ROUTE: Final = 24
DELETE_ROUTE: Final = 25
GET_ROUTE: Final = 26

REPLACE: Final = 0x100
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400

ADDRESS_GROUPS: Final = (5, 9)
"""Multicast groups of IPv4 and IPv6 address changes."""

ROUTE_GROUPS: Final = (7, 11)
"""Multicast groups of IPv4 and IPv6 route changes."""

_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_LIFETIME: Final = struct.Struct("=IIII")  # struct ifa_cacheinfo: preferred, valid, two time stamps
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_TABLE_LOCAL: Final = 255
_TYPE_LOCAL: Final = 2
_LOOPBACK_INDEX: Final = 1  # of every network namespace
_SCOPE_HOST: Final = 254
_SCOPE_LINK: Final = 253
_INET, _INET6 = 2, 10
_FLAG_NO_DETECTION: Final = 0x02
_FOR_EVER: Final = 0xFFFFFFFF

ORIGIN: Final = 80
"""The number by which routes of ours are known (`ip route show table local proto 80`)."""


def link_by_name(name: str, kind: str = "") -> bytes:
    """Return the body of a request about a link, by name; with `kind` (such as `dummy`), of one that makes it."""
    body = _LINK.pack(0, 0, 0, 0, 0) + codec.attribute(_IFLA_IFNAME, name.encode() + b"\0")
    if kind:
        body += codec.attribute(_IFLA_LINKINFO | codec.NESTED, codec.attribute(_IFLA_INFO_KIND, kind.encode()))
    return body


def link_index(body: bytes | memoryview) -> int:
    """Return the index in an answer about a link. Raises MalformedError."""
    if len(body) < _LINK.size:
        raise codec.MalformedError(f"link of {len(body)} bytes: too short")
    index: int = _LINK.unpack_from(body)[2]
    return index


def link_kind(body: bytes | memoryview) -> str:
    """Return the kind in an answer about a link (`dummy`, `veth`), empty for a physical one. Raises MalformedError."""
    content = dict(codec.attributes(body, _LINK.size)).get(_IFLA_LINKINFO)
    kind = dict(codec.attributes(content)).get(_IFLA_INFO_KIND) if content is not None else None
    return codec.text(kind) if kind is not None else ""


def address(text: str, index: int) -> bytes:
    """Return the body of a request that adds or removes an address of a link. Raises ValueError for what is no address."""
    found = ip_address(text)
    raw = found.packed
    if found.version == 6:
        lifetime = codec.attribute(_IFA_CACHEINFO, _LIFETIME.pack(0, _FOR_EVER, 0, 0))
        header = _ADDRESS.pack(_INET6, 128, _FLAG_NO_DETECTION, 0, index)
        return header + codec.attribute(_IFA_LOCAL, raw) + codec.attribute(_IFA_ADDRESS, raw) + lifetime
    header = _ADDRESS.pack(_INET, 32, 0, _SCOPE_HOST, index)
    return header + codec.attribute(_IFA_LOCAL, raw) + codec.attribute(_IFA_ADDRESS, raw)


def every_address(family: int) -> bytes:
    """Return the body of a request for all addresses of a family (0 = all)."""
    return _ADDRESS.pack(family, 0, 0, 0, 0)


def addresses(answers: Iterable[codec.Message], index: int, *, besides: bool = False) -> Iterator[str]:
    """Yield the addresses of one link, or `besides` it, in the answers to `every_address`, without IPv6 link-local ones.

    Raises MalformedError.
    """
    for message in answers:
        if len(message.body) < _ADDRESS.size:
            raise codec.MalformedError(f"address of {len(message.body)} bytes: too short")
        family, _, _, scope, where = _ADDRESS.unpack_from(message.body)
        if (where == index) is besides or (family == _INET6 and scope == _SCOPE_LINK):
            continue
        found = dict(codec.attributes(message.body, _ADDRESS.size))
        raw = bytes(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS) or b"")
        if (family, len(raw)) == (_INET, 4):
            yield str(IPv4Address(raw))
        elif (family, len(raw)) == (_INET6, 16):
            yield str(IPv6Address(raw))


# --- local routes ----------------------------------------------------------------------------------------------------


def local_route(text: str, source: str = "") -> bytes:
    """Return the body of a request that adds or removes the local route of an address; ValueError for what is no address.

    `source` is from where this host's own programs send to it; the kernel takes the address itself otherwise.
    """
    found = ip_address(text)
    family, length = (_INET6, 128) if found.version == 6 else (_INET, 32)
    body = _ROUTE.pack(family, length, 0, 0, _TABLE_LOCAL, ORIGIN, _SCOPE_HOST, _TYPE_LOCAL, 0)
    body += codec.attribute(_RTA_DST, found.packed) + codec.attribute(_RTA_OIF, struct.pack("=I", _LOOPBACK_INDEX))
    return body + codec.attribute(_RTA_PREFSRC, ip_address(source).packed) if source else body


def every_local_route(family: int) -> bytes:
    """Return the body of a request for our local routes of a family; a kernel that does not filter (`Channel`) gives all routes."""
    return _ROUTE.pack(family, 0, 0, 0, _TABLE_LOCAL, ORIGIN, 0, _TYPE_LOCAL, 0)


def local_routes(answers: Iterable[codec.Message]) -> Iterator[str]:
    """Yield the addresses of our local routes in the answers to `every_local_route`. Raises MalformedError."""
    for message in answers:
        if len(message.body) < _ROUTE.size:
            raise codec.MalformedError(f"route of {len(message.body)} bytes: too short")
        _, _, _, _, table, origin, _, kind, _ = _ROUTE.unpack_from(message.body)
        if (table, origin, kind) != (_TABLE_LOCAL, ORIGIN, _TYPE_LOCAL):
            continue
        raw = dict(codec.attributes(message.body, _ROUTE.size)).get(_RTA_DST)
        if raw is not None and len(raw) in {4, 16}:
            yield str(ip_address(bytes(raw)))
