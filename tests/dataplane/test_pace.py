"""When runs start: a lone change at once, a storm slower and slower, never closer than needed (PROC-20)."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.pace import HOUR, Pace


def ran(pace, start, seconds, *, failed=False, storm=False):
    pace.start(start)
    if storm:
        pace.request(start + seconds / 2)
    pace.finish(start + seconds, failed=failed)


def test_nobody_asked_nothing_runs():
    assert Pace(1.0).next_time() == inf


def test_the_first_run_and_a_lone_change_start_at_once():
    pace = Pace(1.0)
    pace.request(5.0)
    assert pace.next_time() == 5.0
    ran(pace, 5.0, 0.5)
    pace.request(60.0)
    assert pace.next_time() == 60.0


def test_under_a_storm_the_wait_is_as_long_as_the_last_run():
    pace = Pace(1.0)
    ran(pace, 0.0, 0.25, storm=True)
    pace.request(0.3)
    assert pace.next_time() == 0.5


def test_the_wait_grows_while_a_storm_goes_on_and_is_short_again_after_it():
    pace = Pace(10.0)
    waits = []
    start = 0.0
    for _ in range(9):
        ran(pace, start, 0.25, storm=True)
        waits.append(pace.next_time() - start - 0.25)
        start = pace.next_time()
    assert waits == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 1.75, 1.75]
    ran(pace, start, 0.25)
    pace.request(start + 1.0)
    assert pace.next_time() == start + 1.0
    ran(pace, start + 1.0, 0.25, storm=True)
    assert pace.next_time() == start + 1.5


def test_what_comes_while_a_run_waits_is_of_the_same_storm():
    pace = Pace(10.0)
    ran(pace, 0.0, 0.25, storm=True)
    pace.request(0.3)
    ran(pace, 0.5, 0.25)
    pace.request(0.8)
    assert pace.next_time() == 1.25


def test_a_lone_change_hard_upon_the_last_does_not_wait():
    pace = Pace(1.0)
    ran(pace, 0.0, 0.25, storm=True)
    ran(pace, 0.5, 0.25)
    pace.request(0.76)
    assert pace.next_time() == 0.76


def test_proc_20_min_sync_period_bounds_the_wait_between_end_and_next_start():
    pace = Pace(1.0)
    ran(pace, 0.0, 20.0, storm=True)
    assert pace.next_time() == 21.0


def test_without_min_sync_period_there_is_no_wait():
    pace = Pace(0.0)
    ran(pace, 0.0, 20.0, storm=True)
    assert pace.next_time() == 20.0


def test_proc_20_requests_coalesce_into_one_run():
    pace = Pace(1.0)
    for when in (3.0, 2.0, 4.0):
        pace.request(when)
    assert pace.next_time() == 2.0
    pace.start(2.0)
    assert pace.next_time() == inf


def test_a_request_during_a_run_is_not_lost():
    pace = Pace(1.0)
    pace.start(0.0)
    pace.request(0.1)
    pace.finish(0.4)
    assert pace.next_time() == 0.8


def test_proc_20_there_is_a_run_every_hour():
    pace = Pace(1.0)
    ran(pace, 0.0, 1.0)
    assert pace.next_time() == 1.0 + HOUR


def test_proc_20_a_failed_run_is_repeated_soon_then_less_often():
    pace, now, waits = Pace(1.0), 0.0, []
    for _ in range(12):
        ran(pace, now, 0.0, failed=True)
        waits.append(round(pace.next_time() - now, 6))
        now = pace.next_time()
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
    ran(pace, now, 0.0)
    ran(pace, now, 0.0, failed=True)
    assert round(pace.next_time() - now, 6) == 0.1


def test_a_request_hastens_a_repetition_but_does_not_hammer():
    pace = Pace(1.0)
    for _ in range(8):
        ran(pace, 0.0, 0.0, failed=True)
    pace.request(0.0)
    assert pace.next_time() == 1.0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3), st.booleans()), max_size=40), st.floats(0, 2))
def test_in_a_storm_at_most_half_of_the_time_is_spent_running_unless_runs_are_longer_than_the_bound(storm, shortest):
    pace, now = Pace(shortest), 0.0
    for wait, seconds, failed in storm:
        pace.request(now + wait)
        start = max(now, pace.next_time())
        assert start <= now + max(wait, shortest)
        ran(pace, start, seconds, failed=failed, storm=True)
        now = start + seconds
        pace.request(now)
        assert pace.next_time() - now >= min(shortest, seconds) - 1e-9
        pace.start(now)
        pace.finish(now)


@given(st.floats(0, 1e9))
def test_a_clock_that_jumps_ahead_delays_nothing(jump):
    """After a suspend the run seems to have taken hours; the next one still waits for no longer than the bound."""
    pace = Pace(1.0)
    ran(pace, 0.0, jump, storm=True)
    pace.request(jump)
    assert jump <= pace.next_time() <= jump + 1.0
