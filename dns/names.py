"""Wire names: labels with their lengths, ended by a zero byte. Everything that takes them apart or puts them together is here.

Inside the program a name is its wire form; text is for configuration and people. A suffix test must respect labels: the length bytes of a
wire name are also possible bytes of a label, so `endswith` alone could be fooled. `cut` walks.
"""

import ipaddress
from collections.abc import Iterable, Iterator

ROOT = b"\x00"
IN_ADDR = b"\x07in-addr\x04arpa\x00"
IP6 = b"\x03ip6\x04arpa\x00"
_HEX = b"0123456789abcdef"
_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b""".' @;()"\\""")
"""Bytes that stand for themselves in text; other visible ones, and a space, get a backslash, as CoreDNS writes them (OBS-42)."""


class NotANameError(ValueError):
    """A text that is not a domain name; says which and why."""


def wire(text: str) -> bytes:
    r"""Return the wire form of a name; a final dot may be missing; `\.` and `\DDD` are escapes. Case is kept. Raises NotANameError."""
    if text in ("", "."):
        return ROOT
    labels: list[bytes] = []
    label = bytearray()
    raw = text.encode()
    at = 0
    while at < len(raw):
        byte = raw[at]
        if byte == 0x5C:
            digits = raw[at + 1 : at + 4]
            if len(digits) == 3 and digits.isdigit():
                if int(digits) > 255:
                    raise NotANameError(f"{text!r}: \\{digits.decode()} is not a byte")
                label.append(int(digits))
                at += 4
                continue
            if at + 1 >= len(raw):
                raise NotANameError(f"{text!r}: nothing follows the last backslash")
            label.append(raw[at + 1])
            at += 2
            continue
        at += 1
        if byte != 0x2E:
            label.append(byte)
            continue
        labels.append(bytes(label))
        label.clear()
    if label:
        labels.append(bytes(label))
    for part in labels:
        if not 1 <= len(part) <= 63:
            raise NotANameError(f"{text!r}: a label must have 1 to 63 bytes, this one has {len(part)}")
    name = join(labels)
    if len(name) > 255:
        raise NotANameError(f"{text!r} is longer than 255 bytes")
    return name


def text(name: bytes) -> str:
    """Return the absolute name as text, with escapes where a byte needs one."""
    return "".join(f"{_escape(label)}." for label in labels(name)) or "."


def labels(name: bytes) -> list[bytes]:
    """Return the labels, leftmost first, without the root's."""
    found, at = [], 0
    while length := name[at]:
        found.append(name[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def join(parts: Iterable[bytes], suffix: bytes = ROOT) -> bytes:
    """Return the name made of these labels in front of a wire name."""
    return b"".join(bytes((len(part),)) + part for part in parts) + suffix


def suffixes(name: bytes) -> Iterator[bytes]:
    """Yield the name, its parent, and so on up to the root."""
    at = 0
    while length := name[at]:
        yield name[at:]
        at += 1 + length
    yield ROOT


def cut(name: bytes, zone: bytes) -> int:
    """Return the length of the part left of `zone` (0 at the apex), or -1 if the name is not in the zone. Both in the same case."""
    left = len(name) - len(zone)
    if left < 0 or not name.endswith(zone):
        return -1
    at = 0
    while at < left:
        at += 1 + name[at]
    return left if at == left else -1


def parent(name: bytes) -> bytes:
    """Return the name without its leftmost label; the root's parent is the root."""
    return name[1 + name[0] :] if name[0] else name


def reverse(address: str) -> bytes:
    """Return the wire name that is asked for the PTR of an address."""
    return wire(ipaddress.ip_address(address).reverse_pointer)


def address_of(key: bytes) -> bytes | None:
    """Return the packed address (4 or 16 bytes) that a whole reverse name stands for; None for partial or malformed ones (PTR-01)."""
    if (left := cut(key, IN_ADDR)) > 0:
        parts = labels(key[:left] + ROOT)
        if len(parts) != 4 or not all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts):
            return None
        if any(len(part) > 1 and part[:1] == b"0" for part in parts):
            return None
        return bytes(int(part) for part in reversed(parts))
    if (left := cut(key, IP6)) > 0:
        parts = labels(key[:left] + ROOT)
        if len(parts) != 32 or not all(len(part) == 1 and part in _HEX for part in parts):
            return None
        return bytes.fromhex(b"".join(reversed(parts)).decode())
    return None


def _escape(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else (f"\\{chr(byte)}" if 0x20 <= byte < 0x7F else f"\\{byte:03d}") for byte in label)
