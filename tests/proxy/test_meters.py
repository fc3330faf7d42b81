"""What a loop measures, and when it counts as stalled."""

from math import inf

from pointsman.proxy.meters import FamilyMeters


def test_met_02_runs_that_read_the_kernel_are_told_from_those_that_only_write() -> None:
    meters = FamilyMeters()
    meters.began(100.0)
    meters.looking(100.0)
    meters.looked(100.3)
    meters.ended(100.5, well=True)
    meters.began(101.0)
    meters.ended(101.002, well=False)
    assert (meters.full.total, meters.full.sum) == (1, 0.5)
    assert meters.partial.total == 1
    assert meters.synced_at == 100.5


def test_met_09_failures_count_with_the_kind_of_run() -> None:
    meters = FamilyMeters()
    meters.began(99.0)
    meters.looking(99.0)
    meters.failed()
    meters.began(100.0)
    meters.failed()
    meters.failed()
    assert (meters.full_failures, meters.partial_failures) == (1, 2)


def test_met_04_latency_ends_with_the_run_that_took_the_change() -> None:
    meters = FamilyMeters()
    meters.triggered([90.0])
    meters.taken()
    meters.triggered([95.0])
    meters.settled(100.0)
    assert (meters.programming.total, meters.programming.sum) == (1, 10.0)
    meters.taken()
    meters.settled(101.0)
    assert (meters.programming.total, meters.programming.sum) == (2, 16.0)
    meters.settled(102.0)
    assert meters.programming.total == 2


def test_a_change_whose_run_fails_counts_when_it_is_in_the_kernel_at_last() -> None:
    meters = FamilyMeters()
    meters.triggered([90.0])
    meters.taken()
    meters.taken()
    meters.settled(150.0)
    assert meters.programming.sum == 60.0


def test_pain_31_a_run_that_does_not_end_is_a_stall_and_a_loop_that_sleeps_is_none() -> None:
    meters = FamilyMeters()
    beat = meters.heartbeat
    assert beat.stalled(1e6, inf) == 0.0
    assert beat.stalled(100.0, 160.0) == 0.0
    assert beat.stalled(200.0, 160.0) == 40.0
    meters.began(100.0)
    assert beat.stalled(170.0, inf) == 70.0
    meters.ended(171.0, well=True)
    assert beat.stalled(1e6, inf) == 0.0


def test_pain_71_a_kernel_that_cannot_be_read_is_a_stall_from_the_first_failure() -> None:
    meters = FamilyMeters()
    beat = meters.heartbeat
    meters.looking(100.0)
    meters.looking(130.0)
    assert beat.stalled(161.0, 165.0) == 61.0
    meters.looked(162.0)
    assert beat.stalled(164.0, 165.0) == 0.0
    assert beat.read_at == 162.0


def test_a_run_that_could_not_read_the_kernel_did_not_go_well() -> None:
    meters = FamilyMeters()
    meters.began(100.0)
    meters.looking(100.0)
    meters.ended(101.0, well=True)
    assert meters.synced_at is None
    assert meters.full.total == 1
