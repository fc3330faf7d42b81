"""The hot table: whole queries to whole replies, all but the id.

The key is the message from its third byte on, as it came: flags, question in the client's spelling, OPT. A repeated query is therefore
one look-up and a copy, whatever it contains. What a reply rests on is known (`reply.Life`): `withdraw` takes out exactly those that rest on
what has changed. Other lives end by time, or count their TTLs down; and replies with several addresses take turns.

`udp` reads `entries` itself and asks only for `until`; all that is unusual is behind `turn`, which an entry gets by an `until` in the past.

Memory is bounded in bytes. A query is kept when it is seen for the second time, so a flood of ever new names passes through; when the table
is full, those that were not asked since the last round go first.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Final

from msgspec import Struct
from pointsman.dns.books import Flow, Top
from pointsman.dns.encode import encode
from pointsman.dns.question import HEADER, OPT, Query, skip_name
from pointsman.dns.reply import Record, Reply
from pointsman.dns.tally import Cell

FOREVER: Final = float("inf")
ALWAYS: Final = float("-inf")
OVERHEAD: Final = 280
"""What an entry costs beside its bytes and tags: the values, the place in the dict."""
TAG: Final = 130
"""What a tag of an entry costs: its bytes, its place in the dict; where it has several entries, less."""
TURNING: Final = 450
"""What an entry costs beside the bytes of its variants if it changes by itself."""
VARIANTS: Final = 8
RESHUFFLED: Final = 10.0
"""Seconds after which more addresses than there are variants are shuffled anew."""
SEEN: Final = 131072
"""Queries of which a sign of one byte is kept, to know those that come again."""
STEP: Final = 500
LOOKS: Final = 16
"""Entries that are looked at for room, for each that comes."""

NAME: Final = HEADER - 2
"""Where the question's name begins in a key."""
A: Final = 1
AAAA: Final = 28
CNAME: Final = 5

Shuffle = Callable[[list[Record]], None]


class Hit(Struct, gc=False):
    """An entry. `reply` is what follows the id; `until` is when it must be looked at again; `hits` are not counted yet."""

    reply: bytes
    until: float
    flow: Flow
    hits: int = 0
    tags: tuple[Hashable, ...] = ()
    counted: tuple[Cell, ...] = ()
    more: "Turning | None" = None


class Turning(Struct, gc=False):
    """What an entry needs that changes by itself: its variants, the places of TTLs in them, and its times."""

    variants: list[bytes]
    places: list[tuple[int, ...]]
    expires: float
    born: float
    counting: bool
    turn: int = 0
    ticks: int = -1
    present: list[bytes] = []


