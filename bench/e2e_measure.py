"""One service proxy on one node, whichever it is: started, changed, left in peace and hurried, measured from outside alone.

What counts is what happens: a program is started, a slice is patched; the kernel's table changes, a packet arrives at the new endpoint.
So both are measured by the same means, and neither is asked. The legacy variant's table is looked at every two milliseconds (one system
call), the nft variant tells of each transaction. Processor time includes the tools that were run.
"""

import asyncio
import contextlib
import itertools
import os
import random
import socket
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import e2e_load
from msgspec import Struct
from plane import ControlPlane, Process
from pointsman.iptables.watch import table_fingerprint
from pointsman.netlink import nftables
from pointsman.routing.route import Family, Protocol

LOOK_SECONDS = 0.002
QUIET_SECONDS = 3.0
COLD_SECONDS = 400.0
CHANGE_SECONDS = 120.0
PERIOD = 1.0
"""Seconds between two writes of a kube-proxy in a hurry."""
TICKS = os.sysconf("SC_CLK_TCK")
_ADD_MEMBERSHIP = 1
_SOL_NETLINK = 270


class Plan(Struct, frozen=True):
    """How much is measured: changes, seconds at rest, seconds in a hurry and changes per second there."""

    changes: int
    rest: float
    hurry: float
    services: int
    per_second: int = 50
    pause: float = 1.2
    """Seconds between two changes: kube-proxy waits a second between two writes, and that is not what is measured."""


