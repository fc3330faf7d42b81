"""What a batch changed: counted where it is dirty, with the times of the cluster's decisions."""

from datetime import UTC, datetime

import pytest
from msgspec import structs
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.objects import Annotations, Kind, ref_of
from pointsman.proxy.changes import Backlog, Changes, between, trigger_of
from pointsman.routing.route import Family
from pointsman.routing.snapshot import EMPTY, Snapshot, advance

from .views import endpoint, endpoint_slice, service

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
WEB, API = service("web", "10.96.0.10"), service("api", "10.96.0.11")
WEB_SLICE = endpoint_slice("web", endpoint("10.244.1.1", "n1"))


def triggered(value, text):
    return structs.replace(value, metadata=structs.replace(value.metadata, annotations=Annotations(text)))


def step(before: Snapshot, *events, since=0.0) -> tuple[Snapshot, Changes]:
    after, dirty = advance(before, Batch(events))
    return after, between(before, after, dirty, since)


FULL, FIRST = step(EMPTY, Replace(Kind.SERVICE, (WEB, API)), Replace(Kind.ENDPOINT_SLICE, (WEB_SLICE,)))


def test_met_05_the_first_lists_count_each_object() -> None:
    assert Changes(2, 1) == FIRST


def test_met_05_only_what_differs_counts() -> None:
    assert step(FULL, Upsert(WEB), Upsert(WEB_SLICE))[1] == Changes()
    assert step(FULL, Upsert(endpoint_slice("web", endpoint("10.244.1.2", "n1"))))[1] == Changes(0, 1)
    assert step(FULL, Remove(ref_of(WEB)), Remove(ref_of(WEB_SLICE)))[1] == Changes(1, 1)
    assert step(FULL, Replace(Kind.SERVICE, (API,)))[1] == Changes(1, 0)


def test_in_42_triggers_count_for_the_family_of_the_slice() -> None:
    four = triggered(WEB_SLICE, "2026-01-31T12:00:00.5Z")
    six = structs.replace(triggered(WEB_SLICE, "2026-01-31T12:00:01Z"), address_type="IPv6")
    six = structs.replace(six, metadata=structs.replace(six.metadata, name="web-six"))
    changes = step(FULL, Upsert(four), Upsert(six), since=NOON)[1]
    assert changes.triggers == {Family.IPV4: (NOON + 0.5,), Family.IPV6: (NOON + 1,)}


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31T11:59:59Z", "2026-01-31T12:00:30"])
def test_in_42_unreadable_and_old_triggers_are_ignored(text: str) -> None:
    assert step(FULL, Upsert(triggered(WEB_SLICE, text)), since=NOON)[1] == Changes(0, 1)


def test_in_42_a_deleted_slice_triggers_nothing() -> None:
    there, _ = step(FULL, Upsert(triggered(WEB_SLICE, "2026-01-31T12:00:00Z")))
    assert step(there, Remove(ref_of(WEB_SLICE)), since=NOON)[1] == Changes(0, 1)


def test_a_trigger_with_nanoseconds_is_read() -> None:
    assert trigger_of(triggered(WEB_SLICE, "2026-01-31T12:00:00.123456789Z")) == pytest.approx(NOON + 0.123456, abs=1e-6)
    assert trigger_of(WEB_SLICE) is None


def test_met_05_changes_wait_until_every_family_has_applied_them() -> None:
    backlog = Backlog()
    backlog.add(1, Changes(2, 1))
    backlog.add(2, Changes(0, 3))
    backlog.add(3, Changes())
    backlog.applied(None)
    assert backlog.pending() == (2, 4)
    backlog.applied(1)
    assert backlog.pending() == (0, 3)
    backlog.applied(7)
    assert backlog.pending() == (0, 0)
    assert (backlog.services_total, backlog.slices_total) == (2, 4)
