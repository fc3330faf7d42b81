"""What a full table of connections costs: judging all of it, and letting it follow 1,000 changed endpoints.

    .venv/bin/python bench/conntrack.py                     1,000,000 entries, 10,000 Services
    .venv/bin/python bench/conntrack.py --entries 200000    fewer

Needs root; everything happens in network namespaces that vanish with the process. A namespace holds as many entries as the kernel lets one
have, so a million may be spread over several; their hash table is the kernel's one, and each dump walks all of it. Every deletion is
compared with what must go, computed from the entries as they were made and not by the code that deletes.
"""

import argparse
import asyncio
import ctypes
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop
from msgspec.structs import replace
from pointsman.conntrack import wire
from pointsman.conntrack.channel import Talk
from pointsman.conntrack.classify import WRONG, FlowClass, Judge
from pointsman.conntrack.flow import Direction, Flow, Status
from pointsman.conntrack.kernel import ConntrackKernel
from pointsman.iptables.sysctl import read_sysctl
from pointsman.proxy import memory
from pointsman.proxy.flows import Flows
from pointsman.proxy.notebook import Notes
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Family, Protocol, RouteKey, Routing, ServicePortName, ServiceRoute

ENTRIES = 1_000_000
SERVICES = 10_000
ENDPOINTS = 10
CHANGED = 1_000
SECONDS, MIB, HELD_MS = 5.0, 150.0, 20.0
"""The goals: to judge everything, in so much memory, without holding the event loop for longer."""
CREATED_AT_ONCE = 20_000
LATE = 86_400
NODE = NodeFacts("n1", local_addresses={Family.IPV4: ("127.0.0.1", "172.20.0.1")})
STATUS = int(Status.SEEN_REPLY | Status.CONFIRMED)


def backend(number: int, one: int) -> Backend:
    """Return an endpoint of a Service."""
    return Backend(f"10.{128 + number // 250}.{number % 250}.{one + 1}", 8053, local=False, hairpin=False, pod=f"pod-{one}")


def route(number: int, left: int = -1) -> ServiceRoute:
    """Return a Service, half of them UDP, without the endpoint that left."""
    protocol = Protocol.UDP if number % 2 == 0 else Protocol.TCP
    ends = tuple(backend(number, one) for one in range(ENDPOINTS) if one != left)
    name = ServicePortName("bench", f"service-{number}", "", protocol)
    address = f"10.{64 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    return ServiceRoute(name, Family.IPV4, address, 53, node_port=0, cluster=ends, reachable=ends, any_endpoint=True)


def routing(routes: list[ServiceRoute], revision: int) -> Routing:
    """Return all of it."""
    owned = {Family.IPV4: frozenset(one.cluster_ip for one in routes), Family.IPV6: frozenset[str]()}
    return Routing(revision, {one.key: one for one in routes}, owned, {Family.IPV4: ("10.64.0.0/12",), Family.IPV6: ()}, (), ())


