"""Another mode by a restart (pain 43, docs: modes.md): what is established goes on, and no new connection fails, either way.

From ipvs to iptables that means that IPVS keeps what it has until it ends, and gets nothing new; see `ipvs.retirement`.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pointsman.proxy.demo.lab import Ending
from pointsman.routing.route import Family, Protocol
from table_cases import sources, targets
from table_cluster import cluster
from table_modes import IPVS, MODES
from table_services import BY_NAME, Port, ready
from table_traffic import allow_many_files
from test_ipvs_pains import bound, everything, on_node, servers, until
from test_pains import Sender

V4, V6 = Family.IPV4, Family.IPV6
TCP, UDP = Protocol.TCP, Protocol.UDP
LEGACY = MODES[0]
pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]
ANYWHERE = replace(BY_NAME["cc-both"], name="anywhere", number=210)
LOCAL = replace(BY_NAME["cl-both"], name="local", number=211)
STATSD = replace(ANYWHERE, name="statsd", number=212, ports=(Port(8125, UDP),))
STREAMS = int(os.environ.get("POINTSMAN_STREAMS", "1000"))
PER_SECOND = int(os.environ.get("POINTSMAN_PER_SECOND", "200"))
ROUND_SECONDS = 5.0  # one processor serves both ends, the kernel and the daemon
EXCHANGE_SECONDS = 20.0  # the machine may be busy; what is tested is that it comes back at all
REMAINS_SECONDS = 200.0
GUARDS = {f"KUBE-IPVS-{name}" for name in ("SOURCES", "INPUT", "OUTPUT", "FILTER")}


def ways(made):
    """Return every way to the Services: source and destination."""
    found = []
    for family in Family:
        for one in (ANYWHERE, LOCAL):
            for _, destination, port, _ in targets(made.world, one, family):
                found += [(source, family, destination, port) for source in ("pod", "outside", "node")]
    return found


class Traffic:
    """Connections of both kinds: established ones that go on exchanging, and new ones one after the other."""

    def __init__(self, made):
        self.made = made
        self.ways = ways(made)
        self.streams = []
        self.failures = []
        self.opened = 0
        self.rate = 0.0
        self.began = time.time()
        self.udp = None
        self.udp_server = ""

    async def establish(self, count):
        """Open streams every way, and one UDP flow."""
        allow_many_files()
        self.udp = Sender(self.made.lab, sources(self.made.world, V4)["pod"], V4, STATSD.cluster_ip(V4), 8125)
        self.udp_server = await self.udp.ask(EXCHANGE_SECONDS)
        for number in range(count):
            source, family, destination, port = self.ways[number % len(self.ways)]
            one = sources(self.made.world, family)[source]
            self.streams.append(await self.made.lab.stream(one.place, destination, port, one.address))

    async def check_streams(self):
        """Exchange over every stream once."""
        for start in range(0, len(self.streams), 50):
            some = self.streams[start : start + 50]
            alive = await asyncio.gather(*(stream.exchange(EXCHANGE_SECONDS) for stream in some))
            self.failures += [("stream", self.ways[(start + i) % len(self.ways)]) for i, good in enumerate(alive) if not good]

    async def _keep_asking(self, per_second):
        """Open new connections at a rate; each is a task, so that a slow one holds up nobody."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            began = clock()
            for number in itertools.count():
                group.create_task(self._ask(self.ways[number % len(self.ways)]))
                await asyncio.sleep(max(0.0, began + number / per_second - clock()))

    async def _ask(self, way):
        result = await self.made.ask(*way, TCP)
        self.opened += 1
        if result.ending is not Ending.ANSWERED:
            self.failures.append((result.ending.value, way, round(time.time() - self.began, 1)))

    async def _keep_sending(self):
        """Use the UDP flow, as its client does all the time: it keeps its endpoint."""
        while True:
            answered = await self.udp.ask(EXCHANGE_SECONDS)
            if answered != self.udp_server:
                self.failures.append((answered, self.udp_server, round(time.time() - self.began, 1)))
            await asyncio.sleep(1.0)

    async def _keep_exchanging(self):
        while True:
            await self.check_streams()
            await asyncio.sleep(ROUND_SECONDS)

    @contextlib.asynccontextmanager
    async def flowing(self, per_second=PER_SECOND):
        """Keep everything going while the body runs."""
        tasks = [asyncio.create_task(work) for work in (self._keep_asking(per_second), self._keep_exchanging(), self._keep_sending())]
        began, opened = time.monotonic(), self.opened
        try:
            yield
        finally:
            self.rate = self.rate or (self.opened - opened) / (time.monotonic() - began)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(ended, asyncio.CancelledError):
                    raise ended

    def __str__(self):
        return f"{STREAMS} streams, {self.opened} new connections, {self.rate:.0f} a second, failures: {self.failures[:20]}"

    def reset(self):
        """End everything at once, as a program does that is killed."""
        if self.udp:
            self.udp.socket.close()
        for stream in self.streams:
            stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stream.close()
        self.streams.clear()