class Room:
    """Bytes that several tables share: which of a node's addresses is asked, nobody knows before."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.tables: list[Hot] = []

    @property
    def wanted(self) -> bool:
        """Return whether less than an eighth is free."""
        return self.used > self.limit - self.limit // 8

    def make(self) -> None:
        """Have the largest table drop some entries, if they all are too large."""
        if self.used > self.limit:
            max(self.tables, key=lambda table: table.used).make_room()


class Hot:
    """The table of one listener."""

    def __init__(self, shuffle: Shuffle, room: Room, top: Top) -> None:
        self.entries: dict[bytes, Hit] = {}
        self.seconds = 0.00002
        self._shuffle = shuffle
        self._room = room
        room.tables.append(self)
        self.used = 0
        self._top = top
        self._seen = bytearray(SEEN)
        self._tagged: dict[Hashable, bytes | set[bytes]] = {}

    def store(self, query: Query, message: bytes, reply: Reply, *, first: bytes, flow: Flow, now: float) -> None:
        """Keep a reply that may be given again; `first` is how it was just encoded."""
        life = reply.life
        if life is None or life.until <= now or len(message) > 512 or len(first) > 4096:
            return
        key = message[2:]
        if not self.seen(key):
            return
        hit = Hit(first[2:], FOREVER, flow, tags=life.tags, counted=life.counted)
        variants = self._variants(query, reply, first) if reply.rotate else [first]
        expires = life.until
        if len(variants) == VARIANTS:
            expires = min(expires, now + RESHUFFLED)
        if len(variants) > 1 or life.counting or expires < FOREVER:
            places = [ttl_places(each) if life.counting else () for each in variants]
            hit.more = Turning([each[2:] for each in variants], places, expires, life.born, life.counting)
            hit.until = ALWAYS if len(variants) > 1 or life.counting else expires
        self.put(key, hit)

    def seen(self, key: bytes) -> bool:
        """Return whether a message (without id) was seen before, as far as that is remembered, and remember it.

        A sign may be that of another message: then one is kept that came once only, which harms nobody.
        """
        mark = hash(key)
        place, sign = mark % SEEN, mark // SEEN & 0xFF or 1
        if self._seen[place] == sign:
            return True
        self._seen[place] = sign
        return False

    def put(self, key: bytes, hit: Hit) -> None:
        """Keep an entry."""
        if key in self.entries:
            self.drop(key)
        self.entries[key] = hit
        self._use(_cost(key, hit))
        for tag in hit.tags:
            keys = self._tagged.get(tag)
            if keys is None:
                self._tagged[tag] = key  # most tags have one entry: a set for it would cost more than all the rest
            elif isinstance(keys, set):
                keys.add(key)
            else:
                self._tagged[tag] = {keys, key}
        self._room.make()

    def turn(self, key: bytes, hit: Hit, now: float) -> Hit | None:
        """Return the entry with the reply of this moment and turn; None if its time is over."""
        more = hit.more
        if more is None or now >= more.expires:
            self.drop(key)
            return None
        if more.counting:
            age = max(0, int(now - more.born))
            if age != more.ticks:
                more.ticks = age
                more.present = [_aged(each, places, age) for each, places in zip(more.variants, more.places, strict=True)]
            variants = more.present
            if len(variants) == 1:
                hit.until = min(more.born + age + 1, more.expires)
        else:
            variants = more.variants
        more.turn = (more.turn + 1) % len(variants)
        hit.reply = variants[more.turn]
        return hit

    def withdraw(self, tags: Iterable[Hashable]) -> int:
        """Drop all entries that rest on one of the tags; return how many."""
        gone = 0
        for tag in tags:
            keys = self._tagged.get(tag, ())
            for key in (keys,) if isinstance(keys, bytes) else tuple(keys):
                self.drop(key)
                gone += 1
        return gone

    def clear(self) -> None:
        """Drop everything, as after a change of the Corefile."""
        for key in tuple(self.entries):
            self.drop(key)

    def drop(self, key: bytes) -> None:
        """Drop an entry."""
        hit = self.entries.pop(key)
        self._use(-_cost(key, hit))
        for tag in hit.tags:
            keys = self._tagged.get(tag)
            if isinstance(keys, set) and len(keys) > 1:
                keys.discard(key)
            else:
                self._tagged.pop(tag, None)
        self._count(key, hit)

    def settle(self) -> None:
        """Bring the hits of all entries to the books."""
        for key, hit in self.entries.items():
            self._count(key, hit)

    def settling(self) -> Iterator[None]:
        """Settle in steps of less than a millisecond; others may use the table between them."""
        for number, (key, hit) in enumerate(tuple(self.entries.items())):
            self._count(key, hit)
            if number % STEP == STEP - 1:
                yield

    def _count(self, key: bytes, hit: Hit) -> None:
        if hit.hits:
            hit.flow.count(hit.hits, len(key) + 2, len(hit.reply) + 2, self.seconds)
            self._top.count(key[NAME : key.find(b"\x00", NAME) + 1].lower(), hit.hits)
            for cell in hit.counted:
                cell[0] += hit.hits
            hit.hits = 0

    def make_room(self) -> None:
        """Drop entries from the old end until an eighth of the room is free; those in use go to the young end instead.

        Only a few are looked at each time, so that no answer waits for it: a round over all would take tens of milliseconds. The head of a
        dict is found by passing over what was removed there, therefore once for all of them.
        """
        for key in tuple(islice(self.entries, LOOKS)):
            if not self._room.wanted:
                return
            hit = self.entries[key]
            if hit.hits:
                self._count(key, hit)
                self.entries[key] = self.entries.pop(key)
            else:
                self.drop(key)
        while self._room.used > self._room.limit and self.entries:
            self.drop(next(iter(self.entries)))

    def _use(self, size: int) -> None:
        self.used += size
        self._room.used += size

    def shuffled(self, reply: Reply) -> Reply:
        """Return the reply with its addresses in any order, behind all else (WIR-50)."""
        others, addresses = _parted(reply)
        if len(addresses) < 2:
            return reply
        self._shuffle(addresses)
        return reply.but(answer=(*others, *addresses))

    def _variants(self, query: Query, reply: Reply, first: bytes) -> list[bytes]:
        """Return the reply in several orders of its addresses (WIR-50 to WIR-53); where they are few, each is first equally often."""
        others, addresses = _parted(reply)
        if len(addresses) < 2:
            return [first]
        self._shuffle(addresses)
        found = []
        for number in range(min(len(addresses), VARIANTS)):
            if len(addresses) > VARIANTS:
                self._shuffle(addresses)
                turned = addresses
            else:
                turned = addresses[number:] + addresses[:number]
            found.append(encode(query, reply.but(answer=(*others, *turned))))
        return found


def ttl_places(message: bytes) -> tuple[int, ...]:
    """Return where the TTLs of a whole message stand, counted from its third byte; OPT has none."""
    questions = int.from_bytes(message[4:6], "big")
    records = sum(int.from_bytes(message[at : at + 2], "big") for at in (6, 8, 10))
    at = HEADER
    for _ in range(questions):
        at = skip_name(message, at) + 4
    found = []
    for _ in range(records):
        at = skip_name(message, at)
        if int.from_bytes(message[at : at + 2], "big") != OPT:
            found.append(at + 2)
        at += 10 + int.from_bytes(message[at + 8 : at + 10], "big")
    return tuple(found)


def _parted(reply: Reply) -> tuple[list[Record], list[Record]]:
    addresses = [record for record in reply.answer if record.rtype in (A, AAAA)]
    others = [record for record in reply.answer if record.rtype not in (A, AAAA)]
    others.sort(key=lambda record: record.rtype != CNAME)
    return others, addresses


def _aged(reply: bytes, places: tuple[int, ...], age: int) -> bytes:
    aged = bytearray(reply)
    for at in places:
        aged[at : at + 4] = max(0, int.from_bytes(aged[at : at + 4], "big") - age).to_bytes(4, "big")
    return bytes(aged)


def _cost(key: bytes, hit: Hit) -> int:
    more = hit.more
    cost = OVERHEAD + TAG * len(hit.tags) + len(key) + len(hit.reply)
    return cost if more is None else cost + TURNING + sum(map(len, more.variants)) * (2 if more.counting else 1)
