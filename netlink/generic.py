"""Generic netlink: families that have a name and get their message number when the kernel loads them. Pure.

A family's number is asked for by name of the one family whose number is fixed, the controller. The answer also numbers the family's
multicast groups. Body of every generic message: command and version, one byte each, two bytes of zero, then attributes.
`ipvs.channel` asks for the family of IPVS. Source: include/uapi/linux/genetlink.h.
"""

import struct
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from pointsman.netlink.codec import MalformedError, attribute, attributes, text

PROTOCOL: Final = 16
"""NETLINK_GENERIC."""
CONTROLLER: Final = 16
"""Message type of the controller."""
HEADER: Final = struct.Struct("=BBxx")
"""Command and version."""

_GET_FAMILY: Final = 3
_CONTROLLER_VERSION: Final = 1
_NAME_SIZE: Final = 16
_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")


class GenericFamily(Struct, frozen=True, gc=False):
    """A family: its name, message type, version, and multicast groups by name."""

    name: str
    number: int
    version: int
    groups: Mapping[str, int]


def ask(name: str) -> bytes:
    """Return the body that asks the controller for a family; the kernel answers ENOENT if no loaded module has it."""
    encoded = name.encode()
    if not 0 < len(encoded) < _NAME_SIZE:
        raise ValueError(f"family name {name!r}: has 1 to {_NAME_SIZE - 1} bytes")
    return HEADER.pack(_GET_FAMILY, _CONTROLLER_VERSION) + attribute(2, encoded + b"\0")


def family(body: bytes | memoryview) -> GenericFamily:
    """Read the controller's answer; raises MalformedError."""
    found = dict(attributes(body, HEADER.size))
    if 1 not in found or 2 not in found:
        raise MalformedError("the controller's answer lacks the family's name or number")
    groups = dict(_group(entry) for _, entry in attributes(found[7])) if 7 in found else {}
    return GenericFamily(text(found[2]), _number(found[1], _U16), _number(found[3], _U32) if 3 in found else 0, groups)


def _group(entry: memoryview) -> tuple[str, int]:
    found = dict(attributes(entry))
    if 1 not in found or 2 not in found:
        raise MalformedError("a multicast group lacks its name or number")
    return text(found[1]), _number(found[2], _U32)


def _number(payload: memoryview, layout: struct.Struct) -> int:
    if len(payload) != layout.size:
        raise MalformedError(f"a number has {len(payload)} bytes, not {layout.size}")
    number: int = layout.unpack(payload)[0]
    return number
