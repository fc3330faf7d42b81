"""Requests and answers as bytes: as pyroute2 writes them, read back as they were, and refused where they make no sense."""

import contextlib
import socket
import struct

import pytest
from fakes.flows import SCTP, TCP, UDP, V4, V6, flow
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pointsman.conntrack import wire
from pointsman.conntrack.flow import Direction, Flow
from pointsman.conntrack.wire import Filter
from pointsman.netlink import codec
from pointsman.netlink.codec import MalformedError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, nfct_msg

PORTS = st.integers(0, 65535)
NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def flows(draw):
    family = draw(st.sampled_from([V4, V6]))
    packed = [draw(st.ip_addresses(v=4 if family is V4 else 6)).packed for _ in range(4)]
    addresses = [socket.inet_ntop(wire.AF[family], one) for one in packed]
    protocol = draw(st.sampled_from([6, 17, 132]))
    state = {6: "ESTABLISHED", 17: "", 132: "COOKIE_WAIT"}[protocol]
    return Flow(
        family,
        protocol,
        Direction(addresses[0], addresses[1], draw(PORTS), draw(PORTS)),
        Direction(addresses[2], addresses[3], draw(PORTS), draw(PORTS)),
        status=draw(NUMBERS),
        state=state,
        timeout=draw(NUMBERS),
        mark=draw(NUMBERS),
        zone=draw(PORTS),
        identity=draw(NUMBERS),
    )


def by_library(family, **attributes):
    """Return a body as pyroute2 writes it; it leaves out the flag that says that an attribute is nested."""
    message = nfct_msg.create_from(**attributes)
    message["nfgen_family"] = wire.AF[family]
    message.encode()
    return bytes(message.data[16:])


def plain(body):
    """Return a body without the flags for nested attributes, which say nothing that the kernel needs."""
    found = bytearray(body)

    def clear(begin, end):
        while begin + 4 <= end:
            length, kind = struct.unpack_from("=HH", found, begin)
            if kind & codec.NESTED:
                struct.pack_into("=H", found, begin + 2, kind & ~codec.NESTED)
                clear(begin + 4, begin + length)
            begin += length + 3 & ~3

    clear(wire.FIXED, len(found))
    return bytes(found)


def ends(one):
    return NFCTAttrTuple(
        family=wire.AF[V6 if ":" in one.source else V4],
        saddr=one.source,
        daddr=one.destination,
        proto=17,
        sport=one.source_port,
        dport=one.destination_port,
    )


@given(flows())
@settings(max_examples=100, deadline=None)
def test_a_deletion_is_written_as_pyroute2_writes_it(one):
    one = replace(one, protocol=17, state="")
    expected = {"tuple_orig": ends(one.original), **({"zone": one.zone} if one.zone else {}), "id": one.identity}
    assert plain(wire.delete(one)) == plain(by_library(one.family, **expected))


