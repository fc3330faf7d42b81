"""Sockets change hands: the same ones, with what waits in their queues."""

import asyncio
import os
import socket

import pytest
from fakes.scratch import namespace
from pointsman.dns import handover

pytestmark = pytest.mark.kernel  # in network namespaces of their own: names are looked for there


@pytest.fixture(autouse=True)
def apart():
    with namespace():
        yield


async def test_nld_24_the_next_process_takes_the_same_socket_and_tells_the_first_to_go():
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind(("127.0.0.1", 0))
    ended = asyncio.Event()
    giver = handover.Giver(handover.listen(), b"[described]", [served.fileno()], ended.set)
    giver.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"waits", served.getsockname())
            taken = await asyncio.to_thread(handover.take)
            assert taken.described == b"[described]"
            with socket.socket(fileno=taken.descriptors[0]) as same:
                assert same.getsockname() == served.getsockname()
                assert same.recv(100) == b"waits"
        assert not ended.is_set()
        await asyncio.to_thread(taken.end)
        async with asyncio.timeout(60):
            await ended.wait()
    finally:
        giver.stop()
        served.close()


async def test_who_only_looks_ends_nobody():
    served, ended = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), asyncio.Event()
    giver = handover.Giver(handover.listen(), b"", [served.fileno()], ended.set)
    giver.start()
    try:
        taken = await asyncio.to_thread(handover.take)
        taken.leave()
        again = await asyncio.to_thread(handover.take)
        again.leave()
        for descriptor in (*taken.descriptors, *again.descriptors):
            os.close(descriptor)
        assert not ended.is_set()
    finally:
        giver.stop()
        served.close()


def test_the_youngest_is_asked_first_and_others_names_are_none():
    listing = "Num Path\n0: x @pointsman/dns/00000000000000000001\n0: x @pointsman/dns/00000000000000000002\n0: x @pointsman/agent\n"
    assert handover.names(listing) == ["pointsman/dns/00000000000000000002", "pointsman/dns/00000000000000000001"]
    assert handover.names("") == []


def test_user_of_is_the_kernels_word():
    one, other = socket.socketpair()
    with one, other:
        assert handover.user_of(one) == os.geteuid()
