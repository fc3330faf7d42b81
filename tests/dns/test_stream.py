"""Questions over TCP: pipelines, connections that end, and pools (FWD-16, FWD-17, FWD-38, FWD-39)."""

import asyncio
import ssl
import subprocess

import dns.message
import pytest
from fakes.chains import Clock, Upstream, address
from fakes.corefiles import NOWHERE
from fakes.scratch import namespace
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.plugins.forward import context
from pointsman.dns.stream import PIPELINE, SINGLY, ConnectionEndedError, Limits, Pool

PATIENCE = 600.0
"""Longer than any test: without an end of the connection a question would wait so long."""


def question(ident):
    message = dns.message.make_query("a.example", "A")
    message.id = ident
    return message.to_wire()


def pool(upstream, clock=None, **limits):
    return Pool("127.0.0.1", upstream.port, limits=Limits(**limits), clock=clock or Clock())


async def test_fwd_39_many_questions_share_one_connection():
    async with Upstream(address()) as upstream:
        mine = pool(upstream)
        await mine.ask(question(1), 60, 60)
        replies = await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(2, 2 + PIPELINE)))
        assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == list(range(2, 2 + PIPELINE))
        assert all(reused for _, reused in replies)
        assert upstream.connections == 1
        mine.close()


async def test_replies_find_their_questions_in_any_order():
    held = []

    def say(message, _):
        held.append(message)
        return (
            [dns.message.make_response(one) for one in reversed(held)]
            if len(held) == 3
            else []
            if len(held) > 1
            else [dns.message.make_response(message)]
        )

    async with Upstream(say) as upstream:
        mine = pool(upstream)
        await mine.ask(question(9), 60, 60)
        replies = await asyncio.gather(mine.ask(question(1), 60, 60), mine.ask(question(2), 60, 60))
        assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == [1, 2]
        mine.close()


async def test_fwd_38_a_connection_that_the_server_closed_costs_nothing():
    async with Upstream(address()) as upstream:
        upstream.close_after = 1
        mine = pool(upstream)
        for ident in range(5):
            await mine.ask(question(ident), 60, 60)
        assert upstream.connections == 5
        mine.close()


async def test_a_server_that_closes_with_questions_open_is_asked_one_at_a_time():
    async with Upstream(address()) as upstream:
        upstream.close_after = 2
        mine = pool(upstream)
        await mine.ask(question(0), 60, 60)
        replies = await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(1, 6)))
        assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == [1, 2, 3, 4, 5]
        mine.close()


async def test_a_server_that_resets_a_connection_for_its_second_question_is_asked_one_at_a_time():
    """It never said a word, for the reset took its first reply along: that is no reason to give up what was asked."""
    connections = []

    async def one_question_only(reader, writer):
        connections.append(writer)
        asked = [await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))]
        if len(connections) == 1:
            await reader.readexactly(2)
            writer.transport.abort()
            return
        reply = dns.message.make_response(dns.message.from_wire(asked[0])).to_wire()
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    server = await asyncio.start_server(one_question_only, "127.0.0.1", 0)
    async with server:
        mine = Pool("127.0.0.1", server.sockets[0].getsockname()[1], limits=Limits(), clock=Clock())
        replies = await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(5)))
        assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == list(range(5))
        mine.close()


async def test_an_interface_may_be_named_with_an_address():
    """As over UDP: both find the place by the same words."""

    async def answer(reader, writer):
        asked = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        reply = dns.message.make_response(dns.message.from_wire(asked)).to_wire()
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    async with await asyncio.start_server(answer, "::1", 0) as server:
        mine = Pool("::1%lo", server.sockets[0].getsockname()[1], limits=Limits(), clock=Clock())
        reply, _ = await mine.ask(question(7), 60, 60)
        assert int.from_bytes(reply[:2], "big") == 7
        mine.close()


async def test_a_server_that_was_restarted_gets_many_questions_at_a_time_again():
    clock = Clock()
    async with Upstream(address()) as upstream:
        upstream.close_after = 2
        mine = pool(upstream, clock)
        await mine.ask(question(0), 60, 60)
        await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(1, 6)))
        upstream.close_after = None
        clock.now += SINGLY
        upstream.connections = 0
        await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(20)))
        assert upstream.connections <= 1
        mine.close()


async def test_a_server_that_closes_at_once_is_an_error():
    async with Upstream(address()) as upstream:
        upstream.close_after = 0
        mine = pool(upstream)
        with pytest.raises(ConnectionEndedError):
            await mine.ask(question(1), 60, 60)
        mine.close()


async def test_fwd_16_17_old_connections_are_not_used_again():
    async with Upstream(address()) as upstream:
        clock = Clock()
        mine = pool(upstream, clock, expire=10, max_age=15)
        await mine.ask(question(1), 60, 60)
        clock.now += 9
        assert (await mine.ask(question(2), 60, 60))[1]
        clock.now += 9
        assert not (await mine.ask(question(3), 60, 60))[1]
        clock.now += 10
        assert not (await mine.ask(question(4), 60, 60))[1]
        assert upstream.connections == 3
        mine.close()


async def test_time_runs_out():
    async with Upstream(lambda message, _: None) as upstream:
        mine = pool(upstream)
        with pytest.raises(TimeoutError, match="i/o timeout"):
            await mine.ask(question(1), 0.05, 60)
        mine.close()


