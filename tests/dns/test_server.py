"""The desk: at once, later, refused, broken (WIR-01 to WIR-15)."""

import asyncio
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
from fakes.dns_chain import FakeChain, desk_of
from fakes.dns_cluster import service
from pointsman.dns import server
from pointsman.dns.question import Query
from pointsman.dns.server import BUSY

WEB = service("web", "10.96.0.1")


def raw(name, qtype="A"):
    return dns.message.make_query(name, qtype, id=77).to_wire()


def take(desk, message, later=lambda reply: None, *, udp=True):
    return desk.take(message, ("127.0.0.1", 4000), ("127.0.0.1", 53), later, udp=udp)


async def test_what_needs_no_waiting_is_answered_at_once():
    desk, chain, _, _ = desk_of(WEB)
    found = dns.message.from_wire(take(desk, raw("web.shop.svc.cluster.local")))
    assert (found.id, found.answer[0][0].address) == (77, "10.96.0.1")
    assert not desk.waiting
    assert chain.asked == 1


async def test_what_waits_is_answered_later():
    desk, chain, _, _ = desk_of()
    chain.gate = asyncio.Event()
    replies = []
    assert take(desk, raw("slow.example"), replies.append) is None
    assert len(desk.waiting) == 1
    chain.gate.set()
    await asyncio.gather(*desk.waiting)
    assert dns.message.from_wire(replies[0]).answer
    assert not desk.waiting


async def test_wir_14_whatever_breaks_is_a_failure_of_that_query_only():
    desk, _, _, tally = desk_of(WEB)
    found = dns.message.from_wire(take(desk, raw("broken.example")))
    assert (found.rcode(), found.flags & dns.flags.AA) == (dns.rcode.SERVFAIL, 0)
    replies = []
    assert take(desk, raw("later-broken.example"), replies.append) is None
    await asyncio.gather(*desk.waiting)
    assert dns.message.from_wire(replies[0]).rcode() == dns.rcode.SERVFAIL
    assert tally.cell("coredns_panics_total") == [2]
    assert take(desk, raw("web.shop.svc.cluster.local")) is not None


async def test_no_reply_is_no_reply():
    desk, _, _, _ = desk_of()
    assert take(desk, raw("mute.example")) is None
    assert not desk.waiting
    assert take(desk, b"crumbs") is None
    reply = take(desk, raw("web.example"))
    assert take(desk, reply) is None


async def test_messages_that_are_no_queries_are_refused():
    desk, _, _, tally = desk_of()
    assert dns.message.from_wire(take(desk, raw("a.example")[:-2])).rcode() == dns.rcode.FORMERR
    assert tally.cell("coredns_dns_responses_total", "dns://:53", "dropped", "", "FORMERR", "") == [1]


async def test_too_many_that_wait_are_refused():
    desk, chain, _, _ = desk_of()
    chain.gate = asyncio.Event()
    desk.waiting |= {object() for _ in range(BUSY)}
    assert dns.message.from_wire(take(desk, raw("slow.example"))).rcode() == dns.rcode.SERVFAIL


async def test_another_chain_empties_the_table():
    desk, _, catalog, _ = desk_of(WEB)
    for _ in range(3):
        take(desk, raw("web.shop.svc.cluster.local"))
    assert desk.hot.entries
    desk.use(FakeChain(catalog, plain=False))
    assert not desk.hot.entries
    assert desk.denials.answer(raw("x.cluster.local")[2:]) is None


async def test_cancelled_waiting_reaches_the_chain():
    desk, chain, _, _ = desk_of()
    chain.gate = asyncio.Event()
    take(desk, raw("slow.example"))
    (task,) = desk.waiting
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_question_of_our_own():
    desk, _, _, _ = desk_of(WEB)
    reply = await desk.ask(
        Query(0, 0, b"\x03web\x04shop\x03svc\x07cluster\x05local\x00", b"\x03web\x04shop\x03svc\x07cluster\x05local\x00", 1)
    )
    assert reply.plugin == "kubernetes"


def test_wir_14_what_breaks_is_always_counted_but_traced_once_a_second(monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: now[0]))
    desk, _, _, tally = desk_of()
    for _ in range(5):
        assert dns.message.from_wire(take(desk, raw("broken.example"))).rcode() == 2
    assert len(caplog.records) == 1
    now[0] += server.QUIET
    take(desk, raw("broken.example"))
    assert len(caplog.records) == 2
    assert tally.cell("coredns_panics_total")[0] == 6