def entry(number: int, routes: list[ServiceRoute]) -> Flow:
    """Return an entry: nine of ten are a Service's, every tenth is a pod's direct way to another one."""
    one = routes[number % len(routes)]
    end = one.reachable[number // len(routes) % ENDPOINTS]
    client, port = f"10.{number >> 20 & 63}.{number >> 12 & 255}.{number >> 4 & 255}", 1024 + number % 60_000
    udp = one.protocol is Protocol.UDP
    to, to_port = (end.address, end.port) if number % 10 == 0 else (one.cluster_ip, one.port)
    return Flow(
        Family.IPV4, 17 if udp else 6,
        Direction(client, to, port, to_port), Direction(end.address, client, end.port, port),
        status=STATUS, state="" if udp else "ESTABLISHED", timeout=LATE,
    )  # fmt: skip


def places(entries: int) -> Iterator[range]:
    """Yield the numbers of the entries that one namespace can hold."""
    most = int((read_sysctl("net/netfilter/nf_conntrack_max") or entries) * 0.95)
    for start in range(0, entries, most):
        yield range(start, min(start + most, entries))


def fresh() -> None:
    """Put this thread, and those it makes, into a new network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))


async def filled(numbers: range, routes: list[ServiceRoute]) -> ConntrackKernel:
    """Return the connection tracking of a new namespace with these entries."""
    fresh()
    kernel = await ConntrackKernel.open()
    for start in range(numbers.start, numbers.stop, CREATED_AT_ONCE):
        some = [entry(number, routes) for number in range(start, min(start + CREATED_AT_ONCE, numbers.stop))]
        if failed := await kernel.create(some):
            raise SystemExit(f"bench/conntrack.py: the kernel refused {len(failed)} entries: errno {set(failed.values())}")
    return kernel


@asynccontextmanager
async def watched(held: list[float]) -> AsyncIterator[None]:
    """Measure how long the event loop is held meanwhile: by how much a sleep of a millisecond is late."""

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            held.append(time.perf_counter() - began - 0.001)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def peak() -> float:
    """Return the most memory that this process had, in MiB, since it was last forgotten."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def forget_peak() -> float:
    """Begin to measure the peak of memory anew; return what there is now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


class Applied:
    """A reconcile loop whose kernel follows at once."""

    async def applied(self, _: int) -> None:
        """Return: it does."""

    def refused(self) -> dict[ServicePortName, str]:
        """Return what is refused: nothing."""
        return {}


class Followed:
    """The reconciler of one namespace, with a record of what it deletes."""

    def __init__(self, kernel: ConntrackKernel, folder: Path) -> None:
        self.kernel = kernel
        self.deleted: list[Flow] = []
        self.flows = Flows({Family.IPV4: Applied()}, Notes(folder / f"{id(self)}.json", "n1"))  # type: ignore[dict-item]
        self.flows._kernel = self  # type: ignore[assignment]
        self.sweep = kernel.sweep

    async def close(self) -> None:
        """Leave the connection open: it is the measurement's."""

    async def delete(self, flows: list[Flow]) -> tuple[int, dict[int, Exception]]:
        """Delete, and remember."""
        self.deleted += flows
        return await self.kernel.delete(flows)  # type: ignore[return-value]

    async def counters(self) -> tuple[()]:
        """Return no counters."""
        return ()


async def judged(kernels: list[ConntrackKernel], whole: Routing, held: list[float]) -> tuple[float, float, Counter[FlowClass]]:
    """Judge everything; return the seconds, those of processor time, and how many there are of each class."""
    counts: Counter[FlowClass] = Counter()
    began, worked = time.perf_counter(), time.process_time()
    judge: Judge | None = None

    def prepare() -> Judge:
        nonlocal judge
        judge = judge or Judge(whole, NODE)  # once, as for one table
        return judge

    async with watched(held):
        for kernel in kernels:
            swept = await kernel.sweep(prepare, Family.IPV4, WRONG)
            for (kind, _), count in swept.counts.items():
                counts[kind] += count
    return time.perf_counter() - began, time.process_time() - worked, counts


async def bare(kernels: list[ConntrackKernel]) -> float:
    """Return how long the same dumps take without looking at them: the kernel's own share."""

    def read(talk: Talk) -> None:
        for raw in talk.stream(wire.GET, wire.dump(Family.IPV4), "bench"):
            if len(raw) < 64:
                return

    began = time.perf_counter()
    for kernel in kernels:
        await kernel._channel.run(read)
    return time.perf_counter() - began


async def followed(kernels: list[ConntrackKernel], routes: list[ServiceRoute], held: list[float]) -> tuple[float, list[Flow]]:
    """Let the tables follow a first routing and then one with 1,000 endpoints less; return what went, and the seconds of the slowest."""
    before = routing(routes, 1)
    after_routes = [route(number, 0) if number % 2 == 0 and number // 2 < CHANGED else one for number, one in enumerate(routes)]
    after = routing(after_routes, 2)
    changed: dict[RouteKey, ServiceRoute | None] = {
        key: one for key, one in after.routes.items() if one != before.routes[key]
    }
    assert len(changed) == CHANGED
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-bench-")))
        all_ = [Followed(kernel, folder) for kernel in kernels]
        tasks = [asyncio.create_task(one.flows.run()) for one in all_]
        for one in all_:
            one.flows.offer({}, RoutingChange(before, dict(before.routes)), NODE)
        await looked(all_, 1)
        assert not any(one.deleted for one in all_), "something was deleted although nothing had changed"
        seconds = 0.0
        async with watched(held):
            for one in all_:  # in turn, for on a node there is only one
                began = time.perf_counter()
                one.flows.offer(before.routes, RoutingChange(after, changed), NODE)
                await looked([one], 2)
                seconds = max(seconds, time.perf_counter() - began)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return seconds, [flow for one in all_ for flow in one.deleted]


async def looked(all_: list[Followed], times: int) -> None:
    """Wait until every reconciler has looked so often, and left nothing to look at again."""
    for one in all_:
        meters, pulse = one.flows.meters[Family.IPV4], one.flows._pulses[Family.IPV4]
        while meters.looks.total < times or pulse.rhythm.asked is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def plain(flow: Flow) -> Flow:
    """Return a flow as it was made, without what the kernel adds."""
    return replace(flow, identity=0, use=0, timeout=0, status=0)


async def main(entries: int) -> int:
    """Measure and print; status 1 if a goal is missed or something wrong was deleted."""
    memory.collect_rarely()  # as the agent does while it starts
    routes = [route(number) for number in range(SERVICES)]
    kernels = [await filled(numbers, routes) for numbers in places(entries)]
    memory.give_back()
    resting = forget_peak()
    held: list[float] = []
    async with watched(held):
        await asyncio.sleep(2.0)
    noise = max(held) * 1000
    held.clear()
    seconds, worked, counts = await judged(kernels, routing(routes, 1), held)
    used, late = peak(), max(held) * 1000
    release = platform.release().split("-")[0]
    print(f"{entries:,} entries in {len(kernels)} namespaces, {SERVICES:,} Services x {ENDPOINTS}; Linux {release}")
    print(f"  {seconds:8.2f} s    dumped and judged (goal {SECONDS:g} s): {', '.join(f'{n:,} {kind.value}' for kind, n in counts.items())}")
    print(f"  {worked:8.2f} s    of processor time for that; the kernel alone takes {await bare(kernels):.2f} s to tell them")
    print(f"  {used:8.1f} MiB  peak memory meanwhile, {resting:.1f} of it before (goal {MIB:g} MiB)")
    print(f"  {late:8.1f} ms   the event loop was held at most (goal {HELD_MS:g} ms; {noise:.1f} ms while nothing was done)")
    expected = Counter(
        plain(one)
        for one in (entry(number, routes) for number in range(entries) if number % 10)
        if one.protocol == 17 and _left(one)
    )
    held.clear()
    took, deleted = await followed(kernels, routes, held)
    found = Counter(map(plain, deleted))
    wrong, missing = (found - expected).total(), (expected - found).total()
    left = (await judged(kernels, routing([route(n, 0) if n % 2 == 0 and n // 2 < CHANGED else r for n, r in enumerate(routes)], 2), []))[2]
    stale = sum(left[kind] for kind in WRONG)
    print(f"  {took:8.2f} s    from {CHANGED:,} changed endpoints to the end of the look that deleted, the slowest table")
    print(f"  {len(deleted):8,d}      deleted, in all tables")
    print(f"  {max(held) * 1000:8.1f} ms   the event loop was held at most meanwhile")
    print(f"  {wrong:8d}      deleted that should have stayed; {missing} missing; {stale} stale flows left")
    for kernel in kernels:
        await kernel.close()
    return int(seconds > SECONDS or used > MIB or late > HELD_MS or bool(wrong or missing or stale))


def _left(one: Flow) -> bool:
    """Return whether an entry goes to an endpoint that leaves, by its addresses alone."""
    _, high, low, end = map(int, one.reply.source.split("."))
    number = (high - 128) * 250 + low
    return end == 1 and number % 2 == 0 and number // 2 < CHANGED


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench/conntrack.py", description="Measure a full table of connections (root).")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    asked = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench/conntrack.py needs root")
    sys.exit(uvloop.run(main(asked.entries)))
