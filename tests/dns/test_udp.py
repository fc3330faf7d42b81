"""The hot path over real sockets: by the table, by denial, by the chain, later."""

import asyncio
import os
import random
import socket

import dns.message
import dns.rcode
from fakes.dns_chain import desk_of
from fakes.dns_cluster import service
from pointsman.dns.books import Top
from pointsman.dns.limit import Limits
from pointsman.dns.mmsg import SLOTS
from pointsman.dns.tally import Tally
from pointsman.dns.udp import LOST, UdpServer

WEB = service("web", "10.96.0.1")


class Served:
    """A server with a client beside it."""

    def __init__(self, *objects, limits=None, **options):
        self.desk, self.chain, self.catalog, self.tally = desk_of(*objects, **options)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.server = UdpServer(self.sock, self.desk, limits, lost=self.tally.cell(LOST))
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.client.setblocking(False)
        self.client.connect(self.sock.getsockname())

    async def __aenter__(self):
        self.server.start()
        return self

    async def __aexit__(self, *error):
        self.server.stop()
        self.sock.close()
        self.client.close()

    async def ask(self, *messages):
        """Send all, and return as many replies."""
        for message in messages:
            self.client.send(message)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            return [await loop.sock_recv(self.client, 65535) for _ in messages]


def raw(name, qtype="A", ident=1, **options):
    return dns.message.make_query(name, qtype, id=ident, **options).to_wire()


async def test_the_same_answer_from_chain_and_table_but_for_the_id():
    async with Served(WEB) as served:
        replies = [(await served.ask(raw("Web.shop.svc.cluster.local", ident=ident)))[0] for ident in range(1, 6)]
        assert [reply[:2] for reply in replies] == [ident.to_bytes(2, "big") for ident in range(1, 6)]
        assert len({reply[2:] for reply in replies}) == 1
        assert served.chain.asked == 2
        assert dns.message.from_wire(replies[4]).question[0].name.to_text() == "Web.shop.svc.cluster.local."


async def test_a_mixed_batch_with_gaps_is_answered_completely():
    async with Served(WEB) as served:
        names = ["web.shop.svc.cluster.local", "no.shop.svc.cluster.local", "slow.example", "fixed.example", "broken.example"]
        messages = [raw(names[number % 5], ident=number) for number in range(200)]
        random.Random(7).shuffle(messages)
        replies = {int.from_bytes(reply[:2], "big"): dns.message.from_wire(reply) for reply in await served.ask(*messages)}
        assert set(replies) == set(range(200))
        wanted = [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.NOERROR, dns.rcode.NOERROR, dns.rcode.SERVFAIL]
        assert all(reply.rcode() == wanted[ident % 5] for ident, reply in replies.items())
        assert all(reply.question[0].name.to_text() == f"{names[ident % 5]}." for ident, reply in replies.items())


async def test_wir_01_what_is_dropped_leaves_the_others_answered():
    async with Served(WEB) as served:
        good = raw("web.shop.svc.cluster.local")
        served.client.send(b"crumbs")
        served.client.send(b"")
        served.client.send(b"\x00\x00\x80" + good[3:])
        served.client.send(raw("mute.example"))
        assert len(await served.ask(good)) == 1


async def test_answers_too_long_for_a_slot_are_sent_alone():
    async with Served() as served:
        (reply,) = await served.ask(raw("big.example", use_edns=0, payload=8000))
        assert len(dns.message.from_wire(reply).answer[0]) == 200
        (reply,) = await served.ask(raw("big.example"))
        assert len(reply) <= 512


async def test_stopping_answers_what_waits_in_the_socket():
    async with Served(WEB) as served:
        served.server.stop()
        for ident in range(3 * SLOTS):
            served.client.send(raw("web.shop.svc.cluster.local", ident=ident))
        served.server.stop()
        assert len(await served.ask()) == 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            assert len({(await loop.sock_recv(served.client, 512))[:2] for _ in range(3 * SLOTS)}) == 3 * SLOTS


async def test_a_client_over_its_limit_is_dropped():
    tally = Tally()
    async with Served(WEB, limits=Limits(0.0, 5.0, tally)) as served:
        for ident in range(20):
            served.client.send(raw("web.shop.svc.cluster.local", ident=ident))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            got = [await loop.sock_recv(served.client, 512) for _ in range(5)]
            while tally.cell("pointsman_dns_rate_limited_total") != [15]:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        assert [int.from_bytes(reply[:2], "big") for reply in got] == [0, 1, 2, 3, 4]


async def test_who_asks_for_what_is_not_there_is_counted():
    async with Served(WEB) as served:
        storms = Top()
        served.server = UdpServer(served.sock, served.desk, storms=storms, lost=[0])
        served.server.start()
        for _ in range(5):
            await served.ask(raw("no.shop.svc.cluster.local"))
        await served.ask(raw("web.shop.svc.cluster.local"))
        lie = raw("mute.example")
        served.client.send(b"%b\x80\x03%b" % (lie[:2], lie[4:]))  # says of itself that it is an answer: nobody answers it
        await served.ask(raw("web.shop.svc.cluster.local"))
        assert storms.most() == [(b"\x7f\x00\x00\x01", 5)]


async def test_replies_that_the_kernel_does_not_take_are_counted():
    async with Served(WEB, life=None) as served:
        served.desk.chain.gate = asyncio.Event()
        served.client.send(raw("slow.example"))
        async with asyncio.timeout(60):
            while not served.desk.waiting:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        served.server.stop()
        other, far = socket.socketpair()
        far.close()
        os.dup2(other.fileno(), served.sock.fileno())  # its kernel takes nothing any more
        other.close()
        served.desk.chain.gate.set()
        await asyncio.wait(served.desk.waiting)
        assert served.tally.cell(LOST) == [1]


async def test_many_addresses_come_in_turn():
    async with Served() as served:
        firsts = [dns.message.from_wire((await served.ask(raw("many.example")))[0]).answer[0][0].address for _ in range(10)]
        assert len(set(firsts[2:])) == 4
