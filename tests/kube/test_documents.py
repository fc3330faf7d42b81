"""Files' content: documents, what they hold, and lines."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.decode import DecodeError, Unread
from pointsman.kube.documents import Document, path_of, read, split_json, split_yaml
from pointsman.kube.objects import Kind

SERVICE = b"apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  ports:\n  - port: %s\n"
JSON_SERVICE = b'{"apiVersion": "v1", "kind": "Service",\n "metadata": {"name": "%s"},\n "spec": {"ports": [\n  {"port": %s}]}}\n'


def findings(documents: Iterable[Document]) -> list[tuple[int, str]]:
    """Return line in the file and what was found, in short."""
    found = []
    for document in documents:
        for placed in read(document):
            outcome = placed.outcome
            match outcome:
                case DecodeError():
                    text = str(outcome)
                case Unread():
                    text = outcome.kind
                case _:
                    text = outcome.metadata.name
            found.append((document.line + placed.line - 1, text))
    return found


def test_a_yaml_stream_is_cut_at_its_separators() -> None:
    content = b"%YAML 1.1\n---\na: 1\n--- # two\nb: |\n  text\n   --- inside\n---\n# nothing\n---\n--- {c: 3}\n---x: 4\n"
    assert [document.line for document in split_yaml(content)] == [2, 4, 11]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# comment", b"---\n---\n", b"\xef\xbb\xbf", b"...\n", b"---"])
def test_blanks_are_no_documents(content: bytes) -> None:
    assert not list(split_yaml(content))


def test_an_empty_json_file_holds_nothing() -> None:
    assert not [*split_json(b""), *split_json(b" \n"), *split_json(b'{"apiVersion": "v1", "kind": "List", "items": []}')]


def test_a_json_list_is_cut_into_its_items() -> None:
    content = b'{"apiVersion": "v1", "kind": "NodeList",\n "items": [\n {"metadata":\n  {"name": "a"}}, null,\n\n {"metadata": {}}]}'
    documents = list(split_json(content))
    assert [(each.line, each.item) for each in documents] == [(3, 0), (4, 1), (6, 2)]
    assert {each.listed for each in documents} == {Kind.NODE}
    assert findings(split_json(content)) == [(3, "a"), (4, "Node: expected object, got nothing"), (6, "Node: metadata.name: missing")]


def test_line_numbers_count_in_the_file() -> None:
    content = b"# head\n" + SERVICE % (b"a", b"80") + b"---\n" + SERVICE % (b"b", b"'80'") + b"---\n" + SERVICE % (b"c", b"80")
    assert findings(split_yaml(content)) == [(2, "a"), (16, "Service default/b: spec.ports[0].port: expected int, got str"), (18, "c")]


def test_a_syntax_error_costs_one_document() -> None:
    content = SERVICE % (b"a", b"80") + b"---\na: b: c\n---\r\n" + SERVICE % (b"c", b"80")
    assert findings(split_yaml(content)) == [(1, "a"), (9, "not YAML: mapping values are not allowed in this context"), (11, "c")]


def test_a_document_may_begin_on_the_separator_s_line() -> None:
    node = b'--- {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}'
    content = b"---\n# first\n--- {apiVersion: v1, kind: Service, metadata: {name: 5}}\n" + node
    assert findings(split_yaml(content)) == [(3, "Service: metadata.name: expected str, got int (write it in quotes)"), (4, "n")]


def test_items_of_lists_have_their_own_lines() -> None:
    items = [(SERVICE % item).replace(b"\n", b"\n  ").rstrip() for item in ((b"a", b"80"), (b"b", b"x"))]
    content = b"apiVersion: v1\nkind: List\nitems:\n- " + b"\n- ".join(items)
    assert findings(split_yaml(content)) == [(4, "a"), (17, "Service default/b: spec.ports[0].port: expected int, got str")]


def test_json_lines_are_found_in_the_text() -> None:
    items = JSON_SERVICE % (b"a", b"80") + b",\n" + JSON_SERVICE % (b"b", b'"x"')
    content = b'{"apiVersion": "v1", "kind": "List", "items": [\n' + items + b"]}"
    wanted = [(2, "a"), (10, "Service default/b: spec.ports[0].port: expected int, got str")]
    assert findings(split_json(content)) == wanted
    assert findings(split_yaml(content)) == wanted


def test_json_values_may_follow_each_other() -> None:
    content = JSON_SERVICE % (b"a", b"80") + JSON_SERVICE % (b"b", b"null") + b'\n{"apiVersion": "v1",\n "kind": }'
    assert findings(split_json(content)) == [
        (1, "a"), (8, "Service default/b: spec.ports[0].port: missing"), (11, "not JSON: Expecting value"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b'{"apiVersion": "v1",\n\n', 3, "not JSON: Expecting property name"),
        (b"\n[1,\n 2]", 2, "expected object, got array"),
        (b'{"apiVersion": "v1",\n "kind": "\xff"}', 2, "not UTF-8"),
        (b"hello", 1, "not JSON: Expecting value"),
        (b'{"apiVersion": "v1",\n "kind": 5}', 2, "kind: expected str, got int"),
    ],
)
def test_json_that_cannot_be_read(content: bytes, line: int, text: str) -> None:
    ((where, found),) = findings(split_json(content))
    assert where == line
    assert found.startswith(text)


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"a: 1\nb: \xff", 2, "not UTF-8"),
        (b"\n- a", 2, "expected a mapping, got list"),
        (b"kind: Service", 1, "apiVersion: missing"),
        (b"apiVersion: v1\nkind: 5", 2, "kind: expected str, got int"),
        (b'{"apiVersion": "v1",\n "kind"', 2, "not YAML: "),
    ],
)
def test_yaml_that_cannot_be_read(content: bytes, line: int, text: str) -> None:
    ((where, found),) = findings(split_yaml(content))
    assert where == line
    assert found.startswith(text)


def test_paths_of_fields() -> None:
    assert path_of("spec.ports[0].port") == ("spec", "ports", 0, "port")
    assert path_of("metadata.labels[kubernetes.io/service-name]") == ("metadata", "labels", "kubernetes.io/service-name")
    assert path_of("") == ()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_any_content_is_read(seed: int, strict_json: bool) -> None:
    """Reading is total: mutated files give objects and errors with lines that exist."""
    chance = random.Random(seed)
    stream = SERVICE % (b"a", b"80") + b"---\n" + SERVICE % (b"b", b"x")
    content = bytearray(JSON_SERVICE % (b"a", b"80") if strict_json or seed % 2 else stream)
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(content) + 1)
        inserted = [b"", b"[", b"{", b"}", b"---\n", b"\xff", b"\x00", b"null", b"# ", b"- ", b'"', b"\n", b"\t", b"9" * 4400]
        content[place:place + chance.randint(0, 5)] = chance.choice(inserted)
    for line, text in findings((split_json if strict_json else split_yaml)(bytes(content))):
        assert 1 <= line <= content.count(b"\n") + content.count(b"\r") + 2
        assert text
