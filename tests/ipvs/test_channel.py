"""Batches through the kernel's IPVS: order, errors by place, many datagrams, and what pyroute2's sockets cannot do."""

import asyncio
import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvloop
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs import answers, channel, wire
from pointsman.ipvs.channel import IpvsChannel
from pointsman.ipvs.datagrams import MESSAGES
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.routing.route import Family, Protocol
from pyroute2.ipvs import IPVS, IPVSDest, IPVSService


def web(number):
    return VirtualKey(Family.IPV4, Protocol.TCP, f"10.96.{number // 250}.{number % 250 + 1}", 80)


def real(key, number):
    return RealKey(key, f"10.244.1.{number + 1}", 8080)


@pytest.fixture
def scratch():
    with namespace():
        yield


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_a_batch_is_applied_and_read_back(scratch):
    wanted = {web(number): [real(web(number), index) for index in range(3)] for number in range(400)}
    requests = []
    for key, reals in wanted.items():
        requests.append((wire.NEW_VIRTUAL, key, VirtualServer()))
        requests += [(wire.NEW_REAL, one, RealServer()) for one in reals]
    async with await IpvsChannel.open() as opened:
        assert await opened.apply(iter(requests)) == {}
        virtuals = [answers.virtual(body).key for body in await opened.dump(wire.DUMP_VIRTUALS, "all")]
        assert set(virtuals) == set(wanted)
        lists = await opened.dumps([wire.dump_reals(key) for key in virtuals], "reals")
    for key, requests in zip(virtuals, lists, strict=True):
        assert {answers.real(body, key).key for body in requests} == set(wanted[key])


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_each_error_is_matched_to_its_request_and_stops_none(scratch):
    """In three datagrams; every seventh request is refused, each for its own reason."""
    key = web(0)
    requests = [(wire.NEW_VIRTUAL, key, VirtualServer())]
    expected = {}
    for index in range(3 * MESSAGES):
        if index % 7 == 3:
            expected[len(requests)] = errno.EEXIST
            requests.append((wire.NEW_VIRTUAL, key, VirtualServer()))
        elif index % 7 == 5:
            expected[len(requests)] = errno.ESRCH
            requests.append((wire.NEW_REAL, real(web(1), 1), RealServer()))
        elif index % 7 == 6:
            expected[len(requests)] = errno.ENOENT
            requests.append((wire.DELETE_REAL, real(key, 250), None))
        else:
            requests.append((wire.NEW_VIRTUAL, web(index + 10), VirtualServer()))
    async with await IpvsChannel.open() as opened:
        assert await opened.apply(requests) == expected
        count = len(await opened.dump(wire.DUMP_VIRTUALS, "all"))
    assert count == len(requests) - len(expected)


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_a_datagram_full_of_errors_is_answered_in_full(scratch):
    async with await IpvsChannel.open() as opened:
        failed = await opened.apply([(wire.DELETE_VIRTUAL, web(0), None)] * 1100)
    assert failed == dict.fromkeys(range(1100), errno.ESRCH)


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_one_change_that_is_refused_names_its_subject(scratch):
    async with await IpvsChannel.open() as opened:
        with pytest.raises(KernelError, match="the web server") as caught:
            await opened.change(wire.delete_virtual(web(0)), "the web server")
        assert caught.value.kind is ErrorKind.MISSING
        with pytest.raises(KernelError, match="the web server"):
            await opened.ask(wire.ask_virtual(web(0)), "the web server")


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_lost_outcomes_are_told_and_the_channel_goes_on(scratch, monkeypatch):
    """The kernel drops errors that find no room: nobody may take the silence for success."""
    monkeypatch.setattr(channel, "_RECEIVE", 2304)  # the smallest that there is
    async with await IpvsChannel.open() as opened:
        failed = await opened.apply([(wire.DELETE_VIRTUAL, web(0), None)] * 200)
        assert set(failed) == set(range(200))
        assert set(failed.values()) == {errno.ESRCH, errno.ENOBUFS}
        assert await opened.apply([(wire.NEW_VIRTUAL, web(1), VirtualServer())]) == {}


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_a_cancelled_batch_stops_between_datagrams_and_the_channel_goes_on(scratch, monkeypatch):
    monkeypatch.setattr(channel, "PORTION", MESSAGES)
    requests = [(wire.NEW_VIRTUAL, web(number), VirtualServer()) for number in range(20 * MESSAGES)]
    async with await IpvsChannel.open() as opened:
        task = asyncio.create_task(opened.apply(requests))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        count = len(await opened.dump(wire.DUMP_VIRTUALS, "all"))
    assert count <= MESSAGES


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_the_event_loop_runs_on_while_the_kernel_works(scratch, monkeypatch):
    monkeypatch.setattr(channel, "PORTION", MESSAGES)
    requests = [(wire.NEW_VIRTUAL, web(number), VirtualServer()) for number in range(4 * MESSAGES)]
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with await IpvsChannel.open() as opened:
        counting = asyncio.create_task(count())
        assert await opened.apply(requests) == {}
        counting.cancel()
    assert turns > 4


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_a_channel_belongs_to_the_namespace_in_which_it_was_opened(scratch):
    async with await IpvsChannel.open() as inner:
        await inner.apply([(wire.NEW_VIRTUAL, web(0), VirtualServer())])
        assert "10.96.0.1:80" in shell("ipvsadm -Ln")
        with namespace():
            assert "10.96.0.1:80" not in shell("ipvsadm -Ln")
            assert len(await inner.dump(wire.DUMP_VIRTUALS, "all")) == 1
            async with await IpvsChannel.open() as other:
                assert await other.dump(wire.DUMP_VIRTUALS, "all") == []


