"""Where the cache keeps replies: bounds and who goes first."""

from fakes.chains import A, query, record, soa
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.names import wire
from pointsman.dns.plugins.store import BYTES_PER_ENTRY, OVERHEAD, Entry, Store, pack
from pointsman.dns.question import RA
from pointsman.dns.reply import Record, Reply


def entry(size=OVERHEAD, stored=0.0, ttl=10):
    """Return an entry that takes so many bytes."""
    return Entry(bytes(size - OVERHEAD), b"", 0, stored, ttl)


def test_cac_21_the_longest_unused_goes_first():
    store = Store(2)
    store.put(b"a", entry())
    store.put(b"b", entry())
    store.get(b"a")
    store.put(b"c", entry())
    assert [store.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
    assert store.evicted == 1


def test_bytes_are_bounded_too():
    store = Store(4)
    for key in range(4):
        store.put(b"%d" % key, entry(size=BYTES_PER_ENTRY * 2 - 1))
    assert len(store) == 2


def test_a_smaller_store_forgets_the_oldest():
    store = Store(10)
    for key in range(10):
        store.put(b"%d" % key, entry())
    store.resize(3)
    assert [store.get(b"%d" % key) is not None for key in range(10)] == [False] * 7 + [True] * 3


def test_cac_43_whole_seconds_are_left():
    one = entry(stored=100.0, ttl=10)
    assert [one.left(moment) for moment in (100.0, 100.9, 101.0, 109.99, 110.0, 115.0)] == [10, 10, 9, 1, 0, -5]


def test_a_full_store_takes_what_it_says_it_may():
    """Bytes are counted as they are: CoreDNS's 9984 entries, of names and records as they are, fit and stay below 8 MiB."""
    store = Store(9984)
    for number in range(12_000):
        name = f"host{number}.some-external-domain-{number}.example.com"
        asked = query(name)
        reply = Reply(rcode=3, authority=(soa("example.com"),)) if number % 2 else Reply(answer=(record(name, A, 9, b"1234"),) * 4)
        store.put(asked.key + b"\0\0\1\0\1", pack(asked, reply, 0.0, 9))
    assert len(store) == 9984
    assert store._bytes <= 9984 * BYTES_PER_ENTRY <= 8 << 20


def test_wir_24_a_packed_reply_comes_back_in_the_spelling_of_who_asks():
    """The TTL is the cache's; everything else is as it came, whether an owner is the question's name or not."""
    answer = (record("A.example", 5, 300, wire("b.example")), Record(wire("b.example"), A, 200, b"1234", 4))
    authority, additional = (record("Other.example", 2, 100, wire("ns.example")),), (record("ns.example", A, 50, b"5678"),)
    came = Reply(answer=answer, authority=authority, additional=additional, flags=RA, limit=7, plugin="forward", origin="192.0.2.53:53")
    found = pack(query("A.example"), came, 5.0, 60)
    assert found.reply(query("a.EXAMPLE"), 33) == Reply(
        answer=(record("a.EXAMPLE", 5, 33, wire("b.example")), Record(wire("b.example"), A, 33, b"1234", 4)),
        authority=(record("Other.example", 2, 33, wire("ns.example")),),
        additional=(record("ns.example", A, 33, b"5678"),),
        flags=RA, limit=7, origin="192.0.2.53:53",
    )  # fmt: skip


@given(st.sampled_from([0, 2, 3, 4]), st.booleans(), st.integers(0, 5))
def test_what_is_packed_is_what_came(rcode, rotate, number):
    """Property: a reply comes back to who asked for it, but for who made it, why it failed, and the TTL."""
    asked = query("web.Example.org")
    records = tuple(record(("web.Example.org", "example.org", ".")[turn % 3], A, 60, b"%d" % turn) for turn in range(number))
    came = Reply(rcode=rcode, answer=records[:2], authority=records[2:4], additional=records[4:], rotate=rotate, error="why", zone="z")
    found = pack(asked, came, 5.0, 60)
    assert found.rcode == rcode
    assert found.reply(asked, 60) == came.but(error="", zone="")


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(OVERHEAD, 9000)), max_size=60), st.integers(1, 8))
def test_the_bounds_hold_always(puts, capacity):
    """Property: never more entries than the capacity, and no more bytes than its share unless one entry alone is larger."""
    store = Store(capacity)
    for key, size in puts:
        store.put(b"%d" % key, entry(size=size))
        assert len(store) <= capacity
        assert store._bytes <= capacity * BYTES_PER_ENTRY or len(store) == 1
        assert store.get(b"%d" % key) is not None
