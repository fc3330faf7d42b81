"""Frames between agent and resolver."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.facts import CLUSTER, EndpointFact, PodFact, PortFact, ServiceFact, SliceFact
from pointsman.dns.feed import (
    LIMIT,
    Answer,
    Ask,
    Change,
    Done,
    Failed,
    FeedError,
    Listener,
    Ready,
    Reload,
    Start,
    Synced,
    Unframer,
    for_agent,
    for_resolver,
    frame,
)
from pointsman.dns.tally import Sample

FACT = ServiceFact(
    "shop", "web", CLUSTER, (b"\x0a\x60\x00\x01",), (PortFact("http", "TCP", 80),),
    slices=(SliceFact((PortFact("http", "TCP", 8080),), (EndpointFact(b"\x0a\x00\x00\x01", "h", "t", "z"),), "c"),),
)  # fmt: skip
TOLD = [
    Start((Listener(3, "udp", "127.0.0.1", 53, 53),), "/etc/Corefile", local=("10.96.0.10",)),
    Change(services=(FACT,), services_gone=(("a", "b"),), namespaces=("shop",),
           pods=(PodFact("a", "b", "10.0.0.1", (b"\x0a\x00\x00\x01",)),), serial=7, begin=True),
    Synced(), Reload(), Ask(1, "explain", "web", "A", "10.0.0.1"),
]  # fmt: skip
SAID = [Ready(synced=True), Answer(1, (Sample("m", ("a",), (1.0,)),), (("a", "b"),)), Done(3), Failed("why")]


@pytest.mark.parametrize("value", TOLD, ids=lambda value: type(value).__name__)
def test_what_the_agent_says_arrives(value):
    assert for_resolver(frame(value)[4:]) == value


@pytest.mark.parametrize("value", SAID, ids=lambda value: type(value).__name__)
def test_what_the_resolver_says_arrives(value):
    assert for_agent(frame(value)[4:]) == value


@given(st.lists(st.integers(1, 50), min_size=1))
@settings(max_examples=100)
def test_frames_come_whole_however_the_stream_is_cut(cuts):
    stream = b"".join(frame(value) for value in TOLD)
    unframer, found, at = Unframer(), [], 0
    for cut in cuts * (len(stream) // sum(cuts) + 1):
        found += unframer.bodies(stream[at : at + cut])
        at += cut
    assert [for_resolver(body) for body in found] == TOLD


def test_a_length_that_cannot_be_is_an_error():
    with pytest.raises(FeedError):
        list(Unframer().bodies((LIMIT + 1).to_bytes(4, "big")))


@pytest.mark.parametrize("body", [b"", b"\x01", frame(Ready(synced=True))[4:]])
def test_what_is_not_for_the_resolver_is_an_error(body):
    with pytest.raises(FeedError):
        for_resolver(body)
    with pytest.raises(FeedError):
        for_agent(b"\xc1")
