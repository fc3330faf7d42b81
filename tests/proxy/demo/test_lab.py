"""The laboratory as a whole: never two alike, and gone without trace however it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pointsman.proxy.demo import lab as laboratory
from pointsman.proxy.demo.lab import Ending, LabError, Laboratory, Topology
from pointsman.proxy.demo.lab_namespace import NAMED
from pointsman.routing.route import Family, Protocol

pytestmark = pytest.mark.kernel
TWO = Topology(nodes=2, pods_per_node=3)


def traces(scope):
    return [path.name for path in NAMED.iterdir() if path.name.startswith(scope)]


async def test_it_leaves_no_trace():
    lab = Laboratory(TWO)
    async with lab:
        assert len(traces(lab.scope)) == len(TWO.places) + 1
    assert traces(lab.scope) == []
    assert lab.leftovers == ()


async def test_everybody_reaches_every_pod_in_both_families():
    async with Laboratory(TWO) as lab:
        pods = [pod for node in TWO.node_names for pod in TWO.pods_of(node)]
        for source in ("n1", "n2p1", "outside", "elsewhere"):
            results = await asyncio.gather(
                *(lab.probe(source, pod.addresses[family], 8080, Protocol.TCP) for pod in pods for family in Family)
            )
            assert [result.backend for result in results] == [pod.name for pod in pods for _ in Family]


async def test_several_stand_side_by_side():
    async with Laboratory(TWO) as one, Laboratory(TWO) as other:
        assert one.scope != other.scope
        for lab in (one, other):
            assert (await lab.probe("n1p1", lab.place("n2p1").addresses[Family.IPV4], 8080, Protocol.UDP)).ending is Ending.ANSWERED
    assert traces(one.scope) + traces(other.scope) == []


async def test_an_error_inside_leaves_no_trace():
    lab = Laboratory(TWO)
    with pytest.raises(ZeroDivisionError):
        async with lab:
            raise ZeroDivisionError
    assert traces(lab.scope) == []


async def test_an_error_while_building_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(Topology, "batches", lambda self, scope: iter([("n1", "link set lo up\n"), ("n1", "nonsense\n")]))
    lab = Laboratory(TWO)
    with pytest.raises(LabError, match="nonsense"):
        async with lab:
            raise AssertionError("the laboratory must not open")
    assert traces(lab.scope) == []


async def test_cancelling_leaves_no_trace():
    lab = Laboratory(TWO)
    open_ = asyncio.Event()

    async def work():
        async with lab:
            open_.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await open_.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert traces(lab.scope) == []


INTERRUPTED = """
import asyncio
from pointsman.proxy.demo.lab import Laboratory, Topology

async def main():
    async with Laboratory(Topology()) as lab:
        print(lab.scope, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_an_interrupt_leaves_no_trace():
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as child:
        try:
            scope = child.stdout.readline().strip()
            assert traces(scope)
            child.send_signal(signal.SIGINT)
            child.wait(60)
        finally:
            child.kill()
    assert traces(scope) == []


async def test_a_slow_neighbour_costs_no_packet():
    async with Laboratory(TWO) as lab:
        for place in ("n1", "n1p1", "outside", "elsewhere"):
            for version in ("ipv4", "ipv6"):
                command = lab.command(place, "cat", f"/proc/sys/net/{version}/neigh/eth0/unres_qlen_bytes")
                done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
                assert int(done.stdout) == 8 << 20


def settings_of_the_host():
    paths = [Path("/proc/sys", key) for key in (*laboratory._EVERYWHERE, *laboratory._ON_NODES, *laboratory._ELSEWHERE)]
    return {path: path.read_text() for path in paths if path.exists()}


async def test_sysctls_of_the_host_stay_as_they_are():
    before = settings_of_the_host()
    async with Laboratory(TWO):
        pass
    assert settings_of_the_host() == before


async def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root"):
        async with Laboratory(TWO):
            raise AssertionError("the laboratory must not open")


async def test_before_it_is_open_nothing_answers():
    lab = Laboratory(TWO)
    with pytest.raises(LabError, match="not open"):
        lab.servers.serve("n1", Protocol.TCP, 80)
    async with lab:
        pass


async def test_a_socket_of_a_place():
    async with Laboratory(TWO) as lab:
        for family in Family:
            with lab.socket("n1p1", family, socket.SOCK_DGRAM) as one:
                one.bind((lab.place("n1p1").addresses[family], 0))


REDIRECTED = """
add table ip t
add chain ip t prerouting {{ type nat hook prerouting priority -100; }}
flush chain ip t prerouting
add rule ip t prerouting ip daddr 10.96.0.10 tcp dport 80 dnat to {}:8080
"""


async def test_the_last_hit_on_a_backend_is_timed():
    """Connections go to one pod, then to another: the time of the change is found."""
    async with Laboratory(TWO) as lab:

        clock = asyncio.get_running_loop().time
        done = []

        def point_at(pod):
            text = REDIRECTED.format(lab.place(pod).addresses[Family.IPV4])
            subprocess.run(lab.command("n1", "nft", "-f", "-"), input=text, text=True, check=True)
            done.append(clock())

        point_at("n1p1")
        asyncio.get_running_loop().call_later(0.3, point_at, "n2p1")
        began = clock()
        last = await lab.last_hit("n1p3", "10.96.0.10", 80, Protocol.TCP, "n1p1", quiet=20, limit_seconds=60.0)
        assert 0 < last < done[-1] - began
        assert await lab.last_hit("n1p3", "10.96.0.10", 80, Protocol.TCP, "n1p1", quiet=20) == 0
        assert await lab.last_hit("n1p3", "10.96.0.10", 80, Protocol.TCP, "n2p1", quiet=20, limit_seconds=0.2) is None
