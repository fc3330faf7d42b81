"""Where the cache keeps replies: least recently used go first, bounded in number and in bytes (CAC-21). Pure: time is an argument.

CoreDNS throws an arbitrary entry out of a full shard; here it is the one that nobody asked for the longest, so a storm of names that are
asked once does not drive out those that are asked every second.
"""

from collections import OrderedDict
from collections.abc import Hashable

from msgspec import Struct
from pointsman.dns.reply import Reply

BYTES_PER_ENTRY = 2048
"""Bytes of records that an entry may have on average; a store of few but huge replies throws out earlier."""


class Entry(Struct):
    """A reply that is kept: its records have the whole lifetime as TTL; `stored` is monotonic time.

    `name` is the question's spelling. `hits` and `last_hit` serve prefetching, `refreshing` and `rest_until` keep refreshes apart.
    """

    reply: Reply
    name: bytes
    stored: float
    ttl: int
    size: int
    hits: int = 0
    last_hit: float = 0.0
    refreshing: bool = False
    rest_until: float = 0.0

    def left(self, now: float) -> int:
        """Return the whole seconds that are left, 0 or less if it is expired (CAC-43)."""
        return self.ttl - int(now - self.stored)


class Store:
    """One of the two stores of a cache."""

    def __init__(self, capacity: int) -> None:
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._capacity = capacity
        self._bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: Hashable) -> Entry | None:
        """Return an entry, expired or not, and take it for used."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Hashable, entry: Entry) -> None:
        """Keep an entry; the longest unused ones go if there is no room."""
        self.drop(key)
        self._entries[key] = entry
        self._bytes += entry.size
        self._shrink()

    def drop(self, key: Hashable) -> None:
        """Forget an entry."""
        former = self._entries.pop(key, None)
        if former is not None:
            self._bytes -= former.size

    def resize(self, capacity: int) -> None:
        """Have another capacity from now on."""
        self._capacity = capacity
        self._shrink()

    def _shrink(self) -> None:
        while len(self._entries) > self._capacity or (self._bytes > self._capacity * BYTES_PER_ENTRY and len(self._entries) > 1):
            _, gone = self._entries.popitem(last=False)
            self._bytes -= gone.size
            self.evicted += 1


def size_of(reply: Reply) -> int:
    """Return about how many bytes a reply's records have."""
    return sum(len(record.owner) + len(record.rdata) + 64 for record in (*reply.answer, *reply.authority, *reply.additional))
