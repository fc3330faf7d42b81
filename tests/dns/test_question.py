"""Reading messages: every row of the table of what is accepted (WIR-01 to WIR-10), and that nothing else happens to mutated bytes."""

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dns.question import BADVERS, FORMERR, NOTIMP, STEPS, Query, Refusal, read

NAME = b"\x03web\x04Shop\x00"
QUESTION = NAME + b"\x00\x01\x00\x01"


def message(flags=0x0100, counts=(1, 0, 0, 0), body=QUESTION):
    return b"\x12\x34" + flags.to_bytes(2, "big") + b"".join(n.to_bytes(2, "big") for n in counts) + body


def opt(size=1232, version=0, flags=0, options=b""):
    return (
        b"\x00\x00\x29"
        + size.to_bytes(2, "big")
        + bytes((0, version))
        + flags.to_bytes(2, "big")
        + len(options).to_bytes(2, "big")
        + options
    )


def test_an_ordinary_query():
    query = read(message())
    assert isinstance(query, Query)
    assert (query.id, query.name, query.key, query.qtype, query.qclass, query.edns) == (0x1234, NAME, NAME.lower(), 1, 1, None)


@pytest.mark.parametrize("raw", [b"", b"\x00" * 11, message(flags=0x8100), message(flags=0x8000)])
def test_wir_01_answers_and_crumbs_are_dropped(raw):
    assert read(raw) is None


@pytest.mark.parametrize("opcode", [1, 2, 3, 5, 6, 15])
def test_wir_02_other_opcodes_are_not_implemented(opcode):
    assert read(message(flags=opcode << 11)) == Refusal(0x1234, opcode << 11, NOTIMP)


@pytest.mark.parametrize(
    "options",
    [b"\0\3\0\x09a", b"\0\3\0", b"\0\x0a\0\0\0", b"\0\x08\0\2\0\1", b"\0\x08\0\4\0\1\x21\0", b"\0\x08\0\4\0\3\0\0"],
)
def test_wir_04_options_that_are_cut_and_subnets_that_are_none(options):
    assert read(message(counts=(1, 0, 0, 1), body=QUESTION + opt(options=options))).rcode == FORMERR


@pytest.mark.parametrize("options", [b"", b"\0\3\0\0", b"\0\x08\0\7\0\1\x18\0\xc0\0\2\0\3\0\1a", b"\0\x08\0\4\0\0\0\0"])
def test_whole_options_are_kept_as_they_came(options):
    assert read(message(counts=(1, 0, 0, 1), body=QUESTION + opt(options=options))).edns.options == options


def test_wir_05_notify_is_a_query_like_others():
    assert isinstance(read(message(flags=4 << 11)), Query)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 2, 0, 0), (1, 0, 2, 0), (1, 0, 0, 3)])
def test_wir_03_and_06_counts_that_no_query_has(counts):
    assert read(message(counts=counts)).rcode == FORMERR


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x03we",
        NAME + b"\x00\x01\x00",
        b"\xc0\x0c\x00\x01\x00\x01",
        b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01",
        b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x3f" + b"d" * 63 + b"\x00\x00\x01\x00\x01",
    ],
    ids=["nothing", "cut name", "cut class", "pointer", "long label", "long name"],
)
def test_wir_04_bodies_that_do_not_parse(body):
    assert read(message(body=body)).rcode == FORMERR


def test_wir_04_records_that_are_promised_must_be_there():
    assert read(message(counts=(1, 0, 0, 1))).rcode == FORMERR
    assert read(message(counts=(1, 0, 0, 1), body=QUESTION + opt()[:-1])).rcode == FORMERR
    assert isinstance(read(message(counts=(1, 0, 0, 1), body=QUESTION + opt())), Query)


def test_edns_is_read():
    query = read(message(counts=(1, 0, 0, 1), body=QUESTION + opt(4096, flags=0x8000, options=b"\x00\x0a\x00\x02ab")))
    assert (query.edns.size, query.do, query.edns.options) == (4096, True, b"\x00\x0a\x00\x02ab")


def test_two_opts_are_an_error():
    assert read(message(counts=(1, 0, 0, 2), body=QUESTION + opt() + opt())).rcode == FORMERR


def test_wir_10_another_version_of_edns_is_refused_with_the_question():
    refusal = read(message(counts=(1, 0, 0, 1), body=QUESTION + opt(version=1)))
    assert (refusal.rcode, refusal.question, refusal.edns.size) == (BADVERS, QUESTION, 1232)


SIZES = (100, 4000, 4096, 65535)


def test_the_budget_is_what_the_client_takes():
    """WIR-40."""
    every = (read(message(counts=(1, 0, 0, n), body=QUESTION + extra)) for n, extra in ((0, b""), *((1, opt(size)) for size in SIZES)))
    assert [one.budget for one in every] == [512, 512, 4000, 4096, 4096], "what amplifies is bounded"
    assert read(message(), udp=False).budget == 65535


def test_asking_keeps_the_client():
    query = read(message(), client=("10.0.0.1", 5353))
    other = query.asking(b"\x03Api\x00", 28)
    assert (other.name, other.key, other.qtype, other.client) == (b"\x03Api\x00", b"\x03api\x00", 28, ("10.0.0.1", 5353))


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_any_bytes_have_one_of_three_outcomes(raw):
    assert read(raw) is None or isinstance(read(raw), Query | Refusal)


@given(st.integers(0, 60), st.integers(0, 255))
@settings(max_examples=200)
def test_what_we_take_as_a_query_dnspython_reads_alike(at, byte):
    raw = bytearray(dns.message.make_query("web.shop.svc.cluster.local", "A", use_edns=0).to_wire())
    raw[at % (len(raw) - 11)] = byte  # not in OPT: dnspython also judges the records that we pass over
    query = read(bytes(raw))
    if not isinstance(query, Query) or query.opcode or query.qclass != 1:
        return
    other = dns.message.from_wire(bytes(raw), ignore_trailing=True)
    assert other.question[0].name.to_wire() == query.name
    assert other.question[0].rdtype == query.qtype


def test_rec_61_no_name_is_asked_twice_on_the_way_and_the_way_ends():
    query = read(message())
    first = query.chasing(b"\x01A\x00")
    assert (first.name, first.followed) == (b"\x01A\x00", (query.key, b"\x01a\x00"))
    assert first.chasing(b"\x01a\x00") is None
    assert first.chasing(query.name) is None
    steps = 1
    while first is not None:
        first, steps = first.chasing(b"\x02" + b"%02d" % steps + b"\x00"), steps + 1
    assert steps == STEPS + 1  # the last one is None
