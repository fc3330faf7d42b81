"""whoami, any, chaos, local."""

import pytest
from fakes.chains import AAAA, NS, PTR, SOA, SRV, TXT, A, answers, around, linked, query, values
from fakes.corefiles import NOWHERE
from pointsman.dns.corefile.options import ChaosOptions, LocalOptions
from pointsman.dns.plugins.fixed import Any, Chaos, Local, Whoami, text_rdata


async def test_whoami_tells_address_and_port():
    respond, _ = linked(Whoami())
    reply = await respond(query("a.example", client=("192.0.2.77", 4711)))
    first, second = reply.additional
    assert (first.rtype, first.rdata, first.ttl) == (A, bytes((192, 0, 2, 77)), 0)
    assert (second.rtype, second.owner, second.rdata) == (
        SRV,
        b"\x04_udp\x01a\x07example\x00",
        b"\0\0\0\0" + (4711).to_bytes(2, "big") + b"\0",
    )
    six = await respond(query("a.example", client=("2001:db8::1", 1), udp=False))
    assert (six.additional[0].rtype, six.additional[1].owner[:5]) == (AAAA, b"\x04_tcp")


async def test_wir_60_any():
    respond, behind = linked(Any())
    reply = await respond(query("a.example", 255))
    assert values(reply) == [("a.example.", 13, 8482, b"\x0dANY obsoleted\x0cSee RFC 8482")]
    assert (reply.flags, (await respond(query("a.example", 255, qclass=3))).answer[0].rclass) == (0, 1)
    await respond(query("a.example", A))
    assert len(behind.asked) == 1


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("version.bind", ["v9"]),
        ("version.server", ["v9"]),
        ("authors.bind", ["ada", "bob"]),
        ("hostname.bind", ["node-7"]),
        ("id.server", ["node-7"]),
    ],
)
async def test_wir_09_chaos(name, texts):
    respond, behind = linked(Chaos(ChaosOptions(place=NOWHERE, version="v9", authors=("ada", "bob")), around()))
    reply = await respond(query(name, TXT, qclass=3))
    assert [one.rdata for one in reply.answer] == [text_rdata(text) for text in texts]
    assert {(one.rclass, one.ttl) for one in reply.answer} == {(3, 0)}
    assert reply.flags == 0
    await respond(query(name, TXT))
    await respond(query(name, A, qclass=3))
    assert len(behind.asked) == 2


async def test_wir_08_09_class_chaos_needs_a_block_that_knows_it():
    assert (await answers("hostname.bind {\n chaos\n}", query("hostname.bind", TXT, qclass=3))).answer
    assert (await answers(".:53 {\n whoami\n}", query("hostname.bind", TXT, qclass=3))).rcode == 5


def test_long_texts_are_cut_into_strings():
    assert text_rdata("x" * 300) == b"\xff" + b"x" * 255 + b"\x2d" + b"x" * 45
    assert text_rdata("") == b"\0"


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "answers_"),
    [
        ("localhost", A, 0, [b"\x7f\0\0\1"]),
        ("localhost", AAAA, 0, [b"\0" * 15 + b"\1"]),
        ("localhost", TXT, 0, []),
        ("a.localhost", A, 0, [b"\x7f\0\0\1"]),
        ("localhost.example.org", A, 0, [b"\x7f\0\0\1"]),
        ("1.0.0.127.in-addr.arpa", PTR, 0, [b"\x09localhost\x00"]),
        ("2.0.0.127.in-addr.arpa", PTR, 3, []),
        ("127.in-addr.arpa", NS, 0, [b"\x09localhost\x00"]),
        ("127.in-addr.arpa", A, 0, []),
    ],
)
async def test_local_answers_for_this_machine(name, qtype, rcode, answers_):
    respond, behind = linked(Local(LocalOptions(place=NOWHERE), around()))
    reply = await respond(query(name, qtype))
    assert (reply.rcode, [one.rdata for one in reply.answer]) == (rcode, answers_)
    assert reply.answer or reply.authority[0].rtype == SOA
    assert reply.flags == 0
    assert not behind.asked


async def test_local_without_its_prefix_leaves_other_domains_alone():
    respond, behind = linked(Local(LocalOptions(place=NOWHERE, prefix=False), around()))
    await respond(query("localhost.example.org"))
    await respond(query("example.org"))
    assert len(behind.asked) == 2
