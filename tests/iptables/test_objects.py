"""Keys are compared by value and sorted: what is written comes out the same each time."""

from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables.objects import RuleKey, SetKey, rules_of

WORDS = st.sampled_from(["nat", "filter", "KUBE-DST", "-j X", ""])


@given(WORDS, WORDS, WORDS)
def test_equal_keys_are_one_key(table, chain, rule):
    assert {RuleKey(table, chain, rule), RuleKey(table, chain, rule)} == {RuleKey(table, chain, rule)}
    assert RuleKey(table, chain) == RuleKey(table, chain, "")
    assert SetKey(table) == SetKey(table, "")


@given(WORDS, WORDS)
def test_a_set_is_never_taken_for_a_chain(name, element):
    assert SetKey(name, element) != RuleKey(name, element)
    assert len({SetKey(name, element): 1, RuleKey(name, element): 2}) == 2


@given(st.lists(st.builds(RuleKey, WORDS, WORDS, WORDS)))
def test_a_chain_comes_before_its_rules(keys):
    placed = sorted(set(keys))
    assert placed == sorted(placed, key=lambda key: (key.table, key.chain, key.rule))


def test_keys_are_told_as_people_would():
    assert str(RuleKey("nat", "KUBE-DST")) == "nat KUBE-DST"
    assert str(RuleKey("nat", "KUBE-DST", "-j X")) == "nat KUBE-DST: -j X"
    assert str(SetKey("POINTSMAN-HAIRPIN")) == "set POINTSMAN-HAIRPIN"
    assert str(SetKey("POINTSMAN-CLUSTER-IP", "10.96.0.1")) == "set POINTSMAN-CLUSTER-IP: 10.96.0.1"


def test_a_whole_chain_counts_its_rules_and_a_shared_one_each_key():
    assert rules_of(RuleKey("nat", "KUBE-SVC-1"), "-j A\n-j B") == 2
    assert rules_of(RuleKey("nat", "KUBE-SVC-1"), "") == 0
    assert rules_of(RuleKey("nat", "KUBE-DST-1", "-j A"), "") == 1