async def test_pain_02_a_dead_connection_gets_no_more_questions_though_others_still_wait_on_it():
    mute = []

    def say(message, transport):
        mute[:] = mute or [asyncio.current_task()]
        return None if message.id != 1 and asyncio.current_task() in mute else address()(message, transport)

    async with Upstream(say) as upstream:
        mine = pool(upstream)
        await mine.ask(question(1), 60, 60)
        others = asyncio.create_task(mine.ask(question(2), 60, 60))
        with pytest.raises(TimeoutError):
            await mine.ask(question(3), 0.05, 60)
        assert not (await mine.ask(question(4), 10, 60))[1]
        assert (await mine.ask(question(5), 10, 60))[1]
        assert upstream.connections == 2
        others.cancel()
        await asyncio.gather(others, return_exceptions=True)
        mine.close()


@pytest.mark.kernel
async def test_fwd_38_a_path_that_is_dead_costs_a_second_and_not_the_whole_time(tmp_path, monkeypatch):
    """Packets of the connections that are there vanish without a word, as after a restart of what translates addresses."""
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))
    with namespace():
        async with Upstream(address()) as upstream:
            clock = Clock()
            mine = pool(upstream, clock)
            await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(1, 2 + PIPELINE)))
            assert upstream.connections == 2
            for number in [one._transport.get_extra_info("sockname")[1] for one in mine._open]:
                rule = f"-A INPUT -p tcp --sport {number} -j DROP"
                subprocess.run(["iptables", "-w", *rule.split()], check=True)  # noqa: ASYNC221 - in this thread's namespace
            clock.now += 1
            replies = await asyncio.gather(*(mine.ask(question(ident), PATIENCE, 60) for ident in (1, 2, 3)))
            assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == [1, 2, 3]
            assert upstream.connections == 3
            assert mine._pipeline == PIPELINE
            mine.close()


async def test_a_slow_question_does_not_end_a_connection_that_answers_others():
    clock = Clock()
    async with Upstream(lambda message, transport: None if message.id in {2, 3} else address()(message, transport)) as upstream:
        mine = pool(upstream, clock)
        await mine.ask(question(1), 60, 60)
        slow, slower = (asyncio.create_task(mine.ask(question(ident), 60, 60)) for ident in (2, 3))
        await asyncio.sleep(0)
        clock.now += 1
        await mine.ask(question(4), 60, 60)
        mine._open[0]._waiting[2].set_exception(TimeoutError())
        with pytest.raises(TimeoutError):
            await slow
        await mine.ask(question(5), 60, 60)
        assert upstream.connections == 1
        slower.cancel()
        await asyncio.gather(slower, return_exceptions=True)
        mine.close()


async def test_fwd_39_a_crowd_makes_no_more_connections_than_it_needs():
    async with Upstream(address()) as upstream:
        mine = pool(upstream)
        replies = await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(3 * PIPELINE + 8)))
        assert [int.from_bytes(reply[:2], "big") for reply, _ in replies] == list(range(3 * PIPELINE + 8))
        assert upstream.connections <= 4
        mine.close()


async def test_a_connection_that_cannot_be_made_is_an_error_for_all_who_wait_for_it():
    async with Upstream(address()) as upstream:
        mine = pool(upstream)
        upstream.server.close()
        found = await asyncio.gather(*(mine.ask(question(ident), 60, 60) for ident in range(5)), return_exceptions=True)
        assert {type(one) for one in found} == {ConnectionRefusedError}
        mine.close()


async def test_a_probe_has_a_connection_of_its_own():
    async with Upstream(address()) as upstream:
        mine = pool(upstream)
        await mine.ask(question(1), 60, 60)
        assert not (await mine.ask(question(2), 60, 60, fresh=True))[1]
        assert upstream.connections == 2
        mine.close()


async def test_a_pool_that_was_closed_keeps_nothing():
    async with Upstream(address()) as upstream:
        mine = pool(upstream)
        mine.close()
        await mine.ask(question(1), 60, 60)
        assert not mine._open


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for dns.example and its key, made by openssl; it is its own authority."""
    place = tmp_path_factory.mktemp("tls")
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=dns.example"]
    more = ["-addext", "subjectAltName=DNS:dns.example", "-keyout", place / "key", "-out", place / "cert"]
    subprocess.run(["openssl", *made, *more], check=True, capture_output=True)
    return place


async def over_tls(certificate, name):
    """Ask an upstream over TLS that calls itself dns.example, expecting another name or that one."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate / "cert", certificate / "key")
    options = ForwardOptions(place=NOWHERE, zone=".", upstreams=(), tls=(str(certificate / "cert"),))
    upstream = Upstream(address())
    server = await asyncio.start_server(upstream._stream, "127.0.0.1", 0, ssl=theirs)
    mine = Pool("127.0.0.1", server.sockets[0].getsockname()[1], limits=Limits(), clock=Clock(), tls=context(options), name=name)
    try:
        return [await mine.ask(question(ident), 60, 60) for ident in (1, 2)]
    finally:
        server.close()
        for transport in (*(one._transport for one in mine._open), *(writer.transport for writer in upstream.open.values())):
            transport.abort()
        await asyncio.gather(*upstream.open, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0.01)  # both ends are in this loop: some rounds end both


async def test_fwd_21_over_tls_the_name_is_checked_and_the_connection_kept(certificate):
    (_, first), (_, second) = await over_tls(certificate, "dns.example")
    assert (first, second) == (False, True)


async def test_fwd_21_another_name_is_not_believed(certificate):
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        await over_tls(certificate, "other.example")
