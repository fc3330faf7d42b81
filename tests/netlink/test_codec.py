"""Netlink bytes: what was encoded is decoded the same, and no bytes whatever lead to anything but a result or MalformedError."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.netlink import codec

BODIES = st.binary(max_size=40)
PARTS = st.tuples(st.integers(0, 0x3FFF), BODIES)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), BODIES), max_size=5))
def test_messages_come_back(parts):
    datagram = b"".join(codec.encode(*part) for part in parts)
    assert [(m.type, m.flags, m.sequence, bytes(m.body)) for m in codec.messages(datagram)] == parts


@given(st.lists(PARTS, max_size=5), BODIES)
def test_attributes_come_back_behind_the_fixed_header(parts, fixed):
    fixed += bytes(-len(fixed) % 4)
    body = fixed + b"".join(codec.attribute(*part) for part in parts)
    assert [(kind, bytes(payload)) for kind, payload in codec.attributes(body, len(fixed))] == parts


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_give_a_result_or_malformed(raw):
    for decode in (codec.messages, codec.attributes):
        try:
            found = list(decode(raw))
        except codec.MalformedError:
            continue
        assert len(found) <= len(raw) // 4 + 1


@given(st.lists(PARTS, min_size=1, max_size=4), st.data())
def test_cut_and_flipped_messages_never_reach_beyond(parts, data):
    raw = bytearray(codec.encode(3, 0, 7, b"".join(codec.attribute(*part) for part in parts)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    raw = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        for message in codec.messages(raw):
            assert len(message.body) <= len(raw) - codec.HEADER.size
            list(codec.attributes(message.body))
    except codec.MalformedError:
        pass


def test_flags_are_no_part_of_an_attributes_number():
    ((kind, payload),) = codec.attributes(codec.attribute(5 | codec.NESTED, b"abcd"))
    assert (kind, bytes(payload)) == (5, b"abcd")


@pytest.mark.parametrize("raw", [b"\x10", struct.pack("=IHHII", 15, 0, 0, 0, 0), struct.pack("=IHHII", 17, 0, 0, 0, 0)])
def test_bad_lengths_are_named(raw):
    with pytest.raises(codec.MalformedError, match=r"length|bytes left"):
        list(codec.messages(raw))


def test_a_body_shorter_than_its_header_is_malformed():
    with pytest.raises(codec.MalformedError, match="fixed header"):
        list(codec.attributes(b"ab", 4))


def test_error_numbers():
    def message(kind, body):
        return codec.Message(kind, 0, 0, 0, memoryview(body))

    assert codec.error_number(message(codec.ERROR, struct.pack("=i", -2))) == 2
    assert codec.error_number(message(codec.DONE, b"")) == 0
    with pytest.raises(codec.MalformedError):
        codec.error_number(message(codec.ERROR, b"ab"))


def test_text_ends_at_the_first_zero_and_bears_any_byte():
    assert codec.text(memoryview(b"nat\0x")) == "nat"
    assert codec.text(memoryview(b"\xff")) == "\N{REPLACEMENT CHARACTER}"


def test_a_payload_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at most 65531"):
        codec.attribute(1, bytes(65532))
