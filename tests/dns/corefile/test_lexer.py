"""Words of a Corefile: COR-01 and COR-02 line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dns.corefile.findings import Findings
from pointsman.dns.corefile.lexer import lex


def words(text, environment=None):
    return [token.text for token in lex(text, "C", environment or {}, Findings())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc\n d", ["a", "b", "c", "d"]),
        ('"a b" c', ["a b", "c"]),
        ('a"b c"', ['a"b', 'c"']),
        (r'"say \"hi\" \n"', ['say "hi" \\n']),
        ('"two\nlines"', ["two\nlines"]),
        ("a#b c\nd", ["a", "d"]),
        ('"a#b"', ["a#b"]),
        ("# only\n", []),
        ("\ufeffa\r\nb\r\n", ["a", "b"]),
        ("a {\n}", ["a", "{", "}"]),
        ('""', [""]),
    ],
)
def test_cor_01_words(text, expected):
    assert words(text) == expected


def test_cor_02_environment_is_put_into_words_and_makes_no_new_ones():
    assert words("{$A} x{%A%}y {$B} {$A", {"A": "1 2 {"}) == ["1 2 {", "x1 2 {y", "", "{$A"]


def test_cor_02_a_variable_that_is_not_set_is_told():
    findings = Findings()
    lex("x\n{$GONE}", "C", {}, findings)
    (one,) = findings
    assert (one.place.line, one.error) == (2, False)
    assert "GONE is not set" in one.text


def test_a_quotation_that_never_ends_is_told_where_it_began():
    findings = Findings()
    lex('a\n"b c\nd', "C", {}, findings)
    (one,) = findings
    assert (one.place.line, one.error) == (2, True)


def test_words_know_whether_their_line_began_with_them():
    tokens = lex('a b\n"c\nd" e\nf', "C", {}, Findings())
    assert [token.first for token in tokens] == [True, False, True, False, True]
    assert [token.place.line for token in tokens] == [1, 1, 2, 3, 4]


def test_a_quoted_brace_is_no_brace():
    plain, quoted = lex('{ "}"', "C", {}, Findings())
    assert plain.opens
    assert not quoted.closes


@given(st.text(alphabet=st.sampled_from('ab"\\# \n\t{}$%\r'), max_size=60))
def test_every_text_has_words(text):
    """Property: no text stops the reading, and no unquoted word has white space."""
    for token in lex(text, "C", {}, Findings()):
        assert token.quoted or not any(character.isspace() for character in token.text)


@given(st.lists(st.text(alphabet="abc.:/-_0", min_size=1, max_size=8), max_size=12))
def test_words_between_spaces_come_back(given_words):
    assert words(" ".join(given_words)) == given_words
