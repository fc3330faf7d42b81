import pytest
from pointsman.kube.objects import Annotations, ObjectMeta, Service
from pointsman.routing.notices import Notes
from pointsman.routing.weights import EVEN, NO_CHOICE, Choice, Weights, scheduler, weights


def judged(**annotations):
    notes = Notes("Service shop/web")
    service = Service(ObjectMeta("web", "shop", annotations=Annotations(**annotations)))
    return scheduler(service, notes), weights(service, notes), notes.notices()


def test_without_annotations_all_weigh_the_same():
    notes = Notes("Service shop/web")
    service = Service(ObjectMeta("web", "shop"))
    assert (scheduler(service, notes), weights(service, notes), notes.notices()) == (NO_CHOICE, EVEN, ())
    assert EVEN.of("canary", "n1", "zone-a") == 1


def test_the_most_exact_entry_counts():
    _, found, notices = judged(ipvs_weights="zone:a=3, node:n2=0,share:canary=7")
    assert found == Weights({"a": 3}, {"n2": 0}, {"canary": 7})
    assert not notices
    assert [found.of("", "n1", "a"), found.of("", "n2", "a"), found.of("canary", "n2", "a"), found.of("", "n1", "b")] == [3, 0, 7, 1]


@pytest.mark.parametrize("entry", ["zone:a", "zone:a=", "zone:a=-1", "zone:a=65536", "rack:r1=3", "=3", "zone:=3", "zone:a=٣"])
def test_what_cannot_be_read_loses_itself_only(entry):
    _, found, [notice] = judged(ipvs_weights=f"{entry}, node:n1=5")
    assert found == Weights({}, {"n1": 5}, {})
    assert repr(entry) in notice.text


def test_a_scheduler_is_one_that_exists():
    assert judged(ipvs_scheduler="mh")[0] == Choice("mh")
    choice, _, [notice] = judged(ipvs_scheduler="fancy")
    assert choice == NO_CHOICE
    assert "'fancy' is no scheduler" in notice.text


@pytest.mark.parametrize("text", ["mh,mh-port,mh-fallback", " mh mh-fallback, mh-port ", "mh, mh-port mh-fallback mh-port"])
def test_flags_stand_behind_their_scheduler(text):
    choice, _, notices = judged(ipvs_scheduler=text)
    assert choice == Choice("mh", ("mh-fallback", "mh-port"))
    assert not notices


@pytest.mark.parametrize(("text", "choice", "told"), [
    ("mh, sh-port, mh-fallback", Choice("mh", ("mh-fallback",)), "it knows mh-fallback and mh-port"),
    ("wrr, mh-port", Choice("wrr"), "it knows none"),
])
def test_a_flag_that_the_scheduler_lacks_loses_itself_only(text, choice, told):
    found, _, [notice] = judged(ipvs_scheduler=text)
    assert found == choice
    assert told in notice.text
