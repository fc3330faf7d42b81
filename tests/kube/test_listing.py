"""A list that is cut while it arrives holds what the whole body holds."""

import json

import pytest
from fakes.apiserver import FakeApi
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube import listing
from pointsman.kube.listing import Listed
from pointsman.kube.objects import Kind
from pointsman.kube.stream import GarbledError, read_page

NASTY = ["", "plain", '},{"metadata":', '"items":[', '\\"},{"metadata":', "\\", '"', "}]}", "ünïcode\n"]


DEEP = [None, [{"metadata": {}}, {"metadata": {"a": 1}}], [{}]]


def body(items, kind="Service", **meta):
    return json.dumps({"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"} | meta, "items": items},
                      separators=(",", ":")).encode()


def item(number, text="", deep=None):
    more = {} if deep is None else {"deep": deep}
    meta = {"name": f"s{number}", "namespace": "default", "annotations": {"x": text}}
    return {"metadata": meta, "spec": {"ports": [{"port": number}]}, **more}


def read(whole, size=10, kind=Kind.SERVICE):
    """Return the outcomes and version of a body that comes in parts."""
    reader, outcomes = Listed(kind), []
    for start in range(0, len(whole), size):
        outcomes += reader.feed(whole[start:start + size])
    page = reader.finish()
    return [*outcomes, *page.outcomes], page.version


ITEMS = st.lists(
    st.builds(item, st.integers(1, 70000), st.sampled_from(NASTY), st.sampled_from(DEEP)),
    max_size=6,
)


@settings(max_examples=150)
@given(ITEMS, st.integers(1, 300), st.booleans())
def test_the_cuts_change_nothing(items, size, compact):
    """Property: also with seams within objects and strings, in any parts, and with blanks as a proxy might write them."""
    whole = body(items) if compact else json.dumps(json.loads(body(items))).encode()
    expected = read_page(Kind.SERVICE, whole)
    assert read(whole, size) == (list(expected.outcomes), expected.version)


def test_objects_are_given_out_as_they_come():
    whole = body([item(number) for number in range(100)])
    reader = Listed(Kind.SERVICE)
    early = reader.feed(whole[: len(whole) // 2])
    assert 45 <= len(early) <= 50
    assert len(reader._rest) < 1000


def test_broken_objects_cost_nobody_else_anything():
    outcomes, _ = read(body([item(1), item("eighty"), item(3)]))
    assert [type(one).__name__ for one in outcomes] == ["Service", "DecodeError", "Service"]


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_a_list_cut_short_is_never_complete(cut):
    whole = body([item(number) for number in range(3)])
    with pytest.raises(GarbledError):
        read(whole[: cut % len(whole)])


@pytest.mark.parametrize(
    "whole",
    [
        b"", b"{}", b"<html>", body([item(1)], "Node"), body([item(1)]) + b"x",
        body([item(1), item(2)]).replace(b'"resourceVersion":"7"', b""),
        body([item(1)], **{"continue": "more"}), body([item(1)])[:-1] + b",{}}",
    ],
)
def test_what_is_no_complete_list_of_the_kind_is_garbage(whole):
    with pytest.raises(GarbledError):
        read(whole)


@pytest.mark.parametrize("items", [[], None])
def test_empty_lists(items):
    assert read(body(items)) == ([], "7")


def test_endless_objects_are_refused(monkeypatch):
    monkeypatch.setattr(listing, "LONGEST_OBJECT", 100)
    reader = Listed(Kind.SERVICE)
    reader.feed(body([item(1)])[:-10])
    with pytest.raises(GarbledError, match="larger than"):
        reader.feed(b"x" * 100)


def test_a_real_servers_list_is_cut():
    api = FakeApi()
    for name in ("a", "b", "c"):
        api.service(name)
    outcomes, version = read(json.dumps(json.loads(api.get("/api/v1/services", {})), separators=(",", ":")).encode())
    assert ([one.metadata.name for one in outcomes], version) == (["a", "b", "c"], "103")
