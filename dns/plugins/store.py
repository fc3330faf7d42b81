"""Where the cache keeps replies: least recently used go first, bounded in number and in bytes (CAC-21). Pure: time is an argument.

CoreDNS throws an arbitrary entry out of a full shard; here it is the one that nobody asked for the longest, so a storm of names that are
asked once does not drive out those that are asked every second.

Twenty thousand replies as objects would take 27 MB, more than all else that a resolver holds. So a reply is kept packed, without what the
entry says anyway: the TTL, and owners that are the question's name. Who asks again gets it unpacked, and then mostly from the hot table.
"""

from functools import lru_cache

import msgspec
from msgspec import Struct
from pointsman.dns.question import Query
from pointsman.dns.reply import Record, Reply

BYTES_PER_ENTRY = 768
"""Bytes that an entry may take on average; a store of few but huge replies throws out earlier."""
OVERHEAD = 280
"""What an entry takes beside its reply and its name: the values, the place in the dict."""


class _Row(Struct, frozen=True, gc=False, array_like=True):
    """A record without its TTL; without owner if that is the question's name."""

    owner: bytes
    rtype: int
    rclass: int
    rdata: bytes


class _Packed(Struct, frozen=True, array_like=True):
    """A reply without what a cache says itself: who answers, and for how long."""

    rcode: int
    flags: int
    answer: tuple[_Row, ...]
    authority: tuple[_Row, ...]
    additional: tuple[_Row, ...]
    rotate: bool
    limit: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


class Care(Struct, gc=False):
    """What refreshing needs to know of an entry: its hits and the last of them (CAC-50), whether it is under way, and when to try again."""

    hits: int = 0
    last_hit: float = 0.0
    refreshing: bool = False
    rest_until: float = 0.0


class Entry(Struct, gc=False):
    """A reply that is kept, packed; `stored` is monotonic time, `ttl` its whole lifetime in seconds, and that of each of its records.

    `name` is the question's spelling, empty if that is in lower case. `care` is there once the entry has been refreshed, or may be.
    `origin` is the upstream that said it: one text for all that it said.
    """

    packed: bytes
    name: bytes
    rcode: int
    stored: float
    ttl: int
    care: "Care | None" = None
    origin: str = ""

    @property
    def size(self) -> int:
        """Return about how many bytes the entry takes."""
        return OVERHEAD + len(self.packed) + len(self.name)

    def cared(self) -> Care:
        """Return what refreshing knows of the entry, from now on."""
        if self.care is None:
            self.care = Care()
        return self.care

    def left(self, now: float) -> int:
        """Return the whole seconds that are left, 0 or less if it is expired (CAC-43)."""
        return self.ttl - int(now - self.stored)

    def reply(self, query: Query, ttl: int) -> Reply:
        """Return the reply to a query for its name, spelled as there (WIR-24), with one TTL for all records."""
        kept = _decode(self.packed)
        return Reply(
            rcode=kept.rcode,
            answer=_records(kept.answer, query.name, ttl),
            authority=_records(kept.authority, self.name or query.key, ttl),
            additional=_records(kept.additional, self.name or query.key, ttl),
            flags=kept.flags, rotate=kept.rotate, limit=kept.limit, origin=self.origin,
        )  # fmt: skip


def pack(query: Query, reply: Reply, stored: float, ttl: int) -> Entry:
    """Return the entry of a reply to a query."""
    kept = _Packed(
        reply.rcode,
        reply.flags,
        tuple(_Row(b"" if one.owner.lower() == query.key else one.owner, one.rtype, one.rclass, one.rdata) for one in reply.answer),
        _rows(reply.authority, query.name),
        _rows(reply.additional, query.name),
        reply.rotate,
        reply.limit,
    )
    name = b"" if query.name == query.key else query.name
    return Entry(_encode(kept), name, reply.rcode, stored, _one(ttl), origin=reply.origin)


class Store:
    """One of the two stores of a cache."""

    def __init__(self, capacity: int) -> None:
        self._entries: dict[bytes, Entry] = {}  # an OrderedDict would take a megabyte more
        self._capacity = capacity
        self._bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """Return an entry, expired or not, and take it for used."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._entries[key] = found
        return found

    def put(self, key: bytes, value: Entry) -> None:
        """Keep an entry; the longest unused ones go if there is no room."""
        self.drop(key)
        self._entries[key] = value
        self._bytes += len(key) + value.size
        self._shrink()

    def drop(self, key: bytes) -> None:
        """Forget an entry."""
        former = self._entries.pop(key, None)
        if former is not None:
            self._bytes -= len(key) + former.size

    def resize(self, capacity: int) -> None:
        """Have another capacity from now on."""
        self._capacity = capacity
        self._shrink()

    def _shrink(self) -> None:
        while len(self._entries) > self._capacity or (self._bytes > self._capacity * BYTES_PER_ENTRY and len(self._entries) > 1):
            key = next(iter(self._entries))
            gone = self._entries.pop(key)
            self._bytes -= len(key) + gone.size
            self.evicted += 1


@lru_cache(1024)
def _one(ttl: int) -> int:
    """Return the lifetime as a value that all entries share: there are few, and each would take 32 bytes."""
    return ttl


def _rows(records: tuple[Record, ...], name: bytes) -> tuple[_Row, ...]:
    return tuple(_Row(b"" if one.owner == name else one.owner, one.rtype, one.rclass, one.rdata) for one in records)


def _records(rows: tuple[_Row, ...], name: bytes, ttl: int) -> tuple[Record, ...]:
    return tuple(Record(row.owner or name, row.rtype, ttl, row.rdata, row.rclass) for row in rows)
