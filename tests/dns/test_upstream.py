"""One upstream: transports, what is believed, health (FWD-11, FWD-12, FWD-14, FWD-33 to FWD-36)."""

import asyncio

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from dns.edns import GenericOption
from fakes.chains import Clock, address, around, counted, edns, query, until
from fakes.chains import Upstream as Server
from fakes.corefiles import NOWHERE
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.options import Upstream as Target
from pointsman.dns.question import TC
from pointsman.dns.upstream import WITHOUT_TCP, MismatchedError, Upstream


def upstream(server, surroundings=None, **options):
    target = Target("127.0.0.1", server.port)
    return Upstream(target, ForwardOptions(place=NOWHERE, zone=".", upstreams=(target,), **options), None, surroundings or around())


def cut(message, transport):
    """Give an address over TCP, and a reply with TC over UDP."""
    reply = address()(message, transport)
    if transport == "udp":
        reply.flags |= dns.flags.TC
        reply.answer = []
    return reply


async def test_fwd_30_the_transport_follows_the_client():
    async with Server(address()) as server:
        one = upstream(server)
        await one.ask(query("a.example"), 60)
        await one.ask(query("a.example", udp=False), 60)
        assert [transport for transport, _ in server.asked] == ["udp", "tcp"]
        one.close()


async def test_fwd_11_12_force_tcp_and_prefer_udp():
    async with Server(address()) as server:
        for options, udp in (({"force_tcp": True}, True), ({"prefer_udp": True}, False), ({"force_tcp": True, "prefer_udp": True}, True)):
            one = upstream(server, **options)
            await one.ask(query("a.example", udp=udp), 60)
            one.close()
        assert [transport for transport, _ in server.asked] == ["tcp", "udp", "tcp"]


async def test_fwd_12_a_truncated_reply_is_asked_again_over_tcp():
    async with Server(cut) as server:
        one = upstream(server, prefer_udp=True)
        assert (await one.ask(query("a.example"), 60)).answer
        other = upstream(server)
        reply = await other.ask(query("a.example"), 60)  # FWD-36: passed on as it is
        assert reply.flags & TC
        assert not reply.answer
        one.close()
        other.close()


async def test_wir_34_options_of_the_upstream_go_to_the_client_but_those_of_the_connection():
    def say(message, transport):
        reply = address()(message, transport)
        if message.edns >= 0:
            reply.use_edns(0, options=[GenericOption(code, b"ab") for code in (3, 11, 12, 15)])
        return reply

    async with Server(say) as server:
        one = upstream(server)
        assert (await one.ask(query("a.example", edns=edns()), 60)).options == b"\0\3\0\2ab\0\x0f\0\2ab"
        assert (await one.ask(query("a.example"), 60)).options is None
        one.close()


async def test_wir_34_the_client_s_opt_goes_along():
    async with Server(address()) as server:
        one = upstream(server)
        await one.ask(query("a.example", edns=edns(1400, do=True)), 60)
        await one.ask(query("a.example"), 60)
        (_, first), (_, second) = server.asked
        assert (first.payload, bool(first.ednsflags & dns.flags.DO)) == (1400, True)
        assert second.edns == -1
        one.close()


async def test_fwd_35_ids_are_random_and_other_ids_are_passed_over():
    def say(message, transport):
        wrong = dns.message.make_response(message)
        wrong.id ^= 1
        return [wrong, address()(message, transport)]

    async with Server(say) as server:
        one = upstream(server)
        for _ in range(8):
            assert (await one.ask(query("a.example"), 60)).answer
        assert len({message.id for _, message in server.asked}) > 1
        one.close()


async def test_fwd_35_another_question_is_never_an_answer(monkeypatch):
    def say(message, transport):
        other = dns.message.make_query("evil.example", "A")
        other.id = message.id
        return address("203.0.113.66")(other, transport)

    async def forged(message, _address, _port, _patience, is_reply):
        assert not is_reply(say(dns.message.from_wire(message), "udp").to_wire())
        raise TimeoutError

    async with Server(say) as server:
        one = upstream(server)
        with monkeypatch.context() as patched:
            patched.setattr("pointsman.dns.upstream.exchange", forged)
            with pytest.raises(MismatchedError):
                await one.ask(query("a.example"), 60)
        with pytest.raises(MismatchedError):
            await one.ask(query("a.example", udp=False), 60)
        one.close()


async def test_fwd_41_a_forged_question_does_not_end_the_waiting():
    def say(message, transport):
        other = dns.message.make_query("evil.example", "A")
        other.id = message.id
        return [dns.message.make_response(other), address()(message, transport)]

    async with Server(say) as server:
        one = upstream(server)
        assert (await one.ask(query("a.example"), 60)).answer
        one.close()


async def test_the_spelling_of_an_upstream_does_not_matter():
    def say(message, transport):
        reply = address()(message, transport)
        reply.question[0].name = dns.name.from_text("A.EXAMPLE.")
        return reply

    async with Server(say) as server:
        one = upstream(server)
        assert (await one.ask(query("a.Example"), 60)).answer
        one.close()


