"""How many elements each ipset has, asked of the kernel itself. Pure.

The kernel tells nobody about changes of sets, and `ipset` takes milliseconds to start. One dump of headers, without elements, says for
every set of the network namespace its name and its number of elements, as one message each; a set that is listed in parts is told more
than once, with the same number. Numbers in payloads are big-endian.

`iptables.set_watch` asks every second. Source: include/uapi/linux/netfilter/ipset/ip_set.h.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from pointsman.netlink.codec import MalformedError, Message, attribute, attributes, text

_SUBSYSTEM: Final = 6
_FIXED: Final = 4
_NUMBER: Final = struct.Struct(">I")
_NET_BYTEORDER: Final = 0x4000
_PROTOCOL, _NAME, _FLAGS, _DATA = 1, 2, 6, 7
_ELEMENTS: Final = 24
_OLDEST_PROTOCOL: Final = 6
_HEADERS_ONLY: Final = 4

LIST: Final = _SUBSYSTEM << 8 | 7
"""The request for a dump of sets."""
HEADERS: Final = (
    bytes(_FIXED) + attribute(_PROTOCOL, bytes([_OLDEST_PROTOCOL])) + attribute(_FLAGS | _NET_BYTEORDER, _NUMBER.pack(_HEADERS_ONLY))
)
"""Its body: every set, without elements."""


def sizes(answers: Iterable[Message]) -> Mapping[str, int]:
    """Return the number of elements of each set that is told of; -1 where the kernel does not say it. Raises MalformedError."""
    found: dict[str, int] = {}
    for message in answers:
        parts = dict(attributes(message.body, _FIXED))
        if _NAME not in parts:
            raise MalformedError("a message about a set has no name in it")
        inner = dict(attributes(parts[_DATA])) if _DATA in parts else {}
        found[text(parts[_NAME])] = _number(inner[_ELEMENTS]) if _ELEMENTS in inner else -1
    return found


def _number(payload: memoryview) -> int:
    if len(payload) != _NUMBER.size:
        raise MalformedError(f"a number of elements has {len(payload)} bytes, not {_NUMBER.size}")
    number: int = _NUMBER.unpack(payload)[0]
    return number