class KernelClock:
    """When a node's nat table changed last, seen from outside."""

    def __init__(self, plane: ControlPlane, node: str, variant: str) -> None:
        self._legacy = variant == "legacy"
        self._loop = asyncio.get_running_loop()
        if self._legacy:
            self._socket = plane.lab.socket(node, Family.IPV4, socket.SOCK_DGRAM)
            self._seen = b""
        else:
            [self._socket] = plane.lab._namespaces.sockets(node, socket.AF_NETLINK, socket.SOCK_RAW, nftables.PROTOCOL)
            self._socket.bind((0, 0))  # events come only to a socket that has an address
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, nftables.GROUP)
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
        self.changed = 0.0

    async def watch(self) -> None:
        """Look again and again; cancel it to stop."""
        if self._legacy:
            while True:
                now = table_fingerprint(self._socket, socket.IPPROTO_IP, "nat")
                if now != self._seen:
                    self._seen, self.changed = now, time.monotonic()
                await asyncio.sleep(LOOK_SECONDS)
        while True:
            with contextlib.suppress(OSError):  # events came faster than they could be read: something changed
                await self._loop.sock_recv(self._socket, 65536)
            self.changed = time.monotonic()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Bench:
    """A node with its proxy process and its own Service."""

    def __init__(self, plane: ControlPlane, node: str, variant: str, process: Process, address: str, others: e2e_load.Others) -> None:
        self.plane = plane
        self.others = others
        self.node = node
        self.variant = variant
        self.process = process
        self.address = address
        self.states = e2e_load.before_and_after(plane.lab.topology, node)

    async def measure(self, plan: Plan) -> dict[str, float]:
        """Start the proxy, measure everything, stop it."""
        clock = KernelClock(self.plane, self.node, self.variant)
        watching = asyncio.create_task(clock.watch())
        try:
            found = {"cold": await self._cold(clock)}
            found |= {"rss_start": self._memory("VmRSS"), "cpu_start": self._cpu()}
            await asyncio.sleep(QUIET_SECONDS)
            found |= await self._rest(plan.rest)
            found |= await self._changes(clock, plan)
            found |= await self._hurry(clock, plan)
            return found | {"rss": self._memory("VmRSS"), "rss_peak": self._memory("VmHWM")}
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            clock.close()
            await self.process.stop()

    async def _cold(self, clock: KernelClock) -> float:
        """Return the seconds from the start to the last change of the table, after which packets arrive and nothing changes for a while."""
        began = time.monotonic()
        await self.process.start()
        first = await self._arrival({self._name(place) for place in self.states[0]}, began + COLD_SECONDS)
        while (wait := max(clock.changed, first) + QUIET_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110  it is a clock, not an event
            await asyncio.sleep(wait)
        return max(clock.changed, first) - began

    async def _changes(self, clock: KernelClock, plan: Plan) -> dict[str, float]:
        """Change the node's own Service to and fro; return the times to the kernel and to the first packet."""
        kernel, packet = [], []
        for turn in range(plan.changes):
            await asyncio.sleep(plan.pause)
            to_kernel, to_packet = await self._change(clock, turn + 1)
            kernel.append(to_kernel)
            packet.append(to_packet)
        if plan.changes % 2:
            await self._change(clock, 0)
        return {**_spread("kernel", kernel), **_spread("packet", packet)}

    async def _change(self, clock: KernelClock, turn: int) -> tuple[float, float]:
        places = self.states[turn % 2]
        asked = time.monotonic()
        patching = asyncio.create_task(e2e_load.say(self.plane, f"probe-{self.node}", places))
        arrived = await self._arrival({self._name(place) for place in places}, asked + CHANGE_SECONDS)
        await patching
        while clock.changed < asked:  # noqa: ASYNC110  the packet may have been quicker than the look at the table
            await asyncio.sleep(LOOK_SECONDS)
        return min(clock.changed, arrived) - asked, arrived - asked

    async def _rest(self, seconds: float) -> dict[str, float]:
        """Return the share of a core in percent while nothing changes."""
        before = self._cpu()
        await asyncio.sleep(seconds)
        return {"rest": 100 * (self._cpu() - before) / seconds, "rss_rest": self._memory("VmRSS")}

    async def _hurry(self, clock: KernelClock, plan: Plan) -> dict[str, float]:
        """Change many Services a second, and now and then the node's own; return the share of a core, and the times meanwhile.

        A fixed pause would always end at the same point of a proxy's own period, and measure that point.
        """
        chance = random.Random(1)
        before, began = self._cpu(), time.monotonic()
        packet = []
        async with self._hurried(plan):
            turn = 1
            while time.monotonic() < began + plan.hurry:
                await asyncio.sleep(plan.pause + chance.random() * PERIOD)
                packet.append((await self._change(clock, turn))[1])
                turn += 1
            lasted = time.monotonic() - began
            share = 100 * (self._cpu() - before) / lasted
        if turn % 2 == 0:
            await self._change(clock, 0)
        return {"hurry": share, **_spread("hurried", packet)}

    @contextlib.asynccontextmanager
    async def _hurried(self, plan: Plan) -> AsyncIterator[None]:
        async def hurry() -> None:
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for count in itertools.count():
                    group.create_task(self.others.change(count))
                    await asyncio.sleep(max(0.0, began + (count + 1) / plan.per_second - time.monotonic()))

        task = asyncio.create_task(hurry())
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _arrival(self, wanted: set[str], deadline: float) -> float:
        """Open connections until one meets a wanted endpoint; return when that one was begun."""
        while True:
            began = time.monotonic()
            if began > deadline:
                raise TimeoutError(f"no packet reached {', '.join(sorted(wanted))}:\n{self.process.tail()}")
            assert self.process.running, self.process.tail()
            result = await self.plane.lab.probe(f"{self.node}p1", self.address, 80, Protocol.TCP, timeout_seconds=0.2)
            if result.backend in wanted:
                return began
            await asyncio.sleep(0.001)

    def _name(self, place: e2e_load.Place) -> str:
        places = self.plane.lab.topology.places.values()
        return next(one.name for one in places if one.addresses[Family.IPV4] == place[0])

    def _cpu(self) -> float:
        """Return the seconds of processor time of the process and of the tools that it ran."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS

    def _memory(self, what: str) -> float:
        """Return a figure of the process's status in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    ordered = sorted(seconds)
    return {f"{name}_p50": statistics.median(ordered), f"{name}_p99": ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]}