@given(st.sampled_from([V4, V6]), NUMBERS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_filters_are_written_as_pyroute2_writes_them(family, value, mask):
    assert wire.dump(family, Filter(status=(value, mask))) == by_library(family, status=value, status_mask=mask)
    assert wire.dump(family, Filter(mark=(value, mask))) == by_library(family, mark=value, mark_mask=mask)
    assert wire.dump(family, Filter(zone=value & 0xFFFF)) == by_library(family, zone=value & 0xFFFF)
    only = NFCTAttrTuple(family=wire.AF[family], proto=17)
    only.attrs()
    asked = by_library(family, tuple_orig=only, cta_filter={"attrs": [["CTA_FILTER_ORIG_FLAGS", only.flags]]})
    assert plain(wire.dump(family, Filter(protocol=17))) == plain(asked)


@given(flows())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_and_as_pyroute2_reads_it(one):
    body = wire.create(one)
    assert wire.flow(body) == replace(one, identity=0)
    message = nfct_msg(struct.pack("=IHHII", 16 + len(body), wire.NEW, 0, 0, 0) + body)
    message.decode()
    address = "CTA_IP_V4_SRC" if one.family is V4 else "CTA_IP_V6_SRC"
    assert message.get_attr("CTA_TUPLE_ORIG").get_attr("CTA_TUPLE_IP").get_attr(address) == one.original.source
    assert message.get_attr("CTA_TUPLE_REPLY").get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_SRC_PORT") == one.reply.source_port
    assert message.get_attr("CTA_STATUS") == one.status


@given(flows())
@settings(max_examples=100, deadline=None)
def test_the_quick_reading_sees_what_the_long_one_sees(one):
    body = wire.create(replace(one, zone=0))
    message = codec.encode(wire.NEW, 0, 0, body)
    (_, kind, head, src, dst, ports, number, sport, dport, reply, rsrc, rdst, more, _, rsport, rdport, _, follows, _) = wire.TUPLES[
        one.family
    ].unpack_from(message)
    assert (kind, head, ports, reply, more, follows) == (wire.NEW, *wire.shape(one.family))
    inet = wire.AF[one.family]
    first = Direction(socket.inet_ntop(inet, src), socket.inet_ntop(inet, dst), *struct.unpack(">HH", sport + dport))
    back = Direction(socket.inet_ntop(inet, rsrc), socket.inet_ntop(inet, rdst), *struct.unpack(">HH", rsport + rdport))
    found = wire.flow(body)
    assert (number, first, back) == (found.protocol, found.original, found.reply)


def test_a_zone_of_one_direction_is_seen():
    """It stands inside the direction, where the quick reading does not look: the shape differs."""
    body = wire.create(flow())
    whole, kind = struct.unpack_from("=HH", body, 4)
    zone = codec.attribute(3, struct.pack(">H", 7))
    changed = body[:4] + struct.pack("=HH", whole + len(zone), kind) + body[8 : 4 + whole] + zone + body[4 + whole :]
    assert wire.flow(changed).zone == 7
    assert changed[:16] != wire.shape(V4)[0]


def test_the_kernel_filters_by_protocol_within_a_family():
    with pytest.raises(ValueError, match="name the family"):
        wire.dump(None, Filter(protocol=17))


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no two addresses"):
        wire.delete(replace(flow(), original=Direction("10.0.0.1", "fd00::1", 1, 2)))


@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP])
def test_a_datagram_may_hold_many(protocol):
    many = [replace(flow(client=f"10.5.0.1:{port}", protocol=protocol), timeout=5) for port in range(1000, 1010)]
    raw = b"".join(codec.encode(wire.NEW, 0, 1, wire.create(one)) for one in many)
    raw += codec.encode(codec.DONE, 0, 1, bytes(4))
    assert list(wire.flows(raw)) == many


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_garbage_is_refused_or_read(raw):
    for body in (raw, bytes([2, 0, 0, 0]) + raw):
        with contextlib.suppress(MalformedError):
            assert isinstance(wire.flow(body), Flow)


@given(flows(), st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_an_entry_that_is_cut_is_refused_or_read(one, length):
    body = wire.create(one)[:length]
    with contextlib.suppress(MalformedError):
        assert wire.flow(body).family is one.family


def test_statistics_are_read_by_number():
    body = bytes(4) + codec.attribute(1, struct.pack(">I", 7)) + codec.attribute(2, struct.pack(">I", 262144)) + codec.attribute(9, b"xx")
    assert wire.numbers(body) == {1: 7, 2: 262144}


def test_a_filter_can_be_applied_to_what_comes_as_well():
    """An older kernel ignores what it does not know."""
    one = replace(flow(protocol=UDP, zone=3), status=0b110, mark=0x12)
    for only in (Filter(), Filter(17), Filter(zone=3), Filter(status=(0b010, 0b011)), Filter(mark=(0x10, 0xF0)), Filter(17, zone=3)):
        assert only.admits(one)
    for only in (Filter(6), Filter(zone=0), Filter(status=(0b011, 0b011)), Filter(mark=(0x20, 0xF0)), Filter(17, zone=4)):
        assert not only.admits(one)