async def test_fwd_35_a_reply_that_is_cut_becomes_an_empty_one_with_tc():
    async with Server(lambda message, transport: [address()(message, transport).to_wire()[:-3]]) as server:
        one = upstream(server)
        reply = await one.ask(query("a.example"), 60)
        assert (reply.flags & TC, reply.answer) == (TC, ())
        with pytest.raises(OSError, match="cannot be read"):
            await one.ask(query("a.example", udp=False), 60)
        one.close()


async def test_fwd_34_a_failure_of_the_upstream_is_an_answer():
    def say(message, _):
        reply = dns.message.make_response(message)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply

    async with Server(say) as server:
        surroundings = around()
        one = upstream(server, surroundings)
        assert (await one.ask(query("a.example"), 60)).rcode == 2
        label = f"127.0.0.1:{server.port}"
        assert [sample.labels for sample in surroundings.tally.dump() if sample.metric == "coredns_proxy_request_duration_seconds"] == [
            ("forward", label, "SERVFAIL")
        ]
        one.close()


async def test_fwd_33_probing_begins_after_an_error_and_ends_with_an_answer(monkeypatch):
    monkeypatch.setattr("pointsman.dns.upstream.PROBE_TIMEOUT", 0.2)
    silent = [True]

    def say(message, transport):
        return None if silent[0] else address()(message, transport)

    async with Server(say) as server:
        surroundings = around()
        one = upstream(server, surroundings, health_interval=0.01, max_fails=1)
        one.failed()
        one.failed()
        await until(lambda: one.down)
        assert counted(surroundings, "coredns_proxy_healthcheck_failures_total") >= 2
        silent[0] = False
        await until(lambda: not one.down)
        (_, probe) = server.asked[0]
        assert (str(probe.question[0].name), probe.question[0].rdtype) == (".", 2)
        one.close()


async def test_fwd_14_without_max_fails_nobody_is_down():
    async with Server(address()) as server:
        one = upstream(server, max_fails=0)
        one.failed()
        await asyncio.sleep(0)
        assert not one.down
        assert not server.asked
        one.close()


async def test_pain_78_an_upstream_that_answers_formerr_over_tcp_is_asked_over_udp():
    def say(message, transport):
        reply = address()(message, transport)
        if transport == "tcp":
            reply = dns.message.make_response(message)
            reply.set_rcode(dns.rcode.FORMERR)
        return reply

    async with Server(say) as server:
        surroundings = around()
        one = upstream(server, surroundings, force_tcp=True)
        for _ in range(2):
            assert (await one.ask(query("a.example"), 60)).answer
        assert [transport for transport, _ in server.asked] == ["tcp", "udp", "udp"]
        assert surroundings.tell.text().count("FORMERR over TCP") == 1
        one.close()


class Shut:
    """A pool whose connections are refused."""

    async def ask(self, *_, **__):
        raise ConnectionRefusedError


async def test_pain_78_one_refused_connection_is_forgiven():
    """Clients of TCP are asked over TCP at once, those of UDP where an answer is cut, and after a while all of them."""
    clock = Clock()
    async with Server(cut) as server:
        surroundings = around(clock=clock)
        one = upstream(server, surroundings, force_tcp=True)
        open_door = one._pool

        async def refused_once():
            one._pool, server.say = Shut(), address()
            assert (await one.ask(query("a.example"), 60)).answer
            assert (await one.ask(query("a.example"), 60)).answer
            one._pool, server.say = open_door, cut

        for more in ({"udp": False}, {}):
            await refused_once()
            assert (await one.ask(query("b.example", **more), 60)).answer
            server.say = address()
            assert (await one.ask(query("c.example"), 60)).answer
        await refused_once()
        clock.now += WITHOUT_TCP
        assert (await one.ask(query("b.example"), 60)).answer
        used = [transport for transport, _ in server.asked]
        assert used == ["udp", "udp", "tcp", "tcp", "udp", "udp", "udp", "tcp", "tcp", "udp", "udp", "tcp"]
        one.close()


async def test_pain_78_what_stays_refused_is_told_once():
    clock = Clock()
    async with Server(address()) as server:
        surroundings = around(clock=clock)
        one = upstream(server, surroundings, force_tcp=True)
        one._pool.close()
        one._pool = Shut()
        for _ in range(4):
            assert (await one.ask(query("a.example"), 60)).answer
            clock.now += WITHOUT_TCP
        assert surroundings.tell.text().count("refuses TCP connections") == 1


async def test_a_cut_answer_is_better_than_none_where_tcp_is_refused():
    async with Server(cut) as server:
        one = upstream(server, force_tcp=True)
        one._pool.close()
        one._pool = Shut()
        for _ in range(2):
            assert (await one.ask(query("a.example"), 60)).flags & TC


async def test_an_upstream_that_is_gone_is_not_probed():
    async with Server(lambda message, transport: None) as server:
        one = upstream(server)
        one.close()
        one.failed()
        assert one._health.probing is None
