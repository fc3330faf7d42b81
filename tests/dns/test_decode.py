"""Replies of upstreams: names made whole, everything checked."""

import contextlib

import dns.message
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.decode import MalformedError, decode, whole_name
from pointsman.dns.encode import encode
from pointsman.dns.names import wire
from pointsman.dns.question import read

SECTIONS = [
    ("answer", "www.example.com. 300 IN CNAME web.example.com."),
    ("answer", "web.example.com. 60 IN A 192.0.2.1"),
    ("answer", "example.com. 60 IN MX 10 mail.example.com."),
    ("answer", "_x._tcp.example.com. 60 IN SRV 1 2 3 mail.example.com."),
    ("answer", 'example.com. 60 IN TXT "hello" "you"'),
    ("answer", 'example.com. 60 IN CAA 0 issue "ca.example"'),
    ("authority", "example.com. 900 IN SOA ns.example.com. host.example.com. 1 2 3 4 5"),
    ("additional", "mail.example.com. 60 IN AAAA 2001:db8::1"),
]


def response():
    query = dns.message.make_query("www.example.com", "A", use_edns=0, payload=1400)
    answer = dns.message.make_response(query, recursion_available=True)
    for section, text in SECTIONS:
        owner, ttl, _, rtype, value = text.split(" ", 4)
        getattr(answer, section).append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, value))
    return query, answer


def test_what_dnspython_writes_is_read_and_written_again_with_the_same_meaning():
    query, answer = response()
    found = decode(answer.to_wire())
    assert (found.name, found.qtype, found.edns is None) == (wire("www.example.com"), 1, answer.edns < 0)
    again = dns.message.from_wire(encode(read(query.to_wire(), udp=False), found.reply))
    for section in ("answer", "authority", "additional"):
        assert getattr(again, section) == getattr(answer, section)


def test_a_ttl_with_the_top_bit_is_zero():
    """RFC 2181, section 8."""
    _, answer = response()
    raw = bytearray(answer.to_wire())
    at = raw.index((300).to_bytes(4, "big"))
    raw[at] = 0x80
    assert decode(bytes(raw)).reply.answer[0].ttl == 0


@pytest.mark.parametrize("raw", [
    b"short",
    b"\x00" * 4 + b"\x00\x02" + b"\x00" * 6,
    b"\x00" * 4 + b"\x00\x01" + b"\x00" * 6 + b"\xc0\x0c\x00\x01\x00\x01",
    b"\x00" * 4 + b"\x00\x01" + b"\x00" * 6 + b"\x01a\xc0\x0e\x00\x01\x00\x01",
    b"\x00" * 4 + b"\x00\x00\x00\x01" + b"\x00" * 4 + b"\x00\x00\x05\x00\x01\x00\x00\x00\x00\x00\x05\x01a\x00\x00\x00",
    b"\x00" * 4 + b"\x00\x00\x00\x01" + b"\x00" * 4 + b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x09a",
], ids=["short", "two questions", "self pointer", "loop", "rdata too long", "rdata cut"])  # fmt: skip
def test_what_contradicts_itself_is_told(raw):
    with pytest.raises(MalformedError):
        decode(raw)


def test_compression_loops_and_long_names_end():
    """A name may not grow beyond 255 bytes by pointers, nor go round."""
    chain = b"\x3f" + b"a" * 63
    raw = bytes(12) + chain + b"\x00" + chain + b"\xc0\x0c" + chain + b"\xc0\x4d" + chain + b"\xc0\x8f"
    with pytest.raises(MalformedError, match="255"):
        whole_name(raw, len(raw) - 66)


@given(st.data())
@settings(max_examples=200)
def test_mutated_replies_are_read_or_refused(data):
    raw = bytearray(response()[1].to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with contextlib.suppress(MalformedError):
        decode(bytes(raw[:cut]))
