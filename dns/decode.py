"""A reply of an upstream, from wire to a `Reply`: every name made whole, so that records can be cached and sent in other messages.

Strict: every length and pointer is checked, pointers must go backwards, and a name may not exceed 255 bytes, so a crafted message costs no
more than its length. What is wrong raises `MalformedError`; `forward` decides what the client gets for it (FWD-35).

Rdata is made whole for the types that may be compressed on the wire (RFC 3597, section 4): all others are copied as they are.
"""

from msgspec import Struct
from pointsman.dns.question import AA, AD, HEADER, OPT, RA, TC, Edns
from pointsman.dns.reply import Record, Reply

_NAME_TYPES = frozenset({2, 3, 4, 5, 7, 8, 9, 12, 39})  # NS MD MF CNAME MB MG MR PTR DNAME
_FIXED_THEN_NAME = {15: 2, 18: 2, 21: 2, 33: 6, 36: 2}  # MX AFSDB RT SRV KX
_TWO_NAMES = {6: 20, 14: 0, 17: 0}  # SOA MINFO RP, and what follows the names


class MalformedError(ValueError):
    """The message is not whole or contradicts itself."""


class Decoded(Struct, frozen=True):
    """A reply as it came: `flags` is the header's word, `name`, `qtype`, `qclass` its question (empty name: it has none)."""

    id: int
    flags: int
    name: bytes
    qtype: int
    qclass: int
    reply: Reply
    edns: Edns | None = None


def decode(message: bytes) -> Decoded:
    """Read a whole reply. Raises MalformedError."""
    if len(message) < HEADER:
        raise MalformedError(f"only {len(message)} bytes")
    ident, flags, questions, *counts = (int.from_bytes(message[at : at + 2], "big") for at in range(0, HEADER, 2))
    if questions > 1:
        raise MalformedError(f"{questions} questions")
    name, qtype, qclass, offset = b"", 0, 0, HEADER
    if questions:
        name, offset = whole_name(message, HEADER)
        if offset + 4 > len(message):
            raise MalformedError("the question is cut")
        qtype, qclass = int.from_bytes(message[offset : offset + 2], "big"), int.from_bytes(message[offset + 2 : offset + 4], "big")
        offset += 4
    sections: list[tuple[Record, ...]] = []
    edns: Edns | None = None
    extended = 0
    for count in counts:
        records = []
        for _ in range(count):
            record, offset = _record(message, offset)
            if record.rtype == OPT:
                edns = Edns(record.rclass, record.ttl & 0xFFFF, record.rdata)
                extended = record.ttl >> 24
            else:
                records.append(record)
        sections.append(tuple(records))
    reply = Reply(
        rcode=(flags & 15) | (extended << 4),
        answer=sections[0],
        authority=sections[1],
        additional=sections[2],
        flags=flags & (AA | TC | RA | AD),
    )
    return Decoded(ident, flags, name, qtype, qclass, reply, edns)


def whole_name(message: bytes, offset: int) -> tuple[bytes, int]:
    """Return the uncompressed name at `offset`, and the offset after it. Raises MalformedError."""
    parts: list[bytes] = []
    size, after, lowest = 1, -1, offset
    while True:
        if offset >= len(message):
            raise MalformedError("a name runs over the end")
        length = message[offset]
        if length >= 0xC0:
            if offset + 1 >= len(message):
                raise MalformedError("a pointer runs over the end")
            target = (length & 0x3F) << 8 | message[offset + 1]
            if after < 0:
                after = offset + 2
            if target >= lowest or target < HEADER:
                raise MalformedError("a compression pointer does not go backwards")
            offset = lowest = target
            continue
        if length > 63:
            raise MalformedError("a label of an unknown type")
        offset += 1 + length
        if length == 0:
            parts.append(b"\x00")
            return b"".join(parts), offset if after < 0 else after
        size += 1 + length
        if size > 255:
            raise MalformedError("a name longer than 255 bytes")
        if offset > len(message):
            raise MalformedError("a label runs over the end")
        parts.append(message[offset - 1 - length : offset])


def _record(message: bytes, offset: int) -> tuple[Record, int]:
    owner, offset = whole_name(message, offset)
    if offset + 10 > len(message):
        raise MalformedError("a record is cut")
    rtype, rclass = int.from_bytes(message[offset : offset + 2], "big"), int.from_bytes(message[offset + 2 : offset + 4], "big")
    ttl = int.from_bytes(message[offset + 4 : offset + 8], "big")
    start = offset + 10
    end = start + int.from_bytes(message[offset + 8 : offset + 10], "big")
    if end > len(message):
        raise MalformedError("rdata runs over the end")
    if rtype != OPT and ttl & 0x80000000:
        ttl = 0  # RFC 2181, section 8
    return Record(owner, rtype, ttl, _rdata(message, rtype, start, end), rclass), end


def _rdata(message: bytes, rtype: int, start: int, end: int) -> bytes:
    if rtype in _NAME_TYPES:
        name, after = whole_name(message, start)
        found = name
    elif rtype in _FIXED_THEN_NAME:
        fixed = start + _FIXED_THEN_NAME[rtype]
        name, after = whole_name(message, fixed)
        found = message[start:fixed] + name
    elif rtype in _TWO_NAMES:
        first, after = whole_name(message, start)
        second, after = whole_name(message, after)
        rest = after + _TWO_NAMES[rtype]
        found, after = first + second + message[after:rest], rest
    else:
        return message[start:end]
    if after != end:
        raise MalformedError(f"rdata of type {rtype} has a wrong length")
    return found
