"""The hot table: what is kept, for how long, in which order, and what is withdrawn."""

import random

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.books import Books, Top
from pointsman.dns.encode import encode
from pointsman.dns.hot import ALWAYS, FOREVER, LOOKS, OVERHEAD, STEP, Hit, Hot, Room, ttl_places
from pointsman.dns.names import wire
from pointsman.dns.question import read
from pointsman.dns.reply import Life, Record, Reply
from pointsman.dns.tally import Tally


def nothing(records):
    """Leave the order as it is."""


class Table:
    """A hot table with what it is given beside a reply."""

    def __init__(self, room=1 << 20, shuffle=nothing):
        self.top, self.tally = Top(), Tally()
        self.hot = Hot(shuffle, room if isinstance(room, Room) else Room(room), self.top)
        self.flow = Books(self.tally, "dns://:53", "udp", "1").flow(".", 1, 0, "x")

    def store(self, name, reply, now=0.0, times=2):
        message = dns.message.make_query(name, "A", id=0).to_wire()
        query = read(message)
        for _ in range(times):
            self.hot.store(query, message, reply, first=encode(query, reply), flow=self.flow, now=now)
        return message[2:]

    def get(self, key, now=0.0):
        hit = self.hot.entries.get(key)
        if hit is not None and hit.until <= now:
            hit = self.hot.turn(key, hit, now)
        if hit is None:
            return None
        hit.hits += 1
        return dns.message.from_wire(b"\x00\x00" + hit.reply)


def asking(name, qtype):
    """Return a key: a question without its id."""
    return bytes(10) + wire(name) + qtype.to_bytes(2, "big")


def reply(*last, life=None, ttl=30, owner="a.example", rotate=False):
    return Reply(answer=tuple(Record(wire(owner), 1, ttl, bytes((192, 0, 2, n))) for n in last or (1,)), life=life or Life(), rotate=rotate)


def test_a_reply_is_kept_when_it_is_seen_again():
    table = Table()
    assert table.get(table.store("a.example", reply(), times=1)) is None
    assert table.get(table.store("a.example", reply())).answer[0][0].address == "192.0.2.1"


def test_a_reply_without_a_life_is_not_kept():
    table = Table()
    assert table.get(table.store("a.example", reply().but(life=None))) is None
    assert table.get(table.store("a.example", reply(life=Life(until=5.0)), now=6.0)) is None


def test_exactly_what_rests_on_a_tag_is_withdrawn():
    table = Table()
    keys = {name: table.store(f"{name}.example", reply(life=Life((name, "all")))) for name in ("a", "b", "c")}
    assert table.hot.withdraw({"b", "unknown"}) == 1
    assert [name for name, key in keys.items() if key in table.hot.entries] == ["a", "c"]
    assert table.hot.withdraw({"all"}) == 2
    assert not table.hot.entries


def test_who_shares_a_tag_is_withdrawn_as_long_as_he_is_there():
    """A tag with one entry is kept in another form than one with several."""
    table = Table()
    keys = [table.store(f"n{number}.example", reply(life=Life(("t",)))) for number in range(3)]
    for gone, left in ((keys[1], 2), (keys[0], 1)):
        table.hot.drop(gone)
        assert len(table.hot.entries) == left
    keys[0] = table.store("n0.example", reply(life=Life(("t",))))
    assert table.hot.withdraw(["t"]) == 2
    assert not table.hot.entries
    assert not table.hot._tagged


def test_a_life_ends_by_time():
    table = Table()
    key = table.store("a.example", reply(life=Life(until=10.0)))
    assert table.get(key, 9.9) is not None
    assert table.get(key, 10.0) is None
    assert key not in table.hot.entries


def test_cac_43_ttls_count_down():
    table = Table()
    key = table.store("a.example", reply(ttl=30, life=Life(until=100.0, counting=True, born=10.0)), now=10.0)
    assert [table.get(key, second).answer[0].ttl for second in (10.0, 10.9, 11.0, 25.5, 39.9, 45.0)] == [30, 30, 29, 15, 1, 0]
    assert table.get(key, 100.0) is None


def test_a_counted_ttl_is_written_once_per_second_only():
    table = Table()
    key = table.store("a.example", reply(life=Life(until=100.0, counting=True, born=10.0)), now=10.0)
    table.get(key, 10.2)
    hit = table.hot.entries[key]
    assert hit.until == 11.0


@given(st.integers(2, 8))
@settings(max_examples=10)
def test_wir_53_each_address_comes_first_equally_often(number):
    table = Table()
    key = table.store("a.example", reply(*range(1, number + 1), rotate=True))
    firsts = [table.get(key).answer[0][0].address for _ in range(number * 3)]
    assert {firsts.count(first) for first in firsts} == {3}
    assert len(set(firsts)) == number


def test_many_addresses_are_shuffled_anew():
    table = Table(shuffle=random.Random(1).shuffle)
    many = reply(*range(1, 31), rotate=True)
    key = table.store("a.example", many)
    assert len({table.get(key).answer[0][0].address for _ in range(20)}) > 4
    assert table.get(key, 10.0) is None


