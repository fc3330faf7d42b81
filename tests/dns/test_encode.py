"""Replies to wire: flags, EDNS, budgets, truncation, compression; dnspython reads what we write."""

import dns.flags
import dns.message
import pytest
from dns.edns import GenericOption
from fakes.dns_cluster import query_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.encode import asks_for, encode, refuse, request, without
from pointsman.dns.names import wire
from pointsman.dns.question import AA, BADVERS, NXDOMAIN, RA, RD, Edns, Refusal, read
from pointsman.dns.reply import Record, Reply

NAME = "Web.Shop.svc.Cluster.local"


def addresses(number, owner=NAME):
    return tuple(Record(wire(owner), 1, 5, bytes((10, 0, n >> 8, n & 255))) for n in range(number))


def sent(reply, **options):
    return dns.message.from_wire(encode(query_of(NAME, **options), reply))


def test_wir_20_and_24_what_is_copied_and_what_is_ours():
    query = dns.message.make_query(NAME, "A")
    query.flags |= dns.flags.CD
    found = dns.message.from_wire(encode(read(query.to_wire()), Reply(answer=addresses(1))))
    assert found.id == query.id
    assert found.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.CD
    assert found.question[0].name.to_text() == f"{NAME}."
    assert found.answer[0].name.to_text() == f"{NAME}."


def test_wir_30_opt_is_there_if_the_query_had_one():
    assert sent(Reply()).edns == -1
    found = sent(Reply(), use_edns=0, payload=1400, want_dnssec=True)
    assert (found.edns, found.payload, bool(found.ednsflags & dns.flags.DO)) == (0, 1400, True)


def test_wir_33_only_some_options_go_back():
    options = [GenericOption(8, b"\0\1\x18\0\xc0\0\2"), *(GenericOption(code, b"12345678") for code in (3, 9, 10, 11, 12, 65001))]
    found = dns.message.from_wire(encode(query_of(NAME, use_edns=0, options=options), Reply()))
    assert [int(option.otype) for option in found.options] == [3, 9, 10, 11, 12]
    told = dns.message.from_wire(encode(query_of(NAME, use_edns=0, options=options), Reply(options=b"\x00\x03\x00\x02me")))
    assert [(int(option.otype), option.to_wire()) for option in told.options] == [(3, b"me")]


def test_options_without_some():
    assert without(b"\0\3\0\1a\0\x0b\0\0\0\x0f\0\2\0\6", {11}) == b"\0\3\0\1a\0\x0f\0\2\0\6"
    assert without(b"\0\3\0\1a\0\x0b\0\1", {11}) == b""


def test_wir_20_a_flag_that_is_not_copied():
    assert not sent(Reply(clear=RD), use_edns=0).flags & dns.flags.RD
    assert sent(Reply(clear=RD, flags=RD), use_edns=0).flags & dns.flags.RD


def test_wir_35_bufsize_lowers_the_size_that_is_told_and_used():
    found = sent(Reply(answer=addresses(80), limit=600), use_edns=0, payload=4096)
    assert found.payload == 600
    assert found.flags & dns.flags.TC


@pytest.mark.parametrize(
    ("number", "options", "fits"),
    [(29, {}, True), (30, {}, False), (70, {"use_edns": 0, "payload": 1232}, True), (76, {"use_edns": 0, "payload": 1232}, False)],
)
def test_wir_40_and_42_the_longest_prefix_that_fits(number, options, fits):
    """A record at the question's name takes 16 bytes; question and header take 44."""
    reply = Reply(answer=addresses(number), additional=addresses(1, "other.example"))
    raw = encode(query_of(NAME, **options), reply.but(additional=()))
    found = dns.message.from_wire(raw)
    assert bool(found.flags & dns.flags.TC) is not fits
    records = len(found.answer[0])
    budget = options.get("payload", 512)
    assert len(raw) <= budget
    assert records == number or len(raw) + 16 > budget