@contextlib.asynccontextmanager
async def traffic_of(made):
    """Give traffic that is ended with the body, also by an error."""
    traffic = Traffic(made)
    try:
        yield traffic
    finally:
        traffic.reset()


def draining(made):
    program = str(Path(sys.executable).parent / "pointsman")
    return json.loads(on_node(made, program, "ipvs", "drain", "--socket", made.agent.socket, "-o", "json"))["draining"]


def chains(made):
    """Return the names of chains of the ipvs mode that are there."""
    return {line.split()[0][1:] for line in everything(made)[2] if line.startswith(":KUBE-IPVS-")}


async def test_from_ipvs_to_iptables_nothing_fails_and_nothing_stays(tmp_path):
    async with cluster(IPVS, tmp_path, ANYWHERE, LOCAL, STATSD) as made, traffic_of(made) as traffic:
        async with made.start():
            await traffic.establish(STREAMS)
        made.mode = LEGACY
        async with traffic.flowing():
            async with made.start():
                log = made.scratch / "n1.log"
                await until(made, lambda: "connections through another mode go on" in log.read_text(), seconds=REMAINS_SECONDS)
                await asyncio.sleep(5.0)
                rows = await asyncio.to_thread(draining, made)  # nothing may hold up the loop that answers
                assert {row["service"].partition(":")[0] for row in rows} >= {"table/anywhere", "table/local"}
                assert all(line.endswith("-w 0") for line in await asyncio.to_thread(servers, made) if line.startswith("-a"))
                assert await asyncio.to_thread(chains, made) == GUARDS
            assert await asyncio.to_thread(bound, made)
        async with traffic.flowing(PER_SECOND // 4), made.start():  # a restart on the way goes on where the first one was
            await until(made, lambda: "connections through another mode go on" in log.read_text(), seconds=REMAINS_SECONDS)
            await asyncio.sleep(2.0)
        async with made.start():
            await traffic.check_streams()
            print(traffic)
            assert not traffic.failures
            assert traffic.opened > 100
            made.lab.servers.serve("n1", TCP, 2222)
            assert (await made.ask("pod", V4, ANYWHERE.cluster_ip(V4), 2222, TCP)).ending is Ending.REFUSED, "pain 24"
            traffic.reset()
            made.write(ANYWHERE, LOCAL, replace(STATSD, ends=ready("n2p2")))  # whom the UDP flow used is gone
            await until(made, lambda: not servers(made), seconds=REMAINS_SECONDS)
            await until(made, lambda: not bound(made) and not chains(made), seconds=REMAINS_SECONDS)
            await until(made, lambda: "nothing of the other mode is left" in log.read_text(), seconds=REMAINS_SECONDS)
            assert "KUBE-IPVS-IPS" not in on_node(made, "ipset", "list", "-name")
            assert "kube-ipvs0" not in on_node(made, "ip", "-o", "link")
            for source, family, destination, port in traffic.ways:
                assert (await made.ask(source, family, destination, port, TCP)).ending is Ending.ANSWERED


async def test_from_iptables_to_ipvs_nothing_fails_and_nothing_stays(tmp_path):
    async with cluster(LEGACY, tmp_path, ANYWHERE, LOCAL, STATSD) as made, traffic_of(made) as traffic:
        async with made.start():
            await traffic.establish(STREAMS)
        made.mode = IPVS
        log = made.scratch / "n1.log"
        async with traffic.flowing(), made.start():
            await until(made, lambda: "proxy left" in log.read_text(), seconds=REMAINS_SECONDS)
            await asyncio.sleep(5.0)
        await traffic.check_streams()
        traffic.reset()
        print(traffic)
        assert not traffic.failures
        assert traffic.opened > 100
        assert not any("KUBE-SVC-" in line for line in everything(made)[2])