def test_wir_52_aliases_stay_in_front_whatever_turns():
    table = Table(shuffle=random.Random(1).shuffle)
    alias = Record(wire("a.example"), 5, 30, wire("b.example"))
    turned = reply(1, 2, 3, rotate=True, owner="b.example")
    key = table.store("a.example", turned.but(answer=(*turned.answer, alias)))
    assert {table.get(key).answer[0].rdtype for _ in range(6)} == {5}
    assert table.hot.shuffled(turned.but(answer=(*turned.answer, alias))).answer[0] == alias


def test_turning_and_counting_go_together():
    table = Table()
    key = table.store("a.example", reply(1, 2, rotate=True, life=Life(until=100.0, counting=True)))
    seen = [(table.get(key, second).answer[0][0].address, table.get(key, second).answer[0].ttl) for second in (1.0, 1.1, 5.0)]
    assert [ttl for _, ttl in seen] == [29, 29, 25]
    assert table.hot.entries[key].until == ALWAYS


def test_memory_is_bounded_and_what_is_used_stays():
    table = Table(room=20_000)
    hot_key = table.store("hot.example", reply())
    for number in range(200):
        table.get(hot_key)
        table.store(f"n{number}.example", reply())
    assert len(table.hot.entries) < 20_000 / OVERHEAD
    assert hot_key in table.hot.entries
    assert table.hot.entries[hot_key].until == FOREVER


def test_settling_in_steps_counts_the_same_though_entries_come_and_go():
    table = Table()
    for number in range(2 * STEP + 1):
        table.hot.put(asking("n.example", number), Hit(b"x", FOREVER, table.flow, 1))
    steps = table.hot.settling()
    next(steps)
    assert table.top.most(1) == [(wire("n.example"), STEP)]
    table.hot.drop(asking("n.example", 2 * STEP))
    table.hot.put(asking("later.example", 1), Hit(b"x", FOREVER, table.flow, 5))
    assert len(list(steps)) == 1
    assert table.top.most() == [(wire("n.example"), 2 * STEP + 1)]


def test_room_is_made_a_little_at_a_time():
    """Where every entry is in use, a whole round for one that comes would keep all others waiting."""
    table = Table(room=100_000)
    number = 0
    while len(table.hot.entries) == number:
        table.get(table.store(f"n{number}.example", reply()))
        number += 1
    assert number > 4 * LOOKS
    for hit in table.hot.entries.values():
        hit.hits = 1
    before = set(table.hot.entries)
    for more in range(10):
        table.store(f"m{more}.example", reply())
        looked = sum(not table.hot.entries[key].hits for key in before if key in table.hot.entries)
        assert looked <= (more + 1) * LOOKS
        assert len(table.hot.entries) <= number
    assert len(before - set(table.hot.entries)) <= number // 8 + LOOKS


def test_tables_share_a_room_and_the_largest_gives_way():
    """Of a node's addresses one is asked most: it may use what the others leave."""
    room = Room(100_000)
    first, second = Table(room), Table(room)
    few = [second.store(f"few{number}.example", reply()) for number in range(5)]
    for number in range(400):
        first.store(f"n{number}.example", reply())
        assert room.used == first.hot.used + second.hot.used <= 100_000
    assert all(key in second.hot.entries for key in few)
    assert len(first.hot.entries) > 150
    for number in range(400):
        second.store(f"m{number}.example", reply())
        assert room.used <= 100_000
    assert abs(first.hot.used - second.hot.used) < 100_000 / 8 + 20 * LOOKS * OVERHEAD
    first.hot.clear()
    second.hot.clear()
    assert room.used == 0


def test_hits_reach_the_books_when_settled_or_dropped():
    table = Table()
    cell = [0]
    key = table.store("a.example", reply(life=Life(("t",), counted=(cell,))))
    for _ in range(5):
        table.get(key)
    table.hot.settle()
    table.hot.settle()
    assert cell == [5]
    table.get(key)
    table.hot.withdraw({"t"})
    assert cell == [6]
    assert table.top.most(1) == [(wire("a.example"), 6)]
    assert next(sample.values for sample in table.tally.dump() if sample.metric.endswith("requests_total")) == (6,)


def test_clear_forgets_everything_but_what_was_seen():
    table = Table()
    key = table.store("a.example", reply())
    table.hot.clear()
    assert not table.hot.entries
    assert table.get(table.store("a.example", reply(), times=1)) is not None
    assert key in table.hot.entries


@pytest.mark.parametrize("size", [512, 4000])
def test_places_of_ttls_are_all_but_that_of_opt(size):
    raw = dns.message.make_query("a.example", "A", use_edns=0, payload=size).to_wire()
    made = encode(read(raw), reply(1, 2).but(authority=(Record(wire("example"), 2, 30, wire("ns.example")),)))
    assert [made[at + 2 : at + 6] for at in ttl_places(made)] == [(30).to_bytes(4, "big")] * 3
