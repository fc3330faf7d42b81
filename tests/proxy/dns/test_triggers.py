"""When changes were decided on (OBS-17): of headless Services, and until they are told."""

from datetime import UTC, datetime

import pytest
from fakes import objects as make
from msgspec import structs
from pointsman.kube.events import Batch, Upsert
from pointsman.kube.objects import Annotations
from pointsman.proxy.dns.triggers import Triggers
from pointsman.routing.snapshot import ServiceKey, advance

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
DB = ServiceKey("shop", "db")
HEADLESS = make.service("db", clusterIP="None")
EMPTY = make.snapshot(HEADLESS, make.service("web"))


def triggered(owner, text, address="10.0.0.1", name="a"):
    value = make.endpoint_slice(make.endpoint(address), name=name, owner=owner)
    return structs.replace(value, metadata=structs.replace(value.metadata, annotations=Annotations(text)))


def noted(triggers, before, *slices):
    after, dirty = advance(before, Batch(tuple(Upsert(each) for each in slices)))
    triggers.note(before, after, dirty.services)
    return after


def test_obs_17_a_headless_service_has_the_moments_of_its_slices():
    triggers = Triggers(NOON)
    after = noted(triggers, EMPTY, triggered("db", "2026-01-31T12:00:01Z"), triggered("db", "2026-01-31T12:00:02Z", name="b"))
    assert sorted(triggers.take({DB})) == [NOON + 1, NOON + 2]
    assert triggers.take({DB}) == ()
    noted(triggers, after, triggered("db", "2026-01-31T12:00:09Z", "10.0.0.2"))
    assert triggers.take({DB}) == (NOON + 9,)  # the other slice is as it was


def test_obs_17_a_cluster_ip_has_none():
    triggers = Triggers(NOON)
    noted(triggers, EMPTY, triggered("web", "2026-01-31T12:00:01Z"))
    assert triggers.take({ServiceKey("shop", "web")}) == ()


@pytest.mark.parametrize("text", [None, "yesterday", "2026-01-31T11:59:59Z"])
def test_what_says_no_moment_or_one_before_the_start_counts_nothing(text):
    triggers = Triggers(NOON)
    noted(triggers, EMPTY, triggered("db", text))
    assert triggers.take({DB}) == ()


def test_a_slice_that_changes_again_before_it_is_told_has_waited_since_the_first_time():
    triggers = Triggers(NOON)
    after = noted(triggers, EMPTY, triggered("db", "2026-01-31T12:00:01Z"))
    noted(triggers, after, triggered("db", "2026-01-31T12:00:05Z", "10.0.0.2"))
    assert triggers.take({DB}) == (NOON + 1,)


def test_a_complete_list_is_no_change():
    triggers = Triggers(NOON)
    noted(triggers, EMPTY, triggered("db", "2026-01-31T12:00:01Z"))
    triggers.clear()
    assert triggers.take({DB}) == ()
