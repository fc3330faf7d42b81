"""Questions over UDP: ports, what is not believed, and how they end."""

import asyncio
import contextlib
import socket

import pytest
from fakes.chains import Upstream, address, until
from fakes.scratch import namespace, shell
from pointsman.dns.datagram import exchange

QUESTION = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"


async def test_the_reply_comes_back():
    async with Upstream(address()) as upstream:
        reply = await exchange(QUESTION, "127.0.0.1", upstream.port, 60, lambda got: got[:2] == QUESTION[:2])
    assert reply[2] & 0x80


async def test_fwd_41_every_question_has_a_port_of_its_own():
    """Ten equal ports in a row by chance: less than one in 10^36 runs."""
    async with Upstream(address()) as upstream:
        for _ in range(10):
            await exchange(QUESTION, "127.0.0.1", upstream.port, 60, lambda _: True)
    assert len(upstream.ports) > 1


async def test_fwd_35_what_is_not_the_reply_is_passed_over():
    async with Upstream(lambda message, _: [b"\x99\x99" + b"\0" * 10, b"", b"x", message.to_wire()]) as upstream:
        reply = await exchange(QUESTION, "127.0.0.1", upstream.port, 60, lambda got: got[:2] == QUESTION[:2])
    assert reply[:2] == QUESTION[:2]


async def test_datagrams_of_others_never_arrive():
    """The socket is connected: another sender's datagram is dropped by the kernel, and only the upstream's is read."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as spoofer:
        spoofer.bind(("127.0.0.1", 0))
        async with Upstream(lambda message, _: None) as upstream:
            task = asyncio.create_task(exchange(QUESTION, "127.0.0.1", upstream.port, 60, lambda _: True))
            await until(lambda: upstream.ports)
            (port,) = upstream.ports
            spoofer.sendto(QUESTION[:2] + b"\x80\x00" + b"\0" * 8, ("127.0.0.1", port))
            upstream.transport.sendto(b"true", ("127.0.0.1", port))
            assert await task == b"true"


async def test_time_runs_out():
    async with Upstream(lambda message, _: None) as upstream:
        with pytest.raises(TimeoutError, match="i/o timeout"):
            await exchange(QUESTION, "127.0.0.1", upstream.port, 0.05, lambda _: True)


async def test_a_closed_port_is_known_at_once():
    """The port is held by a socket that speaks with another peer only, so nobody takes it, and the kernel refuses what we send."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as held:
        held.bind(("127.0.0.1", 0))
        held.connect(("127.0.0.1", 1))
        with pytest.raises(ConnectionRefusedError):
            await exchange(QUESTION, "127.0.0.1", held.getsockname()[1], 60, lambda _: True)


@pytest.mark.kernel
@pytest.mark.parametrize("scope", ["lo", "1"])
async def test_fwd_02_an_upstream_may_be_the_router_of_an_interface(scope):
    """As IPv6 nodes have it in their resolv.conf; its address says nothing without the interface."""
    with namespace(), contextlib.ExitStack() as opened:
        shell("ip -6 addr add fe80::53/64 dev lo nodad")
        upstream = opened.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        upstream.bind(("fe80::53", 0, 0, 1))
        upstream.setblocking(False)
        asking = asyncio.create_task(exchange(QUESTION, f"fe80::53%{scope}", upstream.getsockname()[1], 60, lambda _: True))
        while True:
            with contextlib.suppress(BlockingIOError):
                message, peer = upstream.recvfrom(512)
                break
            assert not asking.done(), asking.exception()
            await asyncio.sleep(0.01)
        upstream.sendto(message, peer)
        assert await asking == QUESTION
        with pytest.raises(OSError, match=r"No such device|no interface with this name"):
            await exchange(QUESTION, "fe80::53%none9", 53, 60, lambda _: True)
