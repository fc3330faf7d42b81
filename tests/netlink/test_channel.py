"""Netlink sockets against the kernel: answers, errors by kind, events, and events that were lost."""

import asyncio
import errno
import socket

import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec, nftables, route
from pointsman.netlink.channel import Channel, EventsLostError, kernel_error

GET_TABLE = 10 << 8 | 1


@pytest.fixture
def scratch():
    with namespace():
        yield


def body(*parts):
    return bytes([2, 0, 0, 0]) + b"".join(codec.attribute(*part) for part in parts)


@pytest.mark.kernel
async def test_a_request_is_answered(scratch):
    with Channel(nftables.PROTOCOL) as channel:
        (first,) = await channel.request(nftables.GET_GENERATION, nftables.REQUEST_BODY, "generation")
        shell("nft add table ip x")
        (second,) = await channel.request(nftables.GET_GENERATION, nftables.REQUEST_BODY, "generation")
        assert nftables.generation(second).number == nftables.generation(first).number + 1
        assert len(await channel.request(GET_TABLE, body(), "tables", flags=codec.DUMP)) == 1


@pytest.mark.kernel
async def test_an_error_has_a_kind_and_names_what_was_asked(scratch):
    with Channel(nftables.PROTOCOL) as channel, pytest.raises(KernelError, match="table nosuch: No such file") as caught:
        await channel.request(GET_TABLE, body((1, b"nosuch\0")), "table nosuch")
    assert caught.value.kind is ErrorKind.MISSING


@pytest.mark.kernel
async def test_events_come_to_members_only(scratch):
    with Channel(nftables.PROTOCOL) as channel:
        shell("nft add table ip before")
        channel.join(nftables.GROUP)
        shell("nft add table ip x")
        touch, generation = [event for _ in range(2) for event in nftables.events(await channel.receive())]
        assert touch == nftables.Touch(2, nftables.What.TABLE, False, "x", "")
        assert generation.process == "nft"
        channel.leave(nftables.GROUP)
        shell("nft add table ip after")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await channel.receive()


@pytest.mark.kernel
async def test_lost_events_are_told_once(scratch):
    with Channel(nftables.PROTOCOL, receive_buffer=2048) as channel:
        channel.join(nftables.GROUP)
        rules = "".join(f"add chain ip x c{number}\n" for number in range(2000))
        shell("nft -f -", text=f"add table ip x\n{rules}")

        async def read():
            while True:
                await channel.receive()

        with pytest.raises(EventsLostError):
            await read()


@pytest.mark.kernel
async def test_an_unknown_group_or_protocol_is_an_error(scratch):
    with pytest.raises(KernelError, match="protocol 99"):
        Channel(99)
    with Channel(nftables.PROTOCOL) as channel, pytest.raises(KernelError, match="netlink group 4711"):
        channel.join(4711)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EPERM, ErrorKind.DENIED), (errno.EEXIST, ErrorKind.EXISTS), (errno.ENOSPC, ErrorKind.TOO_BIG), (errno.EIO, ErrorKind.OTHER)],
)
def test_kinds(number, kind):
    error = kernel_error(number, "it")
    assert error.kind is kind
    assert errno.errorcode[number] in str(error)


@pytest.mark.kernel
async def test_a_batch_tells_which_of_its_requests_failed():
    with namespace(), Channel(socket.NETLINK_ROUTE) as channel:
        good, wrong = route.address("10.96.0.1", 1), route.address("10.96.0.1", 99)
        requests = [(route.NEW_ADDRESS, route.CREATE | route.REPLACE, wrong if place % 100 == 7 else good) for place in range(300)]
        assert await channel.batch(requests, "addresses") == dict.fromkeys((7, 107, 207), errno.ENODEV)
        assert await channel.batch([], "nothing") == {}
