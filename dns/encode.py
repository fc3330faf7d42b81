"""Replies and requests to wire: compression, the client's budget, truncation, OPT.

Names are always compressed, except the targets of SRV (WIR-43): smaller replies than CoreDNS's, never larger (WIR-44). Compression matches
names byte for byte, so each name keeps its spelling, and the spelling of the client goes back to him (WIR-24).

What does not fit is cut at the end: the answer keeps its longest prefix, then authority, then additional; OPT's place is reserved first.
TC says that something was cut (WIR-40 to WIR-42).
"""

from collections.abc import Container, Sequence
from typing import Final

from pointsman.dns.question import AD, CD, FORMERR, OPCODE, QR, RD, TC, Query, Refusal, each_option
from pointsman.dns.reply import Record, Reply

NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
SRV: Final = 33
ECHOED: Final = frozenset({3, 9, 10, 11, 12})
"""EDNS options that go back as they came: NSID, EXPIRE, COOKIE, TCP-KEEPALIVE, PADDING (WIR-33)."""

_COPIED: Final = OPCODE | RD | CD
_POINTABLE: Final = 0x4000


def encode(query: Query, reply: Reply) -> bytes:
    """Return the reply's message for this client, within his budget."""
    opt = _opt(query, reply)
    budget = query.budget
    if reply.limit and query.udp and query.edns is not None:
        budget = min(budget, max(512, reply.limit))
    out = bytearray(12)
    out += query.name + query.qtype.to_bytes(2, "big") + query.qclass.to_bytes(2, "big")
    writer = Writer(out, query.name)
    room = budget - len(opt)
    counts = [0, 0, 0]
    whole = True
    for section, records in enumerate((reply.answer, reply.authority, reply.additional)):
        counts[section], whole = writer.records(records, room)
        if not whole:
            break
    flags = QR | (query.flags & _COPIED & ~reply.clear) | reply.flags | (0 if whole else TC) | (reply.rcode & 15)
    out += opt
    out[0:12] = _header(query.id, flags, 1, counts[0], counts[1], counts[2] + (1 if opt else 0))
    return bytes(out)


def refuse(refusal: Refusal) -> bytes:
    """Return the bare error of a message that is no query: empty sections (WIR-02 to WIR-04), BADVERS with question and OPT (WIR-10)."""
    flags = QR | (refusal.flags & _COPIED) | (refusal.rcode & 15)
    if refusal.rcode == FORMERR:
        flags &= ~OPCODE
    if refusal.edns is None:
        return _header(refusal.id, flags, 0, 0, 0, 0)
    extended = ((refusal.rcode >> 4) << 24) | (refusal.edns.flags & 0x8000)
    opt = b"\x00\x00\x29" + refusal.edns.size.to_bytes(2, "big") + extended.to_bytes(4, "big") + b"\x00\x00"
    return _header(refusal.id, flags, 1, 0, 0, 1) + refusal.question + opt


def request(query: Query, ident: int) -> bytes:
    """Return the query as it is sent to an upstream: another id, the client's RD, CD, AD and OPT (WIR-34)."""
    message = bytearray(_header(ident, query.flags & (_COPIED | AD), 1, 0, 0, 0 if query.edns is None else 1))
    message += query.name + query.qtype.to_bytes(2, "big") + query.qclass.to_bytes(2, "big")
    if (edns := query.edns) is not None:
        message += b"\x00\x00\x29" + edns.size.to_bytes(2, "big") + b"\x00\x00" + edns.flags.to_bytes(2, "big")
        message += len(edns.options).to_bytes(2, "big") + edns.options
    return bytes(message)


class Writer:
    """Appends records to a message; remembers where names stand."""

    def __init__(self, out: bytearray, question: bytes) -> None:
        self._out = out
        self._places: dict[bytes, int] = {}
        at = 0
        while question[at]:
            self._places[question[at:]] = 12 + at
            at += 1 + question[at]

    def records(self, records: Sequence[Record], room: int) -> tuple[int, bool]:
        """Append records while the message stays within `room`; return how many, and whether that is all of them."""
        out = self._out
        for count, record in enumerate(records):
            before = len(out)
            self._record(record)
            if len(out) > room:
                del out[before:]
                return count, False
        return len(records), True

    def _record(self, record: Record) -> None:
        out = self._out
        self._name(record.owner)
        out += record.rtype.to_bytes(2, "big") + record.rclass.to_bytes(2, "big") + record.ttl.to_bytes(4, "big")
        place = len(out)
        out += b"\x00\x00"
        rdata = record.rdata
        rtype = record.rtype
        if rtype in (NS, CNAME, PTR):
            self._name(rdata)
        elif rtype == SOA:
            first = _end(rdata, 0)
            second = _end(rdata, first)
            self._name(rdata[:first])
            self._name(rdata[first:second])
            out += rdata[second:]
        elif rtype == MX:
            out += rdata[:2]
            self._name(rdata[2:])
        elif rtype == SRV:
            self._remember(rdata, 6)
            out += rdata
        else:
            out += rdata
        out[place : place + 2] = (len(out) - place - 2).to_bytes(2, "big")

    def _remember(self, rdata: bytes, at: int) -> None:
        """Let later names point into this uncompressed one, which is about to be appended."""
        place = len(self._out)
        while rdata[at] and place + at < _POINTABLE:
            self._places.setdefault(rdata[at:], place + at)
            at += 1 + rdata[at]

    def _name(self, name: bytes) -> None:
        out, places, at = self._out, self._places, 0
        while length := name[at]:
            known = places.get(name[at:])
            if known is not None:
                out += (0xC000 | known).to_bytes(2, "big")
                return
            if len(out) < _POINTABLE:
                places[name[at:]] = len(out)
            out += name[at : at + 1 + length]
            at += 1 + length
        out.append(0)


def _end(rdata: bytes, at: int) -> int:
    while rdata[at]:
        at += 1 + rdata[at]
    return at + 1


def _header(ident: int, flags: int, *counts: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in (ident, flags, *counts))


def _opt(query: Query, reply: Reply) -> bytes:
    """Return the reply's OPT: there if and only if the query had one; size and DO are the client's (WIR-30 to WIR-33)."""
    edns = query.edns
    if edns is None:
        return b""
    size = min(edns.size, max(512, reply.limit)) if reply.limit else edns.size
    extended = ((reply.rcode >> 4) << 24) | (edns.flags & 0x8000)
    options = echoed(edns.options) if reply.options is None else reply.options
    return b"\x00\x00\x29" + size.to_bytes(2, "big") + extended.to_bytes(4, "big") + len(options).to_bytes(2, "big") + options


def echoed(options: bytes) -> bytes:
    """Return those of the client's options that go back."""
    return b"".join(raw for code, raw in each_option(options) or () if code in ECHOED) if options else b""


def asks_for(options: bytes, code: int) -> bool:
    """Return whether a client's options contain one of this code."""
    return any(found == code for found, _ in each_option(options) or ())


def without(options: bytes, codes: Container[int]) -> bytes:
    """Return options without those of some codes; none at all if they are malformed."""
    return b"".join(raw for code, raw in each_option(options) or () if code not in codes)
