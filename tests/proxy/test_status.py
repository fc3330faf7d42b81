"""Status as data: what is wanted, applied, late and failing; monotonic inside, wall clock for people."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pointsman.dataplane.contract import ForeignChange
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.retry import Retry
from pointsman.proxy.status import LISTED, SUSPECTS, FamilyProgress
from pointsman.routing.route import Family

WALL = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def report(progress, now, wall=WALL, pending=(), retry=None):
    return progress.report(now, wall, len(pending), (retry or Retry()).failing)


def test_before_anything_was_offered_nothing_is_claimed():
    status = report(FamilyProgress(Family.IPV6), 5.0)
    assert (status.family, status.revision_wanted, status.revision_applied) == ("IPv6", None, None)
    assert (status.in_sync_since, status.last_updated, status.apply.last_at) == (None, None, None)
    assert status.late_seconds <= 60.0


def test_hlt_01_the_start_of_the_loop_counts_as_an_update():
    progress = FamilyProgress(Family.IPV4)
    progress.started(100.0)
    assert report(progress, 110.0).last_updated == WALL - timedelta(seconds=10)


def test_hlt_01_a_change_is_late_after_twice_the_sync_period_counted_from_the_oldest():
    progress = FamilyProgress(Family.IPV4)
    progress.offered(1, 100.0)
    progress.offered(2, 150.0)
    assert report(progress, 160.0).pending_seconds == 60.0
    assert report(progress, 160.0).late_seconds <= 60.0
    assert report(progress, 160.1).late_seconds > 60.0


def test_trap_10_an_idle_family_stays_healthy_for_ever():
    progress = FamilyProgress(Family.IPV4)
    progress.offered(1, 100.0)
    progress.taken()
    progress.settled(101.0)
    status = report(progress, 1e6)
    assert status.late_seconds <= 60.0
    assert (status.revision_applied, status.pending_since) == (1, None)


def test_what_is_offered_during_a_run_is_not_applied_by_it():
    progress = FamilyProgress(Family.IPV4)
    progress.offered(1, 100.0)
    progress.taken()
    progress.offered(2, 105.0)
    assert report(progress, 110.0).pending_seconds == 10.0
    progress.settled(110.0)
    status = report(progress, 110.0)
    assert (status.revision_wanted, status.revision_applied, status.pending_seconds) == (2, 1, 5.0)


def test_a_run_that_could_not_finish_leaves_the_oldest_change_pending():
    progress = FamilyProgress(Family.IPV4)
    progress.offered(1, 100.0)
    progress.taken()
    progress.offered(2, 105.0)
    progress.taken()
    assert progress.pending_since == 100.0


def test_drift_is_pending_from_the_moment_it_is_seen():
    progress = FamilyProgress(Family.IPV4)
    progress.noticed(ForeignChange("table nat", "firewalld"), 99.0)
    progress.drifted(7, 100.0)
    status = report(progress, 104.0)
    assert status.pending_seconds == 4.0
    assert (status.foreign.noticed, status.foreign.repaired_keys, status.foreign.last_culprit) == (1, 7, "firewalld")
    assert status.foreign.last_at == WALL - timedelta(seconds=5)


def test_suspects_are_those_noticed_since_the_last_repair_each_once_and_only_a_few():
    progress = FamilyProgress(Family.IPV4)
    for number in range(100):
        progress.noticed(ForeignChange("table nat", f"program {number // 2}"), 1.0)
    assert [change.culprit for change in progress.suspects()] == [f"program {number}" for number in range(SUSPECTS)]
    assert progress.suspects() == ()


def test_in_sync_since_is_the_time_since_when_nothing_has_been_pending():
    progress = FamilyProgress(Family.IPV4)
    progress.compared(100.0, pending=False)
    progress.compared(200.0, pending=False)
    assert report(progress, 300.0).in_sync_since == WALL - timedelta(seconds=200)
    progress.compared(300.0, pending=True)
    assert report(progress, 300.0).in_sync_since is None


def test_what_others_changed_was_not_in_sync_until_it_is_repaired():
    progress = FamilyProgress(Family.IPV4)
    progress.compared(100.0, pending=False)
    progress.drifted(3, 200.0)
    assert report(progress, 201.0).in_sync_since is None
    progress.compared(202.0, pending=False)
    assert report(progress, 300.0).in_sync_since == WALL - timedelta(seconds=98)


def test_writes_are_counted_with_the_last_ones_duration_and_error():
    progress = FamilyProgress(Family.IPV4)
    progress.wrote(100.0, 100.5, "xtables lock: held by kubelet")
    assert report(progress, 101.0).apply.last_error == "xtables lock: held by kubelet"
    progress.wrote(101.0, 101.25)
    apply = report(progress, 102.0).apply
    assert (apply.total, apply.last_seconds, apply.last_error) == (2, 0.25, "")
    assert apply.last_at == WALL - timedelta(seconds=0.75)


def test_failing_keys_are_told_with_error_age_and_next_try():
    retry = Retry()
    retry.failed("chain KUBE-SVC-1", KernelError(ErrorKind.INVALID, "no such match"), 100.0)
    retry.failed("chain KUBE-SVC-1", KernelError(ErrorKind.INVALID, "line 7: no such match", "nat"), 101.0)
    (failing,) = report(FamilyProgress(Family.IPV4), 102.0, retry=retry).failing
    assert (failing.subject, failing.kind, failing.text, failing.attempts) == (
        "chain KUBE-SVC-1", "invalid", "nat: line 7: no such match", 2,
    )  # fmt: skip
    assert failing.since == WALL - timedelta(seconds=2)
    assert failing.next_try == WALL - timedelta(seconds=0.8)


def test_thousands_of_failing_keys_are_counted_but_not_listed():
    retry = Retry()
    for number in range(1000):
        retry.failed(number, KernelError(ErrorKind.BUSY, "locked"), float(number))
    status = report(FamilyProgress(Family.IPV4), 2000.0, pending=range(1000), retry=retry)
    assert (status.failing_keys, len(status.failing), status.pending_keys) == (1000, LISTED, 1000)
    assert status.failing[0].subject == "0"


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(0), timedelta(hours=1)])
def test_a_jump_of_the_wall_clock_changes_no_judgement(jump):
    """Only the times that people read move with it."""
    progress = FamilyProgress(Family.IPV4)
    progress.offered(1, 100.0)
    status = report(progress, 110.0, WALL + jump)
    assert status.pending_seconds == 10.0
    assert status.pending_since == WALL + jump - timedelta(seconds=10)


def test_the_status_is_json_with_utc_times():
    progress = FamilyProgress(Family.IPV4)
    progress.started(100.0)
    seen = json.loads(report(progress, 100.0, WALL.astimezone(timezone(timedelta(hours=2)))).json())
    assert seen["lastUpdated"] == "2026-01-31T12:00:00Z"
    assert {"revisionWanted", "revisionApplied", "inSyncSince", "pendingSeconds", "failing", "foreign", "apply"} <= set(seen)
