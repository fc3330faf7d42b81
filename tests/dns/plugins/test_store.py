"""Where the cache keeps replies: bounds and who goes first."""

from fakes.chains import A, record
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.plugins.store import BYTES_PER_ENTRY, Entry, Store, size_of
from pointsman.dns.reply import Reply


def entry(size=1, stored=0.0, ttl=10):
    return Entry(Reply(), b"\0", stored, ttl, size)


def test_cac_21_the_longest_unused_goes_first():
    store = Store(2)
    store.put("a", entry())
    store.put("b", entry())
    store.get("a")
    store.put("c", entry())
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]
    assert store.evicted == 1


def test_bytes_are_bounded_too():
    store = Store(4)
    for key in range(4):
        store.put(key, entry(size=BYTES_PER_ENTRY * 2))
    assert len(store) == 2


def test_a_smaller_store_forgets_the_oldest():
    store = Store(10)
    for key in range(10):
        store.put(key, entry())
    store.resize(3)
    assert [store.get(key) is not None for key in range(10)] == [False] * 7 + [True] * 3


def test_cac_43_whole_seconds_are_left():
    one = entry(stored=100.0, ttl=10)
    assert [one.left(moment) for moment in (100.0, 100.9, 101.0, 109.99, 110.0, 115.0)] == [10, 10, 9, 1, 0, -5]


def test_replies_have_a_size():
    assert size_of(Reply(answer=(record("a", A, 1, b"1234"),))) == 3 + 4 + 64


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9000)), max_size=60), st.integers(1, 8))
def test_the_bounds_hold_always(puts, capacity):
    """Property: never more entries than the capacity, and no more bytes than its share unless one entry alone is larger."""
    store = Store(capacity)
    for key, size in puts:
        store.put(key, entry(size=size))
        assert len(store) <= capacity
        assert store._bytes <= capacity * BYTES_PER_ENTRY or len(store) == 1
        assert store.get(key) is not None