@pytest.mark.kernel
@pytest.mark.ipvs
def test_it_works_on_uvloop(scratch):
    async def ours():
        async with await IpvsChannel.open() as opened:
            await opened.apply([(wire.NEW_VIRTUAL, web(0), VirtualServer())])
            return len(await opened.dump(wire.DUMP_VIRTUALS, "all"))

    assert uvloop.run(ours()) == 1


@pytest.mark.kernel
@pytest.mark.ipvs
def test_pyroute2_asynchronous_sockets_do_not_work_on_uvloop():
    """Therefore the thread. In a process of its own, for uvloop complains about what the failure leaves behind."""
    program = """
import sys, asyncio, uvloop
from pyroute2.ipvs import AsyncIPVS
async def dump():
    async with AsyncIPVS() as opened:
        await opened.setup_endpoint()
        await opened.service("dump")
asyncio.run(dump())
uvloop.run(dump())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ValueError: cannot open a UDP handle" in ran.stderr


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_closing_leaves_no_thread_and_no_file_and_may_happen_twice(scratch):
    def held():
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    async with await IpvsChannel.open():
        pass  # what the library opens once and for all is open now
    before = held()
    opened = await IpvsChannel.open()
    assert held()[0] == before[0] + 1
    await opened.close()
    await opened.close()
    for _ in range(5):
        async with await IpvsChannel.open() as another:
            await another.dump(wire.DUMP_VIRTUALS, "all")
    assert held() == before


@pytest.mark.kernel
@pytest.mark.ipvs
def test_pains_of_the_library_are_still_there(scratch):
    """If one of these fails, pyroute2 has been mended, and our reason to go round it has gone."""
    with IPVS() as library:
        service = IPVSService(addr="10.96.0.9", port=80, protocol=6)
        library.service("add", service)
        library.dest("add", service, IPVSDest(addr="10.244.1.7", port=80))
        assert "Route" in shell("ipvsadm -Ln"), "direct route by default"
        library.service("update", service)
        assert library.service("dump") == [], "update deletes"
        with pytest.raises(Exception, match="Invalid argument"):
            library.service("add", IPVSService(addr="fd00::1", port=80, protocol=6))


async def test_a_kernel_without_ipvs_is_told_with_both_ways_out(monkeypatch):
    monkeypatch.setattr(wire, "FAMILY_NAME", "NO-SUCH-FAMILY")
    with pytest.raises(KernelError, match=r"modprobe ip_vs.*--proxy-mode iptables") as caught:
        await IpvsChannel.open()
    assert caught.value.kind is ErrorKind.UNSUPPORTED
