"""What the kernel tells about changes of nftables: which table and chain was touched, and who committed. Pure.

The kernel multicasts one message per changed object and, at the end of each transaction, one message with the number of the new generation
and the process that made it. `iptables-nft` is a user of nftables, so these events show every change of its tables as well.
A generation is one committed transaction of the whole network namespace; the number is 32 bits and wraps.

`iptables.watch` reads these events; the nftables mode will. `tables` lists and removes whole tables by messages made here.
Source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

from msgspec import Struct
from pointsman.netlink.codec import ACK, REQUEST, MalformedError, Message, attribute, attributes, encode, messages, text

PROTOCOL: Final = 12
"""NETLINK_NETFILTER."""
GROUP: Final = 7
"""NFNLGRP_NFTABLES."""

_SUBSYSTEM: Final = 10
_FIXED: Final = 4
_NUMBER: Final = struct.Struct(">I")
_NEWGEN: Final = 15
GET_GENERATION: Final = _SUBSYSTEM << 8 | 16
NEW_GENERATION: Final = _SUBSYSTEM << 8 | _NEWGEN
REQUEST_BODY: Final = bytes(_FIXED)
"""The body of a request for the current generation: family unspecified, version 0."""


GET_TABLE: Final = _SUBSYSTEM << 8 | 1
DELETE_TABLE: Final = _SUBSYSTEM << 8 | 2
_BEGIN: Final = 0x10
_END: Final = 0x11


def every_table(family: int) -> bytes:
    """Return the body of a request (a dump) for the tables of an address family."""
    return bytes([family, 0, 0, 0])


def table_name(message: Message) -> str:
    """Return which table a message is about; MalformedError if it does not say so."""
    for kind, payload in attributes(message.body, _FIXED):
        if kind == 1:
            return text(payload)
    raise MalformedError("a message about a table has no name in it")


def transaction(kind: int, body: bytes, sequence: int) -> bytes:
    """Return a datagram that carries out one request as a transaction; the answer, also one to the frame around it, has `sequence`."""
    frame = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    parts = ((_BEGIN, 0, frame), (kind, ACK, body), (_END, 0, frame))
    return b"".join(encode(part, REQUEST | flags, sequence, content) for part, flags, content in parts)


def one_table(family: int, name: str) -> bytes:
    """Return the body of a request about one table."""
    return bytes([family, 0, 0, 0]) + attribute(1, name.encode() + b"\0")


class What(Enum):
    """Which kind of object a change is about."""

    TABLE = "table"
    CHAIN = "chain"
    RULE = "rule"


class Touch(Struct, frozen=True, gc=False):
    """One changed object: address family (2 = IPv4, 10 = IPv6), what, added or removed, table, and chain (empty for tables)."""

    family: int
    what: What
    removed: bool
    table: str
    chain: str


class Generation(Struct, frozen=True, gc=False):
    """A transaction was committed: its number, and the committing process (0 and empty where the kernel does not tell)."""

    number: int
    pid: int
    process: str


# Message number → what it is about, whether it removes, and the attribute that names the chain (0 = none).
_CHANGES: Final = {
    0: (What.TABLE, False, 0),
    2: (What.TABLE, True, 0),
    3: (What.CHAIN, False, 3),
    5: (What.CHAIN, True, 3),
    6: (What.RULE, False, 2),
    8: (What.RULE, True, 2),
}


def events(datagram: bytes) -> Iterator[Touch | Generation]:
    """Yield what one datagram tells about tables, chains, rules and generations; other objects (sets, elements ...) are passed over."""
    for message in messages(datagram):
        if message.type == NEW_GENERATION:
            yield generation(message)
        elif message.type >> 8 == _SUBSYSTEM and (change := _CHANGES.get(message.type & 0xFF)) is not None:
            yield _touch(message, *change)


def generation(message: Message) -> Generation:
    """Return the content of a NEW_GENERATION message."""
    number = pid = 0
    process = ""
    for kind, payload in attributes(message.body, _FIXED):
        if kind in (1, 2) and len(payload) != _NUMBER.size:
            raise MalformedError(f"generation message: attribute {kind} has {len(payload)} bytes, not {_NUMBER.size}")
        if kind == 1:
            number = _NUMBER.unpack(payload)[0]
        elif kind == 2:
            pid = _NUMBER.unpack(payload)[0]
        elif kind == 3:
            process = text(payload)
    return Generation(number, pid, process)


def _touch(message: Message, what: What, removed: bool, chain_attribute: int) -> Touch:
    table = chain = ""
    for kind, payload in attributes(message.body, _FIXED):
        if kind == 1:
            table = text(payload)
        elif kind == chain_attribute:
            chain = text(payload)
        if table and (chain or not chain_attribute):
            break
    return Touch(message.body[0], what, removed, table, chain)
