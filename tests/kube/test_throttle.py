"""Requests are let through at the agreed rate, and nobody starves (CFG-07)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.throttle import Throttle


def test_a_burst_passes_and_then_the_rate_holds():
    throttle = Throttle(5, 10)
    assert [throttle.reserve(100.0) for _ in range(10)] == [0.0] * 10
    assert [round(throttle.reserve(100.0), 6) for _ in range(3)] == [0.2, 0.4, 0.6]
    assert throttle.reserve(200.0) == 0.0


def test_a_negative_rate_means_no_limit_and_zero_the_default():
    free, usual = Throttle(-1, 1), Throttle(0, 0)
    assert all(free.reserve(1.0) == 0.0 for _ in range(100))
    assert [usual.reserve(1.0) for _ in range(11)][-1] == 0.2


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 20), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate_allow(gaps, rate, burst):
    """In any span of time no more requests are sent than the burst and what the rate allows."""
    throttle, now, sent = Throttle(rate, burst), 0.0, []
    for gap in gaps:
        now += gap
        sent.append(now + throttle.reserve(now))
    for index, first in enumerate(sent):
        for count, last in enumerate(sent[index:], 1):
            assert count <= burst + (last - first) * rate + 1e-6


def test_a_clock_that_goes_backwards_does_no_harm():
    throttle = Throttle(5, 1)
    throttle.reserve(100.0)
    assert throttle.reserve(50.0) == 0.2
