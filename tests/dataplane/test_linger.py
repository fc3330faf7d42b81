"""Deletions that wait for a time or for a condition."""

from math import inf

from pointsman.dataplane.contract import ABSENT, Change
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.linger import Linger
from pointsman.dataplane.plan import make


def test_a_key_lingers_until_its_time():
    linger = Linger()
    linger.hold("drain", until=10.0)
    assert linger.held(9.9) == {"drain"}
    assert linger.held(10.0) == set()
    assert linger.next_time() == 10.0


def test_a_key_lingers_until_its_condition_is_reported():
    linger = Linger()
    linger.hold("drain")
    assert linger.next_time() == inf
    assert linger.held(1e9) == {"drain"}
    linger.release("drain")
    linger.release("drain")
    assert not linger.lingering


def test_asking_again_does_not_prolong():
    """Otherwise every run of the loop would give a dead server more time."""
    linger = Linger()
    linger.hold("drain", until=10.0)
    linger.hold("drain", until=20.0)
    assert linger.lingering == {"drain": 10.0}


def test_what_lingers_is_left_out_of_plans():
    delta = Delta({}, lambda key: None)
    delta.observe({"drain": 1, "gone": 1})
    linger = Linger()
    linger.hold("drain", until=10.0)

    def changes(now):
        return make(delta, lambda key: 0, lambda key: None, linger.held(now)).changes

    assert changes(5.0) == (Change("gone", 1, ABSENT),)
    assert len(changes(11.0)) == 2
