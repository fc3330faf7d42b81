"""Values: durations, numbers, names of types, patterns."""

import re

import pytest
from fakes.corefiles import NOWHERE, directive, line, token
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.corefile import values
from pointsman.dns.corefile.findings import Findings, WrongError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("0", 0), ("1.5s", 1.5), ("2us", 2e-6), ("-1s", -1), ("1m0.5s", 60.5)],
)
def test_durations_are_go_s(text, expected):
    assert values.seconds(text, NOWHERE) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "30", "5 s", "s", "1d", "1h x", "--1s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(WrongError, match="is not a duration"):
        values.seconds(text, NOWHERE)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_the_parts_of_a_duration_add_up(hours, minutes, seconds):
    assert values.seconds(f"{hours}h{minutes}m{seconds}s", NOWHERE) == hours * 3600 + minutes * 60 + seconds


def test_numbers_have_bounds():
    read = values.integer(0, 3600)
    assert read(line("ttl", "3600")) == 3600
    for wrong in ("3601", "-1", "x", "1.5", "99999999999"):
        with pytest.raises(WrongError, match="from 0 to 3600"):
            read(line("ttl", wrong))


def test_cor_06_argument_counts():
    with pytest.raises(WrongError, match="Wrong argument count or unexpected line ending after 'ttl'"):
        values.integer()(line("ttl"))
    with pytest.raises(WrongError, match="after 'y'"):
        values.flag(line("keepttl", "y"))


def test_types_classes_and_codes_have_names_and_numbers():
    assert values.rtype(token("aaaa")) == 28
    assert values.rtype(token("TYPE65400")) == 65400
    assert values.rclass(token("CH")) == 3
    assert values.rcode(token("nxdomain")) == values.rcode(token("3")) == 3
    for wrong in ("TYPEx", "TYPE70000", "BOGUS"):
        with pytest.raises(WrongError, match="is not a record type"):
            values.rtype(token(wrong))


@pytest.mark.parametrize(
    ("go", "text"),
    [
        (r"^(?P<a>[0-9]+)[.]x[.]$", "12.x."),
        (r"(?<a>[0-9]+)", "7"),
        (r"^[[:alpha:]]+\z", "abc"),
        (r"(?i)ABC", "abc"),
        (r"^[[a]\z", "["),
    ],
)
def test_patterns_of_go_are_pythons(go, text):
    assert re.search(values.pattern(token(go)), text)


@pytest.mark.parametrize("text", ["(?=x)", "[[:^digit:]]", "(?!x)", "(?<=x)y", r"(a)\1", "((", "a" * 10001])
def test_patterns_that_go_does_not_have_are_refused(text):
    with pytest.raises(WrongError, match=r"regular expression|cannot be used"):
        values.pattern(token(text))


def test_a_block_notes_each_wrong_property_and_keeps_the_right_ones():
    findings = Findings()
    table = {"ttl": ("ttl", values.integer(0, 10)), "on": ("on", values.flag)}
    lines = [line("ttl", "99"), line("on"), line("gone"), line("old")]
    fields = values.block(directive("x", lines=lines), table, findings, {"old": "it was removed"})
    assert fields == {"on": True}
    assert [one.text for one in findings] == [
        "ttl 99: must be a whole number from 0 to 10",
        "unknown property 'gone' of x: it has on, ttl",
        "unknown property 'old' of x: it was removed",
    ]


def test_addresses_to_listen_on():
    assert values.address(directive("health"), ":8080") == ":8080"
    assert values.address(directive("health", "[::1]:80"), ":8080") == "[::1]:80"
    for wrong in ("8080", "localhost", "::1:80", "a:99999"):
        with pytest.raises(WrongError, match="HOST:PORT"):
            values.address(directive("health", wrong), ":8080")