def test_wir_42_additional_goes_first_and_opt_stays():
    found = sent(
        Reply(answer=addresses(28), authority=addresses(3, "zone.example"), additional=addresses(9, "a.example")), use_edns=0, payload=512
    )
    assert len(found.answer[0]) == 28
    assert found.flags & dns.flags.TC
    assert found.edns == 0
    assert not found.additional


def test_over_tcp_everything_fits():
    query = query_of(NAME)
    raw = encode(read(request(query, 1), udp=False), Reply(answer=addresses(1000)))
    assert len(dns.message.from_wire(raw).answer[0]) == 1000


def test_wir_43_targets_of_srv_are_not_compressed_but_others_may_point_to_them():
    target = wire(f"db-0.{NAME}")
    srv = Record(wire(NAME), 33, 5, b"\x00\x00\x00\x64\x15\x38" + target)
    raw = encode(query_of(NAME, "SRV"), Reply(answer=(srv,), additional=(Record(target, 1, 5, b"\x0a\x00\x00\x01"),)))
    assert target in raw
    found = dns.message.from_wire(raw)
    assert found.answer[0][0].target == found.additional[0].name
    assert len(raw) < 44 + 12 + 6 + len(target) + len(target) + 14


def test_wir_44_long_answers_are_small_because_owners_are_pointers():
    """Stubs of musl before 1.2.4 have room for 768 bytes: there they are 44 addresses instead of 17."""
    whole = encode(read(dns.message.make_query(NAME, "A").to_wire(), udp=False), Reply(answer=addresses(44)))
    assert len(whole) <= 768
    assert len(dns.message.from_wire(whole).answer[0]) == 44


def test_wir_02_to_04_bare_refusals():
    assert refuse(Refusal(7, 0x0100 | 5 << 11, 4)) == b"\x00\x07" + (0x8104 | 5 << 11).to_bytes(2, "big") + bytes(8)
    assert refuse(Refusal(7, 0x0100, 1)) == b"\x00\x07\x81\x01" + bytes(8)


def test_wir_10_badvers_has_an_opt_of_version_0():
    question = wire(NAME) + b"\x00\x01\x00\x01"
    found = dns.message.from_wire(refuse(Refusal(7, 0x0100, BADVERS, question, Edns(1232))))
    assert (found.rcode(), found.edns, len(found.question)) == (BADVERS, 0, 1)


def test_wir_34_a_query_is_sent_on_with_its_opt():
    from dns.edns import ECSOption  # noqa: PLC0415

    raw = dns.message.make_query(NAME, "AAAA", use_edns=0, payload=1400, want_dnssec=True, options=[ECSOption("10.0.0.0", 8)]).to_wire()
    assert request(read(raw), 99)[2:] == raw[2:]


NAMES = st.sampled_from(["a.example", "b.a.example", "Example", "x.y.z", "web.shop.svc.cluster.local", ""])


@given(st.lists(st.tuples(NAMES, st.sampled_from([2, 5, 12]), NAMES), max_size=12), st.sampled_from([512, 1232, 4096]))
@settings(max_examples=150)
def test_whatever_names_are_in_it_is_read_as_it_was_meant(records, size):
    reply = Reply(NXDOMAIN, tuple(Record(wire(owner), rtype, 9, wire(target)) for owner, rtype, target in records), flags=AA | RA)
    found = dns.message.from_wire(encode(query_of("a.example", use_edns=0, payload=size), reply), one_rr_per_rrset=True)
    read_back = [(group.name.to_wire(), int(group.rdtype), group[0].target.to_wire()) for group in found.answer]
    assert read_back == [(wire(owner), rtype, wire(target)) for owner, rtype, target in records][: len(read_back)]
    assert len(read_back) == len(records) or found.flags & dns.flags.TC


def test_options_are_walked():
    assert asks_for(b"\0\x0a\0\2xx\0\3\0\0", 3)
    assert not asks_for(b"\0\x0a\0\2\0\3", 3)
    assert not asks_for(b"\0", 3)
