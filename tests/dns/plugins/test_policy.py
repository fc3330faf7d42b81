"""In which order upstreams are tried: FWD-10."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.plugins.policy import policy


def test_sequential_is_the_listed_order():
    order = policy("sequential", random.Random(1))
    assert list(order([1, 2, 3])) == [1, 2, 3]


def test_round_robin_begins_with_the_next_each_time():
    order = policy("round_robin", random.Random(1))
    assert [list(order([1, 2, 3])) for _ in range(4)] == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


def test_random_is_a_fresh_permutation():
    order = policy("random", random.Random(1))
    assert {tuple(order([1, 2, 3])) for _ in range(200)} == {(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)}


@pytest.mark.parametrize("name", ["random", "round_robin", "sequential"])
@given(ones=st.lists(st.integers(), max_size=8))
def test_every_policy_tries_all(name, ones):
    assert sorted(policy(name, random.Random(2))(ones)) == sorted(ones)
