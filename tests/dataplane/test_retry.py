"""Failing keys wait alone: 100 ms doubling to 30 s."""

from math import inf

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.retry import Retry, delay

BUSY = KernelError(ErrorKind.BUSY, "locked")


def test_the_wait_doubles_from_100_ms_to_30_s():
    assert [delay(failures) for failures in range(1, 12)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert delay(10_000) == 30.0


def test_a_failing_key_is_held_until_its_time_and_others_are_not():
    retry = Retry()
    first = retry.failed("a", BUSY, 10.0)
    assert (first.since, first.attempts, first.next_try) == (10.0, 1, 10.1)
    assert retry.held(10.05) == {"a"}
    assert retry.held(10.1) == set()
    second = retry.failed("a", BUSY, 10.1)
    assert (second.since, second.attempts) == (10.0, 2)
    retry.failed("b", BUSY, 20.0)
    assert retry.next_time() == second.next_try
    assert list(retry.failing) == ["a", "b"]


def test_a_key_that_succeeded_starts_anew():
    retry = Retry()
    assert retry.next_time() == inf
    retry.failed("a", BUSY, 1.0)
    assert retry.forget(["x", "a"]) == ("a",)
    assert retry.forget(["a"]) == ()
    assert retry.failed("a", BUSY, 5.0).attempts == 1
