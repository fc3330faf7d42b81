"""What a client asked: one DNS message read into a `Query`, or the reason why it is not one.

Reading is strict where a sloppy reading could be abused (names without compression, one OPT, every length checked) and generous where
clients differ. It knows nothing of zones. Three things can come out of a message (WIR-01 to WIR-06, WIR-10):

- a `Query`: exactly one question, EDNS version 0 or none;
- a `Refusal`: a rcode to be sent with empty sections (NOTIMP, FORMERR, also for options that are cut), or BADVERS with an OPT;
- `None`: dropped without a word, as answering would make reflection loops possible (WIR-16).

The name is kept twice: `name` as the client spelled it, which goes back in the answer untouched (WIR-24), and `key` in lower case, by which
everything is looked up. Both are wire names: labels with their lengths, ended by a zero byte. Lengths are below 64, so `bytes.lower` on a
wire name changes letters only; on a whole question it would not be safe (type 65 would become 97).

`encode` writes replies, `reply` says what they are made of.
"""

from typing import Final

import msgspec
from msgspec import Struct

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
Z: Final = 0x0040
AD: Final = 0x0020
CD: Final = 0x0010
OPCODE: Final = 0x7800

OPCODE_QUERY: Final = 0
OPCODE_NOTIFY: Final = 4

OPT: Final = 41
CLIENT_SUBNET: Final = 8
IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16

HEADER: Final = 12
MAX_NAME: Final = 255
LARGEST: Final = 4096
"""Bytes of a reply over UDP, at most: what `bufsize` may say. More is what amplifies, and would come in many fragments."""
STEPS: Final = 10
"""Aliases that are followed before an answer ends (REC-61)."""


class Edns(Struct, frozen=True, gc=False):
    """The OPT record of a query (version 0): the UDP size the client takes, its flags word (DO is 0x8000), its options as they came."""

    size: int
    flags: int = 0
    options: bytes = b""

    @property
    def do(self) -> bool:
        """Return whether the client asked for DNSSEC records; the bit is mirrored (WIR-32)."""
        return bool(self.flags & 0x8000)


class Query(Struct, frozen=True, gc=False):
    """One question, and who asked it where.

    `flags` is the header's second word as received. `client` and `local` are textual address and port; `local` is the address asked.
    `size` is the length of the message in bytes. `started` is monotonic time in seconds. `followed` are the names (in lower case) whose
    aliases led here by way of the whole server.
    """

    id: int
    flags: int
    name: bytes
    key: bytes
    qtype: int
    qclass: int = IN
    edns: Edns | None = None
    udp: bool = True
    client: tuple[str, int] = ("", 0)
    local: tuple[str, int] = ("", 53)
    size: int = 0
    started: float = 0.0
    followed: tuple[bytes, ...] = ()

    def asking(self, name: bytes, qtype: int | None = None) -> "Query":
        """Return the same client's query for another wire name (and type): what rewrite, autopath and CNAME chasing ask inside."""
        return msgspec.structs.replace(self, name=name, key=name.lower(), qtype=self.qtype if qtype is None else qtype)

    def chasing(self, target: bytes) -> "Query | None":
        """Return the query by which the whole server is asked for an alias's target; None where the aliases turn in a circle, or never end.

        Without it, two aliases that name each other would be followed until the stack ends.
        """
        inner = self.asking(target)
        if inner.key in (*self.followed, self.key) or len(self.followed) >= 2 * STEPS:
            return None
        return msgspec.structs.replace(inner, followed=(*self.followed, self.key, inner.key))

    @property
    def do(self) -> bool:
        """Return whether the client set DO."""
        return self.edns is not None and self.edns.do

    @property
    def opcode(self) -> int:
        """Return the opcode: 0, or 4 (NOTIFY), which is handled like a query (WIR-05)."""
        return (self.flags & OPCODE) >> 11

    @property
    def budget(self) -> int:
        """Return how many bytes a reply may have (WIR-40), whatever a forger of addresses says that his victim can take."""
        if not self.udp:
            return 65535
        return 512 if self.edns is None else max(512, min(self.edns.size, LARGEST))


class Refusal(Struct, frozen=True, gc=False):
    """A message that gets a bare error: `flags` as received; `question` is sent back only with BADVERS, beside a version-0 OPT."""

    id: int
    flags: int
    rcode: int
    question: bytes = b""
    edns: Edns | None = None


