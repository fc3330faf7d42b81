"""Places of a template that are filled in, and those that are refused."""

import pytest
from pointsman.dns.corefile.places import Field, parts


def test_the_plain_forms_are_understood():
    text = 'ip-{{ .Group.a }}.{{.Name}} {{ index .Match 1 }} {{ .Question.Name }} {{ index .Group "b" }}'
    assert parts(text) == (
        "ip-", Field(group="a"), ".", Field("Name"), " ", Field(number=1), " ", Field("Name"), " ", Field(group="b"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "place", ['{{ .Meta "x" }}', "{{ .Name | printf }}", "{{ if .Name }}", "{{ .Message }}", "{{ parseInt .Group.a 16 8 }}"]
)
def test_cor_30_what_would_change_answers_is_refused_and_shown(place):
    with pytest.raises(ValueError, match="fills in") as caught:
        parts(f"a {place} b")
    assert place in str(caught.value)


def test_a_place_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="never closed"):
        parts("{{ .Name")


def test_text_without_places_stays_text():
    assert parts("{ braces } stay") == ("{ braces } stay",)
    assert parts("") == ()
