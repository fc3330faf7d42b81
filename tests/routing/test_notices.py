"""Notes: what judges write down."""

from pointsman.routing.notices import Notes
from pointsman.routing.route import Notice, Severity


def test_notes_name_subject_field_and_severity_in_order():
    notes = Notes("Service shop/web")
    notes.suspect("b", "looks odd")
    notes.refuse("a", "is wrong")
    assert notes.notices() == (
        Notice("Service shop/web", "b", "looks odd", Severity.SUSPICIOUS),
        Notice("Service shop/web", "a", "is wrong", Severity.REFUSED),
    )
    assert str(notes.notices()[1]) == "Service shop/web: a: is wrong"


def test_a_notice_is_given_once():
    notes = Notes("Service shop/web")
    for _ in range(2):
        notes.refuse("a", "is wrong")
    assert len(notes.notices()) == 1
