"""Ledger and tally: many owners, always ready to be read, and the same as made at once."""

from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.ledger import Ledger, Tally
from pointsman.routing.route import Family

ENTRIES = st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 9), max_size=4)), max_size=12)
ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), max_size=3, unique=True).map(tuple)


@given(ENTRIES)
def test_a_ledger_holds_what_its_owners_hold(entries):
    ledger: Ledger[tuple[str, int]] = Ledger(lambda value: value)
    for owner, numbers in entries:
        ledger.put(owner, [(owner, number) for number in numbers])
        ledger.value()
    last = dict(entries)
    assert ledger.value() == tuple(sorted({(owner, number) for owner, numbers in last.items() for number in numbers}))


def test_a_ledger_without_change_gives_the_same_value():
    ledger: Ledger[tuple[int]] = Ledger(lambda value: value)
    ledger.put("a", [(2,), (1,), (2,)])
    first = ledger.value()
    ledger.put("a", [(2,), (1,)])
    assert first == ((1,), (2,))
    assert ledger.value() is first
    ledger.put("a", [(3,), (1,)])
    assert ledger.value() == ((1,), (3,))
    ledger.put("a", [])
    ledger.put("b", [])
    assert ledger.value() == ()


@given(st.lists(st.tuples(st.sampled_from("abc"), ADDRESSES), max_size=12))
def test_a_tally_keeps_an_address_until_its_last_owner_goes(steps):
    tally, owners = Tally(), {}
    for owner, addresses in steps:
        tally.replace(owners.get(owner, ()), addresses)
        owners[owner] = addresses
        everything = {address for held in owners.values() for address in held}
        assert tally.value() == {
            Family.IPV4: frozenset(address for address in everything if ":" not in address),
            Family.IPV6: frozenset(address for address in everything if ":" in address),
        }


def test_a_tally_keeps_the_set_of_a_family_that_did_not_change():
    tally = Tally()
    tally.replace((), ("10.0.0.1", "fd00::1"))
    before = tally.value()
    tally.replace((), ("10.0.0.1",))
    assert tally.value() is before
    tally.replace((), ("10.0.0.2",))
    assert tally.value()[Family.IPV6] is before[Family.IPV6]
    assert tally.value()[Family.IPV4] == {"10.0.0.1", "10.0.0.2"}


def test_a_tally_names_addresses_whose_owners_changed_beside_another():
    tally = Tally()
    tally.replace((), ("10.0.0.1", "10.0.0.2"))
    assert not tally.take_shared()
    tally.replace((), ("10.0.0.1",))
    assert tally.take_shared() == {"10.0.0.1"}
    assert not tally.take_shared()
    tally.replace(("10.0.0.1",), ())
    assert tally.take_shared() == {"10.0.0.1"}
    tally.replace(("10.0.0.1", "10.0.0.2"), ())
    assert not tally.take_shared()
