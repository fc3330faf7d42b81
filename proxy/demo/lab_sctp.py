"""Just enough of SCTP (RFC 9260) to open an association and say one thing, for kernels that have no SCTP sockets.

Pure: bytes in, bytes out; `lab_probe` and `lab_servers` move them through raw sockets. Connection tracking follows the same packets, so a
NATed association is as real as one between kernels. Both ends check the CRC32c that NAT must have made anew.

    client: INIT  -> server: INIT ACK (cookie)  -> client: COOKIE ECHO -> server: COOKIE ACK + DATA (who I am)  -> client: ABORT
"""

from struct import Struct as Layout

from msgspec import Struct

NUMBER = 132
"""SCTP's protocol number."""
DATA, INIT, INIT_ACK, ABORT, COOKIE_ECHO, COOKIE_ACK = 0, 1, 2, 6, 10, 11
_COOKIE_PARAMETER = 7
_HEADER = Layout("!HHII")
_CHUNK = Layout("!BBH")
_INIT_BODY = Layout("!IIHHI")
_COOKIE = Layout("!II")
_DATA_BODY = Layout("!IHHI")
_WINDOW = 65536


def _table() -> tuple[int, ...]:
    made = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        made.append(value)
    return tuple(made)


_CRC_TABLE = _table()


def crc32c(text: bytes) -> int:
    """Return the CRC32c (Castagnoli) of bytes."""
    value = 0xFFFFFFFF
    for byte in text:
        value = (value >> 8) ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class Segment(Struct, frozen=True):
    """An SCTP packet: ports, verification tag, and its chunks as (type, body)."""

    source_port: int
    port: int
    tag: int
    chunks: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        """Return the packet's bytes with their checksum."""
        body = bytearray()
        for kind, text in self.chunks:
            flags = 3 if kind == DATA else 0  # a DATA chunk that is first and last fragment at once
            body += _CHUNK.pack(kind, flags, _CHUNK.size + len(text)) + text + bytes(-len(text) % 4)
        header = _HEADER.pack(self.source_port, self.port, self.tag, 0)
        checksum = crc32c(header + body).to_bytes(4, "little")
        return header[:8] + checksum + bytes(body)


def decode(text: bytes) -> Segment | None:
    """Return the packet that the bytes are, None if they are none or the checksum is wrong."""
    if len(text) < _HEADER.size:
        return None
    source_port, port, tag, _ = _HEADER.unpack_from(text)
    if crc32c(text[:8] + bytes(4) + text[12:]).to_bytes(4, "little") != text[8:12]:
        return None
    chunks = []
    at = _HEADER.size
    while at + _CHUNK.size <= len(text):
        kind, _, length = _CHUNK.unpack_from(text, at)
        if length < _CHUNK.size or at + length > len(text):
            return None
        chunks.append((kind, text[at + _CHUNK.size : at + length]))
        at += length + -length % 4
    return Segment(source_port, port, tag, tuple(chunks))


def _init(tag: int, cookie: bytes = b"") -> bytes:
    parameter = Layout("!HH").pack(_COOKIE_PARAMETER, 4 + len(cookie)) + cookie if cookie else b""
    return _INIT_BODY.pack(tag, _WINDOW, 1, 1, tag) + parameter


class Association:
    """The client's side of one association. `tag` is any number but 0."""

    def __init__(self, source_port: int, port: int, tag: int) -> None:
        self._ports = (source_port, port)
        self._tag = tag
        self._peer_tag = 0

    def open(self) -> bytes:
        """Return the packet that begins the association."""
        return Segment(*self._ports, 0, ((INIT, _init(self._tag)),)).encode()

    def receive(self, segment: Segment) -> tuple[bytes, bytes]:
        """Return the packet to send next and what the server said; either may be empty."""
        if segment.tag != self._tag:
            return b"", b""
        for kind, text in segment.chunks:
            if kind == INIT_ACK and len(text) > _INIT_BODY.size + 4:
                self._peer_tag = _INIT_BODY.unpack_from(text)[0]
                cookie = text[_INIT_BODY.size + 4 :]
                return Segment(*self._ports, self._peer_tag, ((COOKIE_ECHO, cookie),)).encode(), b""
            if kind == DATA and len(text) >= _DATA_BODY.size:
                return Segment(*self._ports, self._peer_tag, ((ABORT, b""),)).encode(), text[_DATA_BODY.size :]
        return b"", b""


def answer(segment: Segment, saying: bytes) -> bytes:
    """Return a server's answer to a packet, empty if it has none; the cookie holds all the state there is."""
    ports = (segment.port, segment.source_port)
    for kind, text in segment.chunks:
        if kind == INIT and len(text) >= _INIT_BODY.size:
            peer_tag = _INIT_BODY.unpack_from(text)[0]
            own_tag = crc32c(text) | 1
            return Segment(*ports, peer_tag, ((INIT_ACK, _init(own_tag, _COOKIE.pack(peer_tag, own_tag))),)).encode()
        if kind == COOKIE_ECHO:
            if len(text) != _COOKIE.size:
                return b""
            peer_tag, own_tag = _COOKIE.unpack(text)
            if own_tag != segment.tag:
                return b""
            said = _DATA_BODY.pack(own_tag, 0, 0, 0) + saying
            return Segment(*ports, peer_tag, ((COOKIE_ACK, b""), (DATA, said))).encode()
    return b""
