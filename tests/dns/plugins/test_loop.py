"""loop: upstreams that lead back here are found and left out (LOP-01, LOP-02)."""

import asyncio

import dns.message
import pytest
from fakes.chains import Upstream, address, around, counted, linked, query
from fakes.corefiles import NOWHERE
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.options import Upstream as Target
from pointsman.dns.encode import encode
from pointsman.dns.plugins.forward import Forward
from pointsman.dns.plugins.loop import HINFO, Loop
from pointsman.dns.question import read


@pytest.fixture
def surroundings():
    return around()


def watched(surroundings, *servers):
    forward = Forward(
        ForwardOptions(place=NOWHERE, zone=".", upstreams=tuple(Target("127.0.0.1", one.port) for one in servers), max_fails=0),
        surroundings,
    )
    plugin = Loop(surroundings, "example.org.")
    plugin.watch([forward])
    return plugin, forward


class Back(Upstream):
    """An upstream that forwards everything back to the server that asked."""

    def __init__(self):
        super().__init__(None)
        self.home = None
        self.leads_back = True

    def datagram_received(self, data, addr):
        self.asked.append(dns.message.from_wire(data))
        if not self.leads_back:
            self.transport.sendto(address()(self.asked[-1], "udp").to_wire(), addr)
            return

        async def home():
            asked = read(data)
            reply = await self.home(asked)
            self.transport.sendto(encode(asked, reply), addr)

        self.task = asyncio.get_running_loop().create_task(home())


async def test_lop_02_an_upstream_that_leads_back_is_left_out_and_comes_back(surroundings):
    async with Back() as bad, Upstream(address()) as good:
        plugin, forward = watched(surroundings, bad, good)
        bad.home, _ = linked(plugin)
        await plugin.check()
        assert [one.looping for one in forward.upstreams] == [True, False]
        assert "Loop (127.0.0.1:" in surroundings.tell.text()
        assert 'detected for zone "example.org."' in surroundings.tell.text()
        assert counted(surroundings, "pointsman_dns_forward_loop") == 1
        before = len(bad.asked)
        for number in range(10):
            assert (await forward.ask(query(f"n{number}.example"))).answer
        assert len(bad.asked) == before
        bad.leads_back = False
        await plugin.check()
        assert not forward.upstreams[0].looping
        assert "no longer leads back" in surroundings.tell.text()
        forward.stop()


async def test_lop_02_where_no_upstream_is_left_external_names_fail_and_nothing_else(surroundings):
    async with Back() as bad:
        plugin, forward = watched(surroundings, bad)
        bad.home, _ = linked(plugin)
        await plugin.check()
        reply = await forward.ask(query("a.example"))
        assert (reply.rcode, reply.error) == (2, "every upstream leads back to this server")
        forward.stop()


async def test_lop_01_names_are_random_and_below_the_zone(surroundings):
    async with Upstream(address()) as good:
        plugin, forward = watched(surroundings, good)
        await plugin.check()
        await plugin.check()
        questions = [message.question[0] for _, message in good.asked]
        assert all(one.rdtype == HINFO and str(one.name).endswith(".example.org.") for one in questions)
        assert len({one.name for one in questions}) == 2
        assert not any(one.looping for one in forward.upstreams)
        forward.stop()


async def test_other_queries_pass_by(surroundings):
    plugin = Loop(surroundings, ".")
    respond, behind = linked(plugin)
    await respond(query("a.example", HINFO))
    assert len(behind.asked) == 1
    plugin.start()
    plugin.stop()
