"""Blocks of a Corefile: keys, directives, snippets and imports (COR-03 to COR-06)."""

import string

import pytest
from fakes.corefiles import errors, loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.corefile.findings import Findings
from pointsman.dns.corefile.parser import DEPTH, File, parse


def blocks(text, files=None):
    findings = Findings()
    there = files or {}
    made = parse(File("C", text), lambda pattern, _: (File(pattern, there[pattern]),) if pattern in there else "gone", {}, findings)
    shown = [
        (
            [key.text for key in block.keys],
            [(one.name, [arg.text for arg in one.args], [line.name for line in one.lines]) for one in block.directives],
        )
        for block in made
    ]
    return shown, [(one.place.line, one.text) for one in findings]


def test_cor_03_keys_go_on_after_a_comma():
    shown, wrong = blocks("a.org:53,\nb.org, c.org {\n whoami\n}\n")
    assert (shown, wrong) == ([(["a.org:53", "b.org", "c.org"], [("whoami", [], [])])], [])


def test_cor_03_a_file_with_one_block_needs_no_braces():
    assert blocks(".:53\nwhoami\nlog a b\n") == ([([".:53"], [("whoami", [], []), ("log", ["a", "b"], [])])], [])


def test_cor_03_the_brace_stands_on_the_line_of_the_keys():
    _, wrong = blocks(".:53\n{\nwhoami\n}\n")
    assert wrong[0] == (2, "the opening brace must stand on the line of the keys: move { to the end of the line above")


def test_cor_04_a_directive_has_arguments_and_properties():
    shown, wrong = blocks(". {\n cache 30 {\n  success 1 2\n  denial 3\n }\n log\n}")
    assert shown[0][1] == [("cache", ["30"], ["success", "denial"]), ("log", [], [])]
    assert not wrong


def test_cor_05_snippets_are_pasted_also_inside_a_block():
    text = "(one) {\n errors\n}\n(two) {\n success 1\n}\n. {\n import one\n cache {\n  import two\n }\n}\n"
    assert blocks(text) == ([(["."], [("errors", [], []), ("cache", [], ["success"])])], [])


def test_cor_05_files_are_pasted_at_the_top_and_in_blocks():
    files = {"in": "log\nerrors", "top": "b {\n whoami\n}\n"}
    assert blocks("a {\n import in\n}\nimport top\n", files)[0] == [
        (["a"], [("log", [], []), ("errors", [], [])]),
        (["b"], [("whoami", [], [])]),
    ]


def test_cor_05_a_missing_file_is_an_error_and_an_empty_pattern_a_warning():
    assert errors(". {\n import nothing\n whoami\n}") == [(2, "File to import not found: nothing")]
    found = loaded(". {\n import *.override\n whoami\n}")
    assert found.corefile is not None
    assert [one.text for one in found.findings] == ["No files matching import glob pattern: *.override"]


def test_cor_05_imports_that_lead_to_themselves_end():
    _, wrong = blocks("(a) {\n import a\n}\n. {\n import a\n}")
    assert wrong == [(2, "the snippet a imports itself, directly or through others: take this import out")]
    _, wrong = blocks(". {\n import f\n}", {"f": "import f\n"})
    assert any(f"deeper than {DEPTH}" in text for _, text in wrong)


def test_cor_05_snippets_that_double_end():
    """Each of twenty snippets pastes the next one twice: a million pastes are not made."""
    names = string.ascii_lowercase[:20]
    text = "".join(f"({a}) {{\n import {b}\n import {b}\n}}\n" for a, b in zip(names, names[1:] + "!", strict=True))
    _, wrong = blocks(text.replace("import !", "whoami") + ". {\n import a\n}")
    assert any("snippet imports" in one for _, one in wrong)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (". {\n whoami\n", 1, "never closed"),
        (". {\n cache {\n success 1\n", 2, "never closed"),
        (". { whoami }\n", 1, "no matching opening brace"),
        (". {\n health { lameduck 5s }\n}\n", 2, "a brace stands alone"),
        ("}\n", 1, "no matching opening brace"),
        ("a.org, {\n}\n", 1, "extra comma"),
        ("a.org,\n", 1, "ends after a comma"),
        (". {\n import\n}\n", 2, "Wrong argument count"),
        (". {\n import a b\n}\n", 2, "only one argument"),
        ("(x) {\n log\n", 1, "never closed"),
        ("(x) {\n log\n}\n(x) {\n}\n. {\n}\n", 4, "redeclaration"),
        ("{\n whoami\n}\n", 1, "needs a key"),
        ("a {\n whoami\n}\nb\nwhoami\n", 4, "only a file of one block"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, line, part):
    _, wrong = blocks(text)
    assert any(at == line and part in one for at, one in wrong), wrong


def test_one_error_does_not_hide_the_others():
    _, wrong = blocks("a, {\n cache {\n  x }\n}\nb {\n import\n}\n")
    assert {line for line, _ in wrong} >= {1, 3, 6}


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from([".:53", "{", "}", "\n", "import", "(a)", "a", "cache", "30,", '"', "forward", "#x", "kubernetes"]), max_size=40
    )
)
def test_no_text_stops_the_reading(words):
    """Property: whatever stands in a Corefile, reading ends with settings or with errors that say where."""
    found = loaded(" ".join(words).replace(" \n ", "\n"))
    assert (found.corefile is None) == any(one.error for one in found.findings)
    assert all(one.place.line >= 1 and one.text for one in found.findings)
