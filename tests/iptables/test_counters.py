"""Counters at our rules: read from a listing, and only ever growing."""

from fakes import routes as make
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pointsman.iptables import names
from pointsman.iptables.counters import INVALID_DROPPED, LOOPBACK_ACCEPTED, Tally, counted
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.static import static
from pointsman.routing.node import NodePortAddresses
from pointsman.routing.route import Family

V4 = Family.IPV4
LOOPBACK = {V4: NodePortAddresses(match_all=True, loopback=True)}


def chain(name, node):
    return static(V4, node, make.routing())[RuleKey("filter", name)].split("\n")


def listing(node, packets):
    """What iptables-save --counters prints of two chains."""
    for name in (names.FORWARD, names.SERVICES):
        yield from (f"[{packets}:{60 * packets}] -A {name} {rule}" for rule in chain(name, node))


def test_met_12_both_rules_are_found_in_a_listing() -> None:
    node = structs.replace(make.node(), node_ports=LOOPBACK)
    lines = ["*filter", ":KUBE-FORWARD - [0:0]", *listing(node, 7), "[9:9] -A FORWARD -m conntrack --ctstate INVALID -j DROP", "COMMIT"]
    assert counted(lines) == {INVALID_DROPPED: 7, LOOPBACK_ACCEPTED: 7}


def test_a_rule_that_is_not_there_counts_nothing() -> None:
    node = structs.replace(make.node(), node_ports={V4: NodePortAddresses()}, tcp_be_liberal=True)
    assert counted(listing(node, 7)) == {}


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans())))
def test_totals_only_grow_whenever_a_rule_is_written_anew(steps: list[tuple[int, bool]]) -> None:
    tally, counter, last = Tally(), 0, 0
    for packets, anew in steps:
        counter = packets if anew else counter + packets
        total = tally.read({INVALID_DROPPED: counter})[INVALID_DROPPED]
        assert total >= last
        last = total


def test_what_was_counted_before_a_restore_is_kept() -> None:
    tally = Tally()
    assert tally.read({INVALID_DROPPED: 10})[INVALID_DROPPED] == 10
    assert tally.read({INVALID_DROPPED: 3})[INVALID_DROPPED] == 13
    assert tally.read({}) == {INVALID_DROPPED: 13}
