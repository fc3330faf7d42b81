"""Histograms: cumulative, inclusive, and with kube-proxy's bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.proxy.histogram import PROGRAMMING_BOUNDS, SYNC_BOUNDS, Histogram


def test_met_01_bounds_are_kube_proxys_and_written_as_it_writes_them() -> None:
    texts = [bound for bound, _ in Histogram.of(SYNC_BOUNDS).buckets()]
    assert texts == [
        "0.001", "0.002", "0.004", "0.008", "0.016", "0.032", "0.064", "0.128", "0.256", "0.512",
        "1.024", "2.048", "4.096", "8.192", "16.384", "+Inf",
    ]  # fmt: skip


def test_met_04_bounds_are_kube_proxys() -> None:
    texts = [bound for bound, _ in Histogram.of(PROGRAMMING_BOUNDS).buckets()]
    assert texts[:5] == ["0", "0.25", "0.5", "1", "2"]
    assert texts[61:65] == ["59", "60", "65", "70"]
    assert texts[-9:] == ["115", "120", "150", "180", "210", "240", "270", "300", "+Inf"]
    assert len(texts) == 3 + 59 + 12 + 7 + 1


def test_a_bound_is_inclusive() -> None:
    one = Histogram.of((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 7.0, -3.0):
        one.observe(value)
    assert one.buckets() == [("1", 2.0), ("2", 4.0), ("+Inf", 5.0)]
    assert one.sum == 11.5


@given(st.lists(st.floats(0, 400)), st.lists(st.floats(0, 400)))
def test_two_added_are_what_one_would_have_seen(left: list[float], right: list[float]) -> None:
    one, other, both = (Histogram.of(PROGRAMMING_BOUNDS) for _ in range(3))
    for value in left:
        one.observe(value)
    for value in right:
        other.observe(value)
    for value in left + right:
        both.observe(value)
    added = one.copy() + other
    assert added.counts == both.counts
    assert added.sum == pytest.approx(both.sum)
    assert added.total == len(left) + len(right)
    for value, (bound, count) in zip((1.0, 60.0), [both.buckets()[3], both.buckets()[62]], strict=True):
        assert float(bound) == value
        assert count == sum(one <= value for one in left + right)


def test_histograms_of_different_kinds_are_not_added() -> None:
    with pytest.raises(ValueError, match="different bounds"):
        Histogram.of((1.0,)) + Histogram.of((2.0,))
