"""Whose an address is: the compact index does what a dict of lists would do."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.facts import packed
from pointsman.dns.owners import BUCKETS, Owners, number

ADDRESSES = [packed(text) for text in ("0.0.0.0", "0.0.0.1", "10.0.0.1", "1.10.0.0", "::", "::1", "fd00::a00:1", "fd00::1")]
"""Also such that stand across two rows of others."""
NEIGHBOURS = [(7 + turn * BUCKETS).to_bytes(4, "big") for turn in range(4)]
"""Addresses of one bucket."""
KEYS = [b"\1a\1x", b"\1b\1x", b"\1c\1x"]


def test_ipv4_and_ipv6_addresses_never_share_a_number():
    assert number(packed("0.0.0.1")) != number(packed("::1"))


def test_who_is_known_the_longest_comes_first():
    owners = Owners()
    for key in (b"\1b\1x", b"\1a\1x", b"\1b\1x"):
        owners.add(1, key)
    assert owners.of(1) == (b"\1b\1x", b"\1a\1x")
    owners.drop(1, b"\1b\1x")
    assert owners.of(1) == (b"\1a\1x",)


def test_a_number_is_used_again_when_its_service_is_gone():
    """Services come and go for months: memory follows those that are there."""
    owners = Owners()
    for turn in range(1000):
        owners.add(1, b"\1k\2%02d" % (turn % 100))
        owners.add(2, b"\1k\2%02d" % (turn % 100))
        owners.drop(1, b"\1k\2%02d" % (turn % 100))
        assert owners.of(1) == ()
        owners.drop(2, b"\1k\2%02d" % (turn % 100))
    assert len(owners._keys) == 1
    assert not any(owners._buckets)
    owners.drop(2, b"\1k\1x")


def test_a_hundred_thousand_endpoints_take_two_megabytes():
    owners = Owners()
    for turn in range(100_000):
        owners.add(0x0A80_0000 + turn, b"\x07service%05d" % (turn // 10))
    rows = sum(map(len, owners._buckets))
    assert rows == 800_000
    assert max(map(len, owners._buckets)) < 64 * 8
    assert owners.of(0x0A80_0000 + 54_321) == (b"\x07service05432",)
    assert owners.of(0x0A7F_FFFF) == ()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(ADDRESSES + NEIGHBOURS), st.sampled_from(KEYS)), max_size=60))
@settings(max_examples=150)
def test_it_does_what_a_dict_of_lists_does(steps):
    """Property: whatever is added and dropped."""
    owners, model = Owners(), {}
    for add, address, key in steps:
        known = model.setdefault(address, [])
        if add:
            owners.add(number(address), key)
            known += [key] if key not in known else []
        else:
            owners.drop(number(address), key)
            model[address] = [one for one in known if one != key]
        assert {each: list(owners.of(number(each))) for each in ADDRESSES + NEIGHBOURS} == {
            each: model.get(each, []) for each in ADDRESSES + NEIGHBOURS
        }
