"""Answers from bytes: what was written is read the same, and no bytes whatever lead to anything but a value or MalformedError."""

import struct

import pytest
from fakes.servers import real_keys, real_servers, virtual_keys, virtual_servers
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.ipvs import answers, wire
from pointsman.ipvs.objects import Counters, Facts, Load, ServerFlag, Statistics, Timeouts, VirtualKey, VirtualServer
from pointsman.netlink.codec import MalformedError, attribute, attributes
from pointsman.routing.route import Family, Protocol

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
HEADER = bytes([1, 1, 0, 0])
DECODERS = {
    "virtual": answers.virtual,
    "real": lambda body: answers.real(body, WEB),
    "quick real": lambda body: answers.quick_real(body, WEB),
    "timeouts": answers.timeouts,
    "facts": answers.facts,
}


@given(virtual_keys(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_virtual_server_comes_back(key, data):
    server = data.draw(virtual_servers(key.family))
    assert answers.virtual(wire.new_virtual(key, server)) == answers.Virtual(key, server, Statistics())


@given(real_keys(), real_servers())
@settings(max_examples=150, deadline=None)
def test_a_real_server_comes_back(key, server):
    assert answers.real(wire.new_real(key, server), key.virtual) == answers.Real(key, server, Load(), Statistics())


@given(st.lists(st.integers(1, wire.LONGEST), min_size=3, max_size=3))
def test_timeouts_come_back(numbers):
    assert answers.timeouts(wire.set_timeouts(Timeouts(*numbers))) == Timeouts(*numbers)


def u32(number):
    return struct.pack("=I", number)


def u64(number):
    return struct.pack("=Q", number)


def content(kind, body):
    """Return the attributes inside attribute `kind` of a request."""
    return bytes(dict(attributes(body, 4))[kind])


def with_more(kind, body, more):
    return HEADER + attribute(kind, content(kind, body) + more)


WIDE = attribute(12, b"".join(attribute(kind, u64(kind + 2**40)) + attribute(11, b"") for kind in range(1, 11)))
NARROW = attribute(10, b"".join(attribute(kind, u64(kind) if kind in (4, 5) else u32(kind)) for kind in range(1, 11)))


def test_64_bit_counters_are_preferred():
    body = with_more(1, wire.new_virtual(WEB, VirtualServer()), NARROW + WIDE)
    expected = [number + 2**40 for number in range(1, 11)]
    assert answers.virtual(body).statistics == Statistics(Counters(*expected[:5]), Counters(*expected[5:]))


def test_32_bit_counters_of_an_old_kernel_are_read():
    body = with_more(1, wire.new_virtual(WEB, VirtualServer()), NARROW)
    assert answers.virtual(body).statistics == Statistics(Counters(1, 2, 3, 4, 5), Counters(6, 7, 8, 9, 10))


def test_the_load_of_a_real_server_is_read():
    body = HEADER + attribute(
        2,
        attribute(1, bytes([10, 244, 1, 7]) + bytes(12))  # the kernel always sends 16 bytes
        + attribute(2, b"\x1f\x90")
        + attribute(3, u32(0x100))  # flags above the method
        + attribute(4, u32(5))
        + attribute(7, u32(11)) + attribute(8, u32(12)) + attribute(9, u32(13)),
    )  # fmt: skip
    real = answers.real(body, WEB)
    assert (real.key.address, real.key.port, real.server.weight, real.load) == ("10.244.1.7", 8080, 5, Load(11, 12, 13))


def test_the_kernels_own_mark_is_no_part_of_the_value():
    """"Hashed" may not be sent back: a kernel told so would not enter a new server into its table."""
    flags = struct.pack("=II", 0x02 | 0x01, 0xFFFFFFFF)
    body = wire.new_virtual(WEB, VirtualServer()).replace(struct.pack("=II", 0, 0xFFFFFFFF), flags)
    assert answers.virtual(body).server.flags == ServerFlag.PERSISTENT


def test_attributes_of_the_future_are_passed_over():
    body = with_more(1, wire.new_virtual(WEB, VirtualServer()), attribute(99, b"new"))
    assert answers.virtual(body).key == WEB


def test_facts_are_read():
    body = HEADER + attribute(1, u32(0x010201)) + attribute(2, u32(4096))
    assert answers.facts(body) == Facts((1, 2, 1), 4096)


def as_kernel(key, server, load):
    """Return an answer in the order of attributes that kernels use."""
    sent = dict(attributes(content(2, wire.new_real(key, server))))
    sent |= {1: bytes(sent[1]).ljust(16, b"\0"), 7: u32(load.active), 8: u32(load.inactive), 9: u32(load.persistent)}
    outer = {13: b"\0", 14: b"\0\0", 15: b"\0\0"}
    order = (1, 2, 3, 4, 13, 14, 15, 5, 6, 7, 8, 9, 11)
    inner = b"".join(attribute(kind, bytes((outer | sent)[kind])) for kind in order)
    return HEADER + attribute(2, inner + NARROW + WIDE)


@given(real_keys(), real_servers(), st.builds(Load, *[st.integers(0, 2**32 - 1)] * 3))
@settings(max_examples=150, deadline=None)
def test_the_quick_way_reads_what_the_slow_one_reads(key, server, load):
    for body in (as_kernel(key, server, load), wire.new_real(key, server)):
        slow, quick = answers.real(body, key.virtual), answers.quick_real(body, key.virtual)
        assert (quick.key, quick.server, quick.load) == (slow.key, slow.server, slow.load) == (key, server, slow.load)
    assert answers.quick_real(as_kernel(key, server, load), key.virtual).load == load


def test_a_mask_with_holes_counts_up_to_the_first_one():
    """Only others make these, and one odd server of theirs must not hide ours."""
    body = wire.new_virtual(WEB, VirtualServer(persistence_prefix=24)).replace(b"\xff\xff\xff\x00", b"\xff\xf0\xff\x00")
    assert answers.virtual(body).server.persistence_prefix == 12


KEY = wire.new_virtual(WEB, VirtualServer())


@pytest.mark.parametrize(
    "body",
    [
        HEADER,
        HEADER[:2],
        HEADER + attribute(1, b""),
        KEY.replace(struct.pack("=HHH", 6, 1, 2), struct.pack("=HHH", 6, 1, 3)),  # an unknown address family
        KEY.replace(struct.pack("=HHH", 6, 2, 6), struct.pack("=HHH", 6, 2, 50)),  # an unknown protocol
        KEY[:-8],
    ],
)
def test_what_cannot_be_true_is_malformed(body):
    with pytest.raises(MalformedError):
        answers.virtual(body)


@pytest.mark.parametrize("name", DECODERS)
@given(st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_a_value_or_malformed(name, raw):
    decode_or_malformed(name, HEADER + raw)


@pytest.mark.parametrize("name", DECODERS)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_flipped_and_cut_answers_are_a_value_or_malformed(name, data):
    whole = {
        "virtual": with_more(1, KEY, WIDE),
        "real": wire.new_real(data.draw(real_keys()), data.draw(real_servers())),
        "quick real": as_kernel(data.draw(real_keys()), data.draw(real_servers()), Load(1, 2, 3)),
        "timeouts": wire.set_timeouts(Timeouts(1, 2, 3)),
        "facts": HEADER + attribute(1, u32(0x010201)) + attribute(2, u32(4096)),
    }[name]
    raw = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)) if raw else ():
        raw[place] = data.draw(st.integers(0, 255))
    decode_or_malformed(name, bytes(raw))


def decode_or_malformed(name, raw):
    try:
        found = DECODERS[name](raw)
    except MalformedError:
        return
    assert found == DECODERS[name](memoryview(raw))
