"""TCP: pipelining out of order, slow clients, silent clients, too many clients (WIR-45)."""

import asyncio
import contextlib
import socket
import time

import dns.message
import pytest
from fakes.dns_chain import desk_of
from fakes.dns_cluster import service
from pointsman.dns.limit import Limits
from pointsman.dns.tally import Tally
from pointsman.dns.tcp import WAITING, Connection, Patience, TcpServer, unmapped

WEB = service("web", "10.96.0.1")


def framed(name, ident=1, **options):
    message = dns.message.make_query(name, "A", id=ident, **options).to_wire()
    return len(message).to_bytes(2, "big") + message


@contextlib.asynccontextmanager
async def serving(*objects, patience=None, limits=None):
    desk, chain, _, _ = desk_of(*objects)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    server = TcpServer(sock, desk, patience, limits)
    await server.start()
    try:
        yield server, chain
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def connected(server):
    reader, writer = await asyncio.open_connection(*server.local)
    try:
        async with asyncio.timeout(60):
            yield reader, writer
    finally:
        writer.close()


async def reply_of(reader):
    length = int.from_bytes(await reader.readexactly(2), "big")
    return dns.message.from_wire(await reader.readexactly(length))


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def test_one_query_in_single_bytes():
    async with serving(WEB) as (server, _), connected(server) as (reader, writer):
        for byte in framed("web.shop.svc.cluster.local"):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reply_of(reader)).answer[0][0].address == "10.96.0.1"


@pytest.mark.parametrize(("host", "client"), [("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::7"), ("::1", "::1")])
def test_an_ipv4_client_of_a_socket_for_both_families_is_an_ipv4_client(host, client):
    assert unmapped(host) == client


async def test_pipelined_queries_are_answered_as_they_are_known():
    async with serving(WEB) as (server, chain), connected(server) as (reader, writer):
        chain.gate = asyncio.Event()
        writer.write(
            framed("slow.example", 1) + framed("web.shop.svc.cluster.local", 2) + framed("no.cluster.local", 3) + framed("slow.example", 4)
        )
        assert [(await reply_of(reader)).id for _ in range(2)] == [2, 3]
        chain.gate.set()
        assert {(await reply_of(reader)).id for _ in range(2)} == {1, 4}


async def test_who_has_no_more_questions_gets_the_answers_still():
    async with serving(WEB, patience=Patience(idle=600.0)) as (server, chain), connected(server) as (reader, writer):
        chain.gate = asyncio.Event()
        writer.write(framed("slow.example", 1) + framed("web.shop.svc.cluster.local", 2))
        writer.write_eof()
        assert (await reply_of(reader)).id == 2
        await until(lambda: any(one._closing for one in server.connections))
        chain.gate.set()
        assert (await reply_of(reader)).id == 1
        assert await reader.read() == b""
        await until(lambda: not server.connections)


async def test_the_hot_table_serves_tcp_too():
    async with serving(WEB) as (server, chain), connected(server) as (reader, writer):
        for ident in range(5):
            writer.write(framed("web.shop.svc.cluster.local", ident))
            assert (await reply_of(reader)).id == ident
        assert chain.asked == 2


async def test_wir_40_large_answers_are_whole():
    async with serving() as (server, _), connected(server) as (reader, writer):
        writer.write(framed("big.example"))
        assert len((await reply_of(reader)).answer[0]) == 200


async def test_slow_loris_a_query_that_never_becomes_whole_is_not_waited_for():
    async with serving(patience=Patience(read=0.2, idle=600.0)) as (server, _), connected(server) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for byte in framed("web.shop.svc.cluster.local") * 1000:
                writer.write(bytes((byte,)) if byte else b"")
                await asyncio.sleep(0.05)
                if reader.at_eof() or reader.exception():
                    break
        await until(lambda: not server.connections)


async def test_silent_connections_are_closed():
    async with serving(patience=Patience(read=0.2, idle=0.2)) as (server, _), connected(server) as (reader, writer):
        writer.write(framed("no.cluster.local"))
        await reply_of(reader)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert not server.connections


async def test_the_most_silent_makes_room():
    async with serving(patience=Patience(connections=3)) as (server, _), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server)) for _ in range(3)]
        await until(lambda: len(server.connections) == 3)
        clients[0][1].write(framed("no.cluster.local"))
        await reply_of(clients[0][0])
        late = await stack.enter_async_context(connected(server))
        late[1].write(framed("no.cluster.local"))
        await reply_of(late[0])
        with contextlib.suppress(ConnectionError):
            assert await clients[1][0].read() == b""
        clients[0][1].write(framed("no.cluster.local", 9))
        assert (await reply_of(clients[0][0])).id == 9


async def test_a_number_of_queries_may_be_all():
    async with serving(patience=Patience(queries=3)) as (server, _), connected(server) as (reader, writer):
        writer.write(b"".join(framed("no.cluster.local", ident) for ident in range(9)))
        assert [(await reply_of(reader)).id for _ in range(3)] == [0, 1, 2]
        assert await reader.read() == b""


