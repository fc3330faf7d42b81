"""SCTP as far as the laboratory speaks it: checksum, packets, and the handshake (RFC 9260)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.proxy.demo.lab_sctp import COOKIE_ACK, COOKIE_ECHO, DATA, INIT, INIT_ACK, Association, Segment, answer, crc32c, decode

PORTS = st.integers(0, 65535)
WORDS = st.integers(0, 2**32 - 1)
CHUNKS = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=4).map(tuple)


@pytest.mark.parametrize(("text", "checksum"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)])
def test_checksum_of_the_published_examples(text, checksum):
    """RFC 3720, B.4, and the check value of CRC-32C."""
    assert crc32c(text) == checksum


@given(source_port=PORTS, port=PORTS, tag=WORDS, chunks=CHUNKS)
@settings(max_examples=100)
def test_what_is_encoded_is_decoded(source_port, port, tag, chunks):
    segment = Segment(source_port, port, tag, chunks)
    assert decode(segment.encode()) == segment


@given(st.binary(max_size=80))
@settings(max_examples=100)
def test_any_bytes_are_decoded_or_refused(text):
    assert decode(text) is None or isinstance(decode(text), Segment)


@given(at=st.integers(0, 31), flip=st.integers(1, 255))
@settings(max_examples=100)
def test_a_changed_byte_is_noticed(at, flip):
    """NAT changes ports and must make the checksum anew: a packet whose checksum does not fit is no packet."""
    text = bytearray(Association(1000, 80, 7).open())
    text[at] ^= flip
    assert decode(bytes(text)) is None


def test_a_whole_association():
    client = Association(20001, 80, 0xABCD)
    first = decode(client.open())
    assert [kind for kind, _ in first.chunks] == [INIT]
    assert first.tag == 0
    accepted = decode(answer(first, b"n1p1"))
    assert [kind for kind, _ in accepted.chunks] == [INIT_ACK]
    assert (accepted.source_port, accepted.port, accepted.tag) == (80, 20001, 0xABCD)
    text, said = client.receive(accepted)
    assert said == b""
    echo = decode(text)
    assert [kind for kind, _ in echo.chunks] == [COOKIE_ECHO]
    last = decode(answer(echo, b"n1p1"))
    assert [kind for kind, _ in last.chunks] == [COOKIE_ACK, DATA]
    text, said = client.receive(last)
    assert said == b"n1p1"
    assert answer(decode(text), b"n1p1") == b""


def test_a_packet_of_another_association_is_ignored():
    client = Association(20001, 80, 0xABCD)
    stray = decode(answer(decode(Association(20001, 80, 0x1234).open()), b"x"))
    assert client.receive(stray) == (b"", b"")


def test_a_cookie_that_does_not_belong_to_the_tag_gets_no_answer():
    assert answer(Segment(1, 2, 5, ((COOKIE_ECHO, bytes(8)),)), b"x") == b""
    assert answer(Segment(1, 2, 5, ((COOKIE_ECHO, b"short"),)), b"x") == b""
