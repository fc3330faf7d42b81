"""YAML as Kubernetes' tools read it, lines, and bounds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.yamltree import MAX_DEPTH, YamlError, compose, construct, line_of, scalar


def value_of(text: str) -> object:
    node = compose(text)
    return None if node is None else construct(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80), ("+5", 5), ("-0", 0), ("0777", 511), ("0o17", 15), ("0x1F", 31), ("0b11", 3), ("1_000", 1000),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("10.96", 10.96),
        ("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("Off", False),
        ("~", None), ("null", None), ("", None),
        ("10.96.0.1", "10.96.0.1"), ("fd00::1", "fd00::1"), ("2025-01-01", "2025-01-01"), ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("1:30", "1:30"), ("0x", "0x"), ("0b_", "0b_"), ("-", "-"), (".", "."),
        ("12Mi", "12Mi"), ("nope", "nope"), ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_scalars_and_keys_are_text() -> None:
    assert value_of("a: '80'\nb: \"true\"\nc: |\n  no\n80: x\ntrue: y") == {"a": "80", "b": "true", "c": "no\n", "80": "x", "true": "y"}


def test_explicit_tags() -> None:
    assert value_of("a: !!str 80\nb: !!int '80'") == {"a": "80", "b": 80}
    for tag in ("!!binary", "!!python/object:os.system", "!mine"):
        with pytest.raises(YamlError, match="not supported"):
            value_of(f"a: {tag} x")


def test_anchors_and_merge_keys() -> None:
    assert value_of("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {<<: [*x, {r: 4}]}\nd: *x") == {
        "a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}, "c": {"p": 1, "q": 2, "r": 4}, "d": {"p": 1, "q": 2},
    }


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: c: d", 2, "mapping values are not allowed"),
        ("a: 1\na: 2", 2, "key 'a' is given twice"),
        ("\na: &x [*x]", 2, "an anchor contains itself"),
        ("a: *nope", 1, "undefined alias"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("a: {<<: 5}", 1, "only a mapping can be merged"),
        ("a: [1, 2", 1, "flow sequence"),
        ("a: 1\nb: \x01", 2, "control characters"),
    ],
)
def test_errors_say_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(YamlError) as caught:
        value_of(text)
    assert caught.value.line == line
    assert reason in caught.value.reason


@pytest.mark.parametrize("text", ["- " * 200_000 + "a", "[" * 200_000, "{a: " * 200_000])
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(YamlError, match=f"deeper than {MAX_DEPTH}"):
        compose(text)


def test_aliases_of_aliases_cost_nothing() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    value = value_of(text)
    assert isinstance(value, dict)
    assert len(value) == 30


def test_lines_of_paths() -> None:
    node = compose("# head\nspec:\n  ports:\n  - port: 1\n  - name: x\n    port: 2\n")
    assert node is not None
    assert line_of(node, ()) == 2
    assert line_of(node, ("spec", "ports", 0, "port")) == 4
    assert line_of(node, ("spec", "ports", 1, "port")) == 6
    assert line_of(node, ("spec", "ports", 1, "missing")) == 5
    assert line_of(node, ("spec", "ports", 7)) == 3
    assert line_of(node, ("nothing",)) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_nothing_is_no_document(text: str) -> None:
    assert compose(text) is None


BASE = "kind: Service\nmetadata: {name: web, labels: &l {a: b}}\nspec:\n  ports:\n  - {port: 0x50, name: 'x'}\n  selector: {<<: *l}\n"
INSERTS = ["", "[", "{", "'", '"', "*", "&", "!!", ": ", "\t", "- ", "0x_", "\ud800", "\x00", "|", "%", "? ", "<<", "\n", "---\n"]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_text_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    text = BASE
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(INSERTS) + text[place + chance.randint(0, 4):]
    refusals: list[YamlError] = []
    try:
        value_of(text)
    except YamlError as error:
        refusals.append(error)
    assert all(error.line >= 1 and error.reason for error in refusals)
