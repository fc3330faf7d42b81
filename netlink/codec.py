"""Netlink messages and attributes as bytes: pure, bounds-checked, without any family's meaning.

A datagram holds messages (16-byte header, then a body), a body holds a family's fixed header and then attributes (4-byte header, then a
payload); everything is padded to 4 bytes. Whatever arrives, the functions here either yield parts that lie inside the buffer or raise
`MalformedError`; they never read beyond it and never loop for ever. Header fields have the machine's byte order; what a payload's order is,
its family knows.

Attributes of type `n | NESTED` are reported as `n`: the flags say how to read a payload and are no part of its number.
`channel` moves these bytes, `nftables` and its siblings give them meaning. Sources: RFC 3549; netlink(7).
"""

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_INT: Final = struct.Struct("=i")

NOOP: Final = 1
ERROR: Final = 2
DONE: Final = 3
OVERRUN: Final = 4

REQUEST: Final = 0x01
MULTI: Final = 0x02
ACK: Final = 0x04
DUMP: Final = 0x300

NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF


class MalformedError(ValueError):
    """Bytes that are no netlink message: a length that is too small or reaches beyond the buffer."""


class Message(Struct, frozen=True, gc=False):
    """One message: its type, flags, sequence number, the port of its sender (0 = kernel), and its body without padding."""

    type: int
    flags: int
    sequence: int
    port: int
    body: memoryview


def _padded(length: int) -> int:
    return (length + 3) & ~3


def messages(datagram: bytes | memoryview) -> Iterator[Message]:
    """Yield the messages of one datagram; raise MalformedError where the bytes stop making sense."""
    view = memoryview(datagram)
    end = len(view)
    offset = 0
    while offset < end:
        if end - offset < HEADER.size:
            raise MalformedError(f"{end - offset} bytes left at offset {offset}: too few for a message header of {HEADER.size}")
        length, kind, flags, sequence, port = HEADER.unpack_from(view, offset)
        if not HEADER.size <= length <= end - offset:
            raise MalformedError(f"message length {length} at offset {offset}: must be from {HEADER.size} to {end - offset}")
        yield Message(kind, flags, sequence, port, view[offset + HEADER.size : offset + length])
        offset += _padded(length)


def attributes(body: bytes | memoryview, offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, payload) of the attributes from `offset` on (the length of the family's fixed header); MalformedError as above."""
    view = memoryview(body)
    end = len(view)
    if offset > end:
        raise MalformedError(f"body of {end} bytes: too short for its fixed header of {offset}")
    while offset < end:
        if end - offset < _ATTRIBUTE.size:
            raise MalformedError(f"{end - offset} bytes left at offset {offset}: too few for an attribute header")
        length, kind = _ATTRIBUTE.unpack_from(view, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            raise MalformedError(f"attribute length {length} at offset {offset}: must be from {_ATTRIBUTE.size} to {end - offset}")
        yield kind & _TYPE_MASK, view[offset + _ATTRIBUTE.size : offset + length]
        offset += _padded(length)


def encode(kind: int, flags: int, sequence: int, body: bytes = b"") -> bytes:
    """Return one message; the sender's port is left 0, which the kernel fills in."""
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, flags, sequence, 0) + body + bytes(_padded(length) - length)


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one padded attribute; add NESTED to `kind` yourself where the family asks for it."""
    length = _ATTRIBUTE.size + len(payload)
    if length > 0xFFFF:
        raise ValueError(f"attribute {kind}: {len(payload)} bytes of payload, at most {0xFFFF - _ATTRIBUTE.size} fit")
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(_padded(length) - length)


def error_number(message: Message) -> int:
    """Return the positive errno that an ERROR or DONE message carries; 0 is an acknowledgement (or a DONE without a number)."""
    if len(message.body) >= _INT.size:
        number: int = _INT.unpack_from(message.body)[0]
        return -number
    if message.type == ERROR:
        raise MalformedError(f"error message of {len(message.body)} bytes: too short for an error number")
    return 0


def text(payload: memoryview) -> str:
    """Return a string attribute without its terminating zero; bytes that are no UTF-8 are shown as replacement characters."""
    return bytes(payload).split(b"\0", 1)[0].decode(errors="replace")