async def test_only_so_many_may_wait_on_one_connection():
    async with serving() as (server, chain), connected(server) as (reader, writer):
        chain.gate = asyncio.Event()
        for ident in range(WAITING + 50):
            writer.write(framed("slow.example", ident))
            await writer.drain()
            await asyncio.sleep(0)
        await until(lambda: len(server.desk.waiting) >= WAITING)
        chain.gate.set()
        assert {(await reply_of(reader)).id for _ in range(WAITING + 50)} == set(range(WAITING + 50))


class Wire:
    """A transport that keeps what is written, and says if it is read."""

    def __init__(self):
        self.written, self.reading = b"", True

    def get_extra_info(self, _):
        return ("127.0.0.1", 1)

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.reading = False

    def close(self):
        """Do nothing."""

    def resume_reading(self):
        self.reading = True

    def count(self):
        """Return how many replies were written."""
        at = number = 0
        while at < len(self.written):
            at += 2 + int.from_bytes(self.written[at : at + 2], "big")
            number += 1
        return number


async def test_only_so_many_may_wait_even_if_more_come_in_one_piece():
    async with serving() as (server, chain):
        chain.gate = asyncio.Event()
        connection, wire = Connection(server), Wire()
        connection.connection_made(wire)
        before = time.monotonic()
        connection.data_received(b"".join(framed("slow.example", ident) for ident in range(5 * WAITING)) + b"\0")
        await until(lambda: len(server.desk.waiting) >= WAITING)
        for _ in range(9):
            await asyncio.sleep(0)
        assert (len(server.desk.waiting), wire.reading) == (WAITING, False)
        assert connection.deadline >= before + server.patience.idle
        chain.gate.set()
        await until(lambda: wire.count() == 5 * WAITING)
        await until(lambda: wire.reading)
        connection.data_received(framed("no.cluster.local")[1:])
        assert wire.count() == 5 * WAITING + 1


async def test_one_client_s_many_queries_leave_room_for_others(monkeypatch):
    """With no time at all, there is a turn per query, and between them others are served."""
    monkeypatch.setattr("pointsman.dns.tcp.TURN", 0.0)
    async with serving(WEB) as (server, _):
        connection, wire = Connection(server), Wire()
        connection.connection_made(wire)
        connection.data_received(b"".join(framed("no.cluster.local", ident) for ident in range(50)))
        assert (wire.count(), wire.reading) == (1, False)
        connection.data_received(framed("no.cluster.local", 50))
        await asyncio.sleep(0)
        assert wire.count() < 50
        await until(lambda: wire.count() == 51)
        assert wire.reading


async def test_who_does_not_take_replies_is_not_answered_further(monkeypatch):
    monkeypatch.setattr("pointsman.dns.tcp.TURN", 0.0)
    async with serving(WEB) as (server, _):
        connection, wire = Connection(server), Wire()
        connection.connection_made(wire)
        connection.data_received(b"".join(framed("no.cluster.local", ident) for ident in range(9)))
        connection.pause_writing()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (wire.count(), wire.reading) == (1, False)
        connection.resume_writing()
        await until(lambda: wire.count() == 9)
        assert wire.reading


async def test_who_does_not_read_is_not_read_and_then_closed():
    async with serving(patience=Patience(write=0.2)) as (server, _):
        sock = socket.create_connection(server.local)
        sock.setblocking(False)
        flood = framed("big.example") * 500
        async with asyncio.timeout(60):
            while server.connections or not sock.getsockname():
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sock.send(flood)
                await asyncio.sleep(0.01)
        sock.close()


async def test_stopping_answers_what_waits_and_closes():
    async with serving() as (server, chain), connected(server) as (reader, writer), connected(server) as (idle, _):
        chain.gate = asyncio.Event()
        writer.write(framed("slow.example"))
        await until(lambda: server.desk.waiting)
        await server.stop()
        assert await idle.read() == b""
        chain.gate.set()
        assert (await reply_of(reader)).answer
        assert await reader.read() == b""


@pytest.mark.parametrize("rubbish", [b"\x00\x00", b"\x00\x05abcde", b"\x00\x0c" + b"\xff" * 12])
async def test_rubbish_is_passed_over(rubbish):
    async with serving(WEB) as (server, _), connected(server) as (reader, writer):
        writer.write(rubbish + framed("web.shop.svc.cluster.local", 5))
        assert (await reply_of(reader)).id == 5


async def test_queries_of_64_kb_are_read():
    async with serving(WEB) as (server, _), connected(server) as (reader, writer):
        message = dns.message.make_query("web.shop.svc.cluster.local", "A", id=3, use_edns=0, pad=65400).to_wire(max_size=65535)
        writer.write(len(message).to_bytes(2, "big") + message)
        assert (await reply_of(reader)).id == 3


async def test_limits_hold_over_tcp_too():
    tally = Tally()
    async with serving(WEB, limits=Limits(0.0, 2.0, tally)) as (server, _), connected(server) as (reader, writer):
        writer.write(b"".join(framed("no.cluster.local", ident) for ident in range(5)))
        assert [(await reply_of(reader)).id for _ in range(2)] == [0, 1]
        await until(lambda: tally.cell("pointsman_dns_rate_limited_total") == [3])
