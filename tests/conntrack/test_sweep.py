"""Judging a dump at speed: the same as judging each flow for itself, whatever the dump holds and however it is cut."""

import contextlib
import errno
import struct
from collections import Counter

import pytest
from fakes.flows import SCTP, TCP, UDP, V4, V6, backend, flow, judge, route
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pointsman.conntrack import sweep as module
from pointsman.conntrack import wire
from pointsman.conntrack.classify import WRONG, FlowClass
from pointsman.conntrack.sweep import ALL, Sweep
from pointsman.netlink import codec
from pointsman.netlink.codec import MalformedError

ROUTES = (
    route(lingering=(backend("10.2.0.6"),)),
    route("web", cluster_ip="10.96.0.11", protocol=TCP, port=80, node_port=30080),
    route("six", cluster_ip="fd00:96::10", ends=(backend("fd00:2::7"),), external_ips=()),
)
DONE = codec.encode(codec.DONE, 0, 1, bytes(4))
ADDRESSES = {
    V4: ["10.96.0.10", "10.96.0.11", "192.0.2.1", "172.20.0.1", "10.2.0.7", "10.2.0.6", "10.2.0.5", "10.5.0.1"],
    V6: ["fd00:96::10", "fd00:96::11", "fd00:20::1", "fd00:2::7", "fd00:5::1"],
}


@st.composite
def entries(draw, family):
    address, port = st.sampled_from(ADDRESSES[family]), st.sampled_from([53, 80, 30053, 30080, 40000])
    client, to, at, back = (f"[{draw(address)}]:{draw(port)}" for _ in range(4))
    back = draw(st.sampled_from([back, client]))
    at = draw(st.sampled_from([at, to]))
    return flow(
        to, at, client, back=back, protocol=draw(st.sampled_from([TCP, UDP, SCTP, 1, 47])), zone=draw(st.sampled_from([0, 0, 0, 9])),
        status=draw(st.sampled_from([0, 8, 4096])),
    )  # fmt: skip


def dumped(flows):
    return [codec.encode(wire.NEW, codec.MULTI, 1, wire.create(one)) for one in flows]


@pytest.mark.parametrize("family", [V4, V6])
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_sweep_counts_and_keeps_what_single_judgements_say(family, data):
    flows = data.draw(st.lists(entries(family), max_size=30))
    wanted = data.draw(st.sampled_from([frozenset(), WRONG, ALL]))
    made = judge(*ROUTES)
    sweep = Sweep(made, family, wanted, 1000)
    messages = [*dumped(flows), DONE]
    cut = data.draw(st.integers(0, len(messages) - 1))
    assert (not sweep.datagram(b"".join(messages[:cut]))) if cut else True
    assert sweep.datagram(b"".join(messages[cut:]))
    judged = [(one, made.judge(one)) for one in flows]
    assert sweep.counts() == Counter((judgement.kind, judgement.service) for _, judgement in judged)
    assert sweep.taken == [one for one in judged if one[1].kind in wanted]
    assert sweep.unreadable == 0


def test_no_more_are_kept_than_asked_for_but_all_are_counted():
    sweep = Sweep(judge(*ROUTES), V4, WRONG, 5)
    flows = [flow(at="10.2.0.5:53", client=f"10.5.0.1:{port}") for port in range(1000, 1020)]
    assert sweep.datagram(b"".join(dumped(flows)) + DONE)
    assert (len(sweep.taken), sweep.more) == (5, 15)
    assert sweep.counts() == {(FlowClass.STALE_BACKEND, "shop/dns"): 20}


@pytest.mark.parametrize("usual", [True, False])
def test_a_sweep_of_one_protocol_passes_over_what_an_older_kernel_tells_besides(usual):
    """Kernels before 5.8 do not filter; by the routes of SCTP alone every flow of UDP would look wrong."""
    zone = 0 if usual else 9  # an entry of a zone has another shape
    flows = [flow(at="10.96.0.10:53", protocol=one, zone=zone) for one in (TCP, UDP, SCTP, 47)]
    sweep = Sweep(judge(*ROUTES), V4, ALL, 10, 17)
    assert sweep.datagram(b"".join(dumped(flows)) + DONE)
    assert sweep.counts().total() == 1
    assert [one.protocol for one, _ in sweep.taken] == [17]


def test_ends_beyond_room_are_counted_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "ROOM", 3)
    sweep = Sweep(judge(*ROUTES), V4)
    flows = [flow(at=f"10.2.1.{number}:53") for number in range(20)]
    assert sweep.datagram(b"".join(dumped(flows * 2)) + DONE)
    assert sweep.counts() == {(FlowClass.STALE_BACKEND, "shop/dns"): 40}


def test_what_was_counted_stays_when_places_are_released():
    sweep = Sweep(judge(*ROUTES), V4)
    assert sweep.datagram(b"".join(dumped([flow()])) + DONE)
    counts = sweep.counts()
    sweep.release()
    assert counts == {(FlowClass.OK, "shop/dns"): 1}
    assert sweep.counts() == {}


def test_an_error_of_the_kernel_is_told():
    with pytest.raises(OSError, match="dump of connection tracking") as caught:
        Sweep(judge(), V4).datagram(codec.encode(codec.ERROR, 0, 1, struct.pack("=i", -errno.EINTR)))
    assert caught.value.errno == errno.EINTR


@pytest.mark.parametrize("raw", [b"\x20", struct.pack("=IHHII", 8, wire.NEW, 0, 0, 0), struct.pack("=IHHII", 99, wire.NEW, 0, 0, 0)])
def test_what_is_no_message_is_refused(raw):
    with pytest.raises(MalformedError):
        Sweep(judge(), V4).datagram(raw)


def test_an_entry_that_cannot_be_read_is_counted_and_the_others_are_judged():
    broken = codec.encode(wire.NEW, 0, 1, bytes([2, 0, 0, 0]))
    foreign = codec.encode(wire.NEW, 0, 1, wire.create(flow("[fd00::1]:1", "[fd00::2]:1", "[fd00::3]:1")))
    sweep = Sweep(judge(*ROUTES), V4)
    assert sweep.datagram(broken + foreign + b"".join(dumped([flow()])) + DONE)
    assert sweep.unreadable == 2
    assert sweep.counts() == {(FlowClass.OK, "shop/dns"): 1}


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_garbage_never_does_more_than_raise(raw):
    sweep = Sweep(judge(*ROUTES), V4, ALL, 10)
    with contextlib.suppress(MalformedError, OSError):
        sweep.datagram(dumped([flow()])[0] + raw)
    assert sweep.counts()[FlowClass.OK, "shop/dns"] >= 1


def test_an_offloaded_or_marked_entry_is_read_the_long_way_if_its_shape_differs():
    """A status is not always what follows the directions; the judgement is the same."""
    body = wire.create(flow())
    status = body.index(struct.pack("=HH", 8, 3))
    moved = body[:status] + body[status + 8 :] + body[status : status + 8]
    sweep = Sweep(judge(*ROUTES), V4, ALL, 10)
    assert sweep.datagram(codec.encode(wire.NEW, 0, 1, moved) + DONE)
    assert sweep.taken[0][0] == replace(flow())
