"""Watch lines and list pages are believed only if they say what they are; one broken object costs nobody else anything."""

import json

import pytest
from fakes.apiserver import FakeApi, event, status
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube import stream
from pointsman.kube.decode import DecodeError
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind, ObjectRef, Service
from pointsman.kube.stream import Change, GarbledError, Lines, read_line, read_page


def service(name="web", port=80):
    return FakeApi().service(name, port)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").strip() or b"x"), max_size=20), st.data())
def test_lines_do_not_depend_on_how_they_arrive(lines, draw):
    whole = b"".join(line + b"\n" for line in lines)
    reader, got, start = Lines(), [], 0
    while start < len(whole):
        size = draw.draw(st.integers(1, 40))
        got += reader.feed(whole[start:start + size])
        start += size
    assert got == lines


def test_half_a_line_is_kept_back():
    reader = Lines()
    assert list(reader.feed(b'{"type":')) == []
    assert list(reader.feed(b'"X"}\n\n{"ty')) == [b'{"type":"X"}']


def test_a_line_without_end_is_garbage(monkeypatch):
    monkeypatch.setattr(stream, "LONGEST_LINE", 100)
    reader = Lines()
    assert list(reader.feed(b"x" * 100)) == []
    with pytest.raises(GarbledError, match="longer than"):
        list(reader.feed(b"x"))


@pytest.mark.parametrize("change", ["ADDED", "MODIFIED"])
def test_a_change_holds_its_object_and_version(change):
    line = read_line(Kind.SERVICE, event(change, service()))
    assert line.change is Change.SET
    assert line.version == "101"
    assert isinstance(line.outcome, Service)
    assert line.outcome.metadata.name == "web"


def test_a_deletion_needs_no_sound_object():
    broken = service() | {"spec": "nonsense"}
    line = read_line(Kind.SERVICE, event("DELETED", broken))
    assert (line.change, line.outcome) == (Change.DELETED, ObjectRef(Kind.SERVICE, "default", "web"))


def test_a_broken_object_comes_as_its_error():
    line = read_line(Kind.SERVICE, event("MODIFIED", service(port="eighty")))
    assert isinstance(line.outcome, DecodeError)
    assert (line.outcome.field, line.outcome.ref) == ("spec.ports[0].port", ObjectRef(Kind.SERVICE, "default", "web"))
    assert line.version == "101"


def test_bookmarks_tell_a_version_and_the_end_of_the_first_list():
    meta = {"resourceVersion": "7"}
    plain = read_line(Kind.SERVICE, event("BOOKMARK", {"kind": "Service", "metadata": meta}))
    assert (plain.change, plain.version, plain.listed) == (Change.BOOKMARK, "7", False)
    last = {**meta, "annotations": {"k8s.io/initial-events-end": "true"}}
    assert read_line(Kind.SERVICE, event("BOOKMARK", {"kind": "Service", "metadata": last})).listed


def test_the_server_may_tell_an_error_within_a_watch():
    with pytest.raises(ApiError) as caught:
        read_line(Kind.SERVICE, event("ERROR", status(429, "later", seconds=7)))
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (429, "later", 7)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"null", b"[]", b"<html>502 Bad Gateway</html>", b'{"type":"ADDED"}', b'{"type":"ADDED","object":null}',
        b'{"type":"ADDED","object":{}}', b'{"type":"WHAT","object":{"kind":"Service","metadata":{"name":"a","resourceVersion":"1"}}}',
        b'{"type":"ADDED","object":{"kind":"Node","metadata":{"name":"a","resourceVersion":"1"}}}',
        b'{"type":"ADDED","object":{"kind":"Service","metadata":{"name":"a"}}}', b'{"type":"ERROR","object":{"kind":"Service"}}',
        b'{"type":"ADDED","object":' + b"[" * 100_000, b"\xff\xfe\x00",
    ],
)
def test_what_no_server_says_is_garbage(line):
    with pytest.raises(GarbledError):
        read_line(Kind.SERVICE, line)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_nothing_but_its_own_errors_leaves_the_reading(line):
    for read in (read_line, read_page):
        try:
            read(Kind.SERVICE, line)
        except (GarbledError, ApiError):
            continue


@settings(deadline=None)
@given(st.integers(0, 400))
def test_a_list_cut_short_is_garbage(cut):
    api = FakeApi()
    api.service("a")
    body = api.get("/api/v1/services", {})
    with pytest.raises(GarbledError):
        read_page(Kind.SERVICE, body[:min(cut, len(body) - 1)])


def test_a_page_says_its_version_and_where_it_goes_on():
    api = FakeApi()
    for name in ("a", "b", "c"):
        api.service(name)
    page = read_page(Kind.SERVICE, api.get("/api/v1/services", {"limit": "2"}))
    assert [one.metadata.name for one in page.outcomes] == ["a", "b"]
    assert page.version == "103"
    rest = read_page(Kind.SERVICE, api.get("/api/v1/services", {"limit": "2", "continue": page.following}))
    assert ([one.metadata.name for one in rest.outcomes], rest.following) == (["c"], "")


def test_one_broken_object_does_not_cost_the_others():
    api = FakeApi()
    api.service("a")
    api.service("b", port="eighty")
    page = read_page(Kind.SERVICE, api.get("/api/v1/services", {}))
    assert [type(one) for one in page.outcomes] == [Service, DecodeError]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"items": []}, {"kind": "ServiceList", "items": []}, {"kind": "ServiceList", "metadata": {"resourceVersion": "1"}},
        {"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": []}, status(500),
    ],
)
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(body):
    """If it were, everything would be removed."""
    with pytest.raises(GarbledError):
        read_page(Kind.SERVICE, json.dumps(body).encode())


def test_an_empty_list_may_hold_null():
    assert read_page(Kind.SERVICE, b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":null}').outcomes == ()
