"""Streams: established once, exchanging until they break, and saying so."""

import asyncio

import pytest
from pointsman.proxy.demo.lab import Laboratory, Topology
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel
ONE = Topology(nodes=1, pods_per_node=2)


@pytest.mark.parametrize("family", Family)
async def test_a_stream_knows_who_is_at_the_other_end_and_counts(family):
    async with Laboratory(ONE) as lab:
        source = lab.topology.client("n1", family)
        stream = await lab.stream("outside", lab.place("n1p1").addresses[family], 8080, source)
        assert (stream.answer.place, stream.answer.source) == ("n1p1", source)
        for count in (1, 2, 3):
            assert await stream.exchange()
            assert stream.exchanged == count


async def test_a_stream_keeps_exchanging_until_it_breaks():
    async with Laboratory(ONE) as lab:
        stream = await lab.stream("n1p2", lab.place("n1p1").addresses[Family.IPV4], 8080)
        keeping = asyncio.create_task(stream.keep_exchanging(0.001))
        async with asyncio.timeout(60):
            while stream.exchanged <= 5:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert not keeping.done()
        lab.servers.drop("n1p1")
        await asyncio.wait_for(keeping, 60)
        assert not await stream.exchange(2.0)


async def test_an_exchange_that_was_cut_short_does_not_spoil_the_next():
    async with Laboratory(ONE) as lab:
        stream = await lab.stream("n1p2", lab.place("n1p1").addresses[Family.IPV4], 8080)
        for _ in range(20):
            cut = asyncio.create_task(stream.exchange())
            await asyncio.sleep(0)  # it has sent, and waits
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
        assert await stream.exchange()
        assert await stream.exchange()


async def test_a_stream_that_cannot_be_established_is_an_error():
    async with Laboratory(ONE) as lab:
        with pytest.raises(ConnectionRefusedError):
            await lab.stream("n1p2", lab.place("n1p1").addresses[Family.IPV4], 9999)


async def test_a_closed_stream_exchanges_nothing():
    async with Laboratory(ONE) as lab:
        stream = await lab.stream("n1p2", lab.place("n1p1").addresses[Family.IPV4], 8080)
        stream.close()
        assert not await stream.exchange(2.0)
