"""Requests through a pyroute2 socket on a thread of its own: errors by place, many datagrams, late answers, uvloop."""

import asyncio
import errno

import pytest
import uvloop
from fakes.flows import flow
from fakes.scratch import namespace
from pointsman.conntrack import wire
from pointsman.conntrack.channel import AT_ONCE, Channel
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec
from pointsman.netlink.route import CREATE, EXCLUSIVE

pytestmark = pytest.mark.kernel


@pytest.fixture(params=[False, True], ids=["pyroute2", "light"])
def light(request):
    return request.param


@pytest.fixture
def scratch():
    with namespace():
        yield


def many(count):
    return [wire.create(flow(client=f"10.5.{number >> 8}.{number & 255}:40000", timeout=3000)) for number in range(count)]


async def test_errors_come_back_by_place_over_many_datagrams(scratch, light):
    bodies = many(2 * AT_ONCE + 10)
    again = [0, AT_ONCE, 2 * AT_ONCE + 3]
    async with await Channel.open(light=light) as channel:
        first = await channel.use(lambda talk: talk.apply(wire.NEW, [bodies[place] for place in again], "entries", CREATE | EXCLUSIVE))
        assert first == {}
        failed = await channel.use(lambda talk: talk.apply(wire.NEW, bodies, "entries", CREATE | EXCLUSIVE))
        assert failed == dict.fromkeys(again, errno.EEXIST)


async def test_a_list_that_nobody_read_to_its_end_does_not_disturb_the_next(scratch, light):
    async with await Channel.open(light=light) as channel:
        await channel.use(lambda talk: talk.apply(wire.NEW, many(1000), "entries", CREATE | EXCLUSIVE))

        def first_of(talk):
            return len(next(iter(talk.stream(wire.GET, wire.dump(None), "entries"))))

        assert await channel.use(first_of) > 0
        [body] = await channel.use(lambda talk: talk.ask(wire.GET_STATISTICS, wire.statistics(), "entries"))
        assert wire.numbers(body)[1] == 1000


async def test_an_error_names_its_subject(scratch, light):
    async with await Channel.open(light=light) as channel:
        with pytest.raises(KernelError, match="that flow") as caught:
            await channel.use(lambda talk: talk.ask(wire.DELETE, wire.delete(flow()), "that flow"))
        assert caught.value.kind is ErrorKind.MISSING


async def test_silence_is_told(scratch, light):
    async with await Channel.open(light=light) as channel:
        with pytest.raises(KernelError, match="did not answer within"):
            await channel.use(lambda talk: talk.receive(0.01))


async def test_an_answer_that_cannot_be_read_is_told(scratch, light):
    def broken(_):
        raise codec.MalformedError("3 bytes")

    async with await Channel.open(light=light) as channel:
        with pytest.raises(KernelError, match="cannot be read: 3 bytes"):
            await channel.use(broken)


def test_it_works_under_uvloop_and_closes_twice(light):
    async def go():
        channel = await Channel.open(light=light)
        [body] = await channel.use(lambda talk: talk.ask(wire.GET_STATISTICS, wire.statistics(), "entries"))
        await channel.close()
        await channel.close()
        return wire.numbers(body)[1]

    with namespace():
        assert uvloop.run(go()) == 0


async def test_a_socket_belongs_to_the_namespace_in_which_it_was_opened(light):
    with namespace():
        inside = await Channel.open(light=light)
        await inside.use(lambda talk: talk.apply(wire.NEW, many(3), "entries", CREATE | EXCLUSIVE))
    async with inside:
        await asyncio.sleep(0)
        [body] = await inside.use(lambda talk: talk.ask(wire.GET_STATISTICS, wire.statistics(), "entries"))
        assert wire.numbers(body)[1] == 3


async def test_a_socket_that_joined_a_group_hears_its_events(scratch, light):
    async with await Channel.open([wire.GROUPS["new"]], light=light) as hearing, await Channel.open(light=light) as channel:
        await channel.use(lambda talk: talk.apply(wire.NEW, many(1), "entries", CREATE | EXCLUSIVE))
        [one] = wire.flows(await hearing.use(lambda talk: talk.receive(60.0)))
        assert one.client == "10.5.0.0:40000"