def read(
    message: bytes, *, udp: bool = True, client: tuple[str, int] = ("", 0), local: tuple[str, int] = ("", 53), now: float = 0.0
) -> Query | Refusal | None:
    """Read one message (without TCP's length prefix); see the module for the three outcomes."""
    if len(message) < HEADER or message[2] & 0x80:
        return None
    ident, flags = int.from_bytes(message[:2], "big"), int.from_bytes(message[2:4], "big")
    if (flags & OPCODE) >> 11 not in (OPCODE_QUERY, OPCODE_NOTIFY):
        return Refusal(ident, flags, NOTIMP)
    questions, answers, authorities, additionals = (int.from_bytes(message[at : at + 2], "big") for at in (4, 6, 8, 10))
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        return Refusal(ident, flags, FORMERR)
    end = plain_name_end(message, HEADER)
    if end < 0 or end + 4 > len(message):
        return Refusal(ident, flags, FORMERR)
    edns: Edns | None = None
    offset = end + 4
    for _ in range(answers + authorities + additionals):
        start, offset = offset, skip_record(message, offset)
        if offset < 0:
            return Refusal(ident, flags, FORMERR)
        found = _opt(message, start, offset)
        if found is None:
            continue
        version, opt = found
        if edns is not None or not well_formed(opt.options):
            return Refusal(ident, flags, FORMERR)
        edns = opt
        if version:
            return Refusal(ident, flags, BADVERS, message[HEADER : end + 4], Edns(edns.size, edns.flags))
    name = message[HEADER:end]
    return Query(
        id=ident,
        flags=flags,
        name=name,
        key=name.lower(),
        qtype=int.from_bytes(message[end : end + 2], "big"),
        qclass=int.from_bytes(message[end + 2 : end + 4], "big"),
        edns=edns,
        udp=udp,
        client=client,
        local=local,
        size=len(message),
        started=now,
    )


def plain_name_end(message: bytes, offset: int) -> int:
    """Return the offset after an uncompressed name, or -1 where there is none."""
    start, limit = offset, len(message)
    while offset < limit:
        length = message[offset]
        offset += 1 + length
        if length == 0:
            return offset if offset - start <= MAX_NAME else -1
        if length > 63:
            return -1
    return -1


def skip_name(message: bytes, offset: int) -> int:
    """Return the offset after a name that may end in a compression pointer (which is not followed), or -1."""
    limit = len(message)
    while offset < limit:
        length = message[offset]
        if length == 0:
            return offset + 1
        if length >= 0xC0:
            return offset + 2 if offset + 2 <= limit else -1
        if length > 63:
            return -1
        offset += 1 + length
    return -1


def skip_record(message: bytes, offset: int) -> int:
    """Return the offset after the resource record at `offset`, or -1 if it is not whole."""
    offset = skip_name(message, offset)
    if offset < 0 or offset + 10 > len(message):
        return -1
    offset += 10 + int.from_bytes(message[offset + 8 : offset + 10], "big")
    return offset if offset <= len(message) else -1


def each_option(options: bytes) -> list[tuple[int, bytes]] | None:
    """Return EDNS options by code, each whole with its code and length; None if one is cut (RFC 6891, section 6.1.2)."""
    found, at = [], 0
    while at < len(options):
        end = at + 4 + int.from_bytes(options[at + 2 : at + 4], "big")
        if end > len(options):
            return None
        found.append((int.from_bytes(options[at : at + 2], "big"), options[at:end]))
        at = end
    return found


def well_formed(options: bytes) -> bool:
    """Return whether EDNS options are whole, and a client's subnet is one (RFC 7871, section 7.1.2)."""
    if not options:
        return True
    found = each_option(options)
    return found is not None and all(_is_subnet(raw[4:]) for code, raw in found if code == CLIENT_SUBNET)


def _is_subnet(content: bytes) -> bool:
    """Return whether the content of a client subnet has a family, and prefixes no longer than its addresses are."""
    longest = {0: 0, 1: 32, 2: 128}.get(int.from_bytes(content[:2], "big"), -1)
    return len(content) >= 4 and content[2] <= longest and content[3] <= longest


def _opt(message: bytes, start: int, end: int) -> tuple[int, Edns] | None:
    """Return version and content of the record if it is an OPT (at the root name)."""
    if message[start] != 0 or message[start + 1 : start + 3] != b"\x00\x29":
        return None
    size = int.from_bytes(message[start + 3 : start + 5], "big")
    return message[start + 6], Edns(size, int.from_bytes(message[start + 7 : start + 9], "big"), message[start + 11 : end])
