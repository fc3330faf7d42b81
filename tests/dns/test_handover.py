"""Sockets change hands: the same ones, with what waits in their queues."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.scratch import namespace
from pointsman.dns import handover
from pointsman.dns.feed import Listener

pytestmark = pytest.mark.kernel  # in network namespaces of their own: names are looked for there


@pytest.fixture(autouse=True)
def apart():
    with namespace():
        yield


@pytest.fixture
def served():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        yield found


def listener(served):
    return Listener(served.fileno(), "udp", *served.getsockname(), 53)


async def test_nld_24_the_next_process_takes_the_same_socket_and_tells_the_first_to_go(served):
    ended = asyncio.Event()
    giver = handover.Giver(handover.listen(), [listener(served)], ended.set)
    giver.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"waits", served.getsockname())
            (taken,) = await asyncio.to_thread(handover.take)
            (given,) = taken.listeners
            assert (given.transport, given.key_port) == ("udp", 53)
            assert not os.get_inheritable(given.fd)
            with socket.socket(fileno=given.fd) as same:
                assert same.getsockname() == served.getsockname()
                assert same.recv(100) == b"waits"
        assert not ended.is_set()
        await asyncio.to_thread(taken.end)
        async with asyncio.timeout(60):
            await ended.wait()
    finally:
        giver.stop()


async def test_every_worker_gives_and_every_one_is_told_to_go(served):
    ended = [asyncio.Event() for _ in range(3)]
    givers = [handover.Giver(handover.listen(), [listener(served)], each.set) for each in ended]
    for giver in givers:
        giver.start()
    try:
        found = await asyncio.to_thread(handover.take)
        assert len(found) == 3
        for taken in found:
            taken.close()
            await asyncio.to_thread(taken.end)
        async with asyncio.timeout(60):
            for each in ended:
                await each.wait()
    finally:
        for giver in givers:
            giver.stop()


@pytest.mark.parametrize("count", [199, 200, 401])
async def test_more_sockets_than_one_message_carries_are_given(served, count):
    giver = handover.Giver(handover.listen(), [listener(served)] * count, asyncio.Event().set)
    giver.start()
    try:
        (taken,) = await asyncio.to_thread(handover.take, 60.0)
        assert len(taken.listeners) == count
        taken.close()
        taken.leave()
    finally:
        giver.stop()


STRANGERS = """
import os, socket, sys
os.setuid(65534)
held = []
for number in range(20):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.bind(f"\\0pointsman/dns/99{number:03d}")
    one.listen()
    held.append(one)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def strangers():
    """Names of another user, whose process never answers."""
    running = subprocess.Popen((sys.executable, "-c", STRANGERS), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"there\n"
    yield handover.names(Path("/proc/thread-self/net/unix").read_text())
    running.communicate()


async def test_names_of_other_users_keep_nobody_waiting(served, strangers):
    """Any process in the node's network namespace can take such names, and never answer."""
    assert len(strangers) == 20
    giver = handover.Giver(handover.listen(), [listener(served)], asyncio.Event().set)
    giver.start()
    try:
        (taken,) = await asyncio.to_thread(handover.take, 1e6)  # nobody is waited for, or for ever
        taken.close()
        taken.leave()
    finally:
        giver.stop()


async def test_who_is_stuck_keeps_nobody_waiting_for_ever_and_hides_nobody(served):
    giver = handover.Giver(handover.listen(), [listener(served)], asyncio.Event().set)
    giver.start()
    try:
        with handover.listen():  # the youngest; never answers
            (taken,) = await asyncio.to_thread(handover.take, 0.5)
            taken.close()
            taken.leave()
    finally:
        giver.stop()


async def test_who_only_looks_ends_nobody(served):
    ended = asyncio.Event()
    giver = handover.Giver(handover.listen(), [listener(served)], ended.set)
    giver.start()
    try:
        for _ in range(2):
            (taken,) = await asyncio.to_thread(handover.take)
            taken.close()
            taken.leave()
        assert not ended.is_set()
    finally:
        giver.stop()


def test_the_youngest_is_asked_first_and_others_names_are_none():
    listing = "Num Path\n0: x @pointsman/dns/00000000000000000001\n0: x @pointsman/dns/00000000000000000002\n0: x @pointsman/agent\n"
    assert handover.names(listing) == ["pointsman/dns/00000000000000000002", "pointsman/dns/00000000000000000001"]
    assert handover.names("") == []


def test_user_of_is_the_kernels_word():
    one, other = socket.socketpair()
    with one, other:
        assert handover.user_of(one) == os.geteuid()
