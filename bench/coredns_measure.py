"""One resolver under load, whichever it is: started, asked, left to changes, and weighed. `make bench-dns` runs it for each.

The process that answers has core 0 for itself. Everything else has core 1: who asks, the API server with its store, and the process that
reads the API for ours. While it starts, a resolver has core 0 with all its processes. Loads keep so many queries on their way that the
resolver is busy; processor time shows what a query costs even where somebody else was the limit. For latencies the load is fixed and who
asks goes before everybody else on his core: waiting there would be taken for waiting here.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import e2e_load
from msgspec import Struct
from plane import ControlPlane, Process

ANSWERS, REST = 0, 1
"""The cores: of the process that answers, and of everybody else."""
CHANGES = 50
LATENCY_SECONDS = 5
START_SECONDS = 240.0

Figures = dict[str, float]


class Loads(Struct, frozen=True):
    """How long a load lasts, in seconds, and at which rates latency is measured: half of what CoreDNS can bear, and the goal's half."""

    seconds: int
    half: int
    goal: int = 55_000


class Resolver(Struct, frozen=True):
    """A resolver to measure: its process, where it answers, and which of its processes does (`of` its first)."""

    process: Process
    address: str
    port: int
    of: Callable[[int], int]


class Bench:
    """Measures a resolver on a node."""

    def __init__(self, plane: ControlPlane, node: str, resolver: Resolver, folder: Path) -> None:
        self._plane = plane
        self._node = node
        self._resolver = resolver
        self._process = resolver.process
        self._folder = folder
        self._made = 0

    async def measure(self, loads: Loads) -> Figures:
        """Return all figures."""
        found: Figures = {"start": await self._start()}
        self._part()
        await self._dnsperf("mix", "-n", "2", "-q", "200")  # what is asked for the first time is not what is measured
        found |= named("mix", await self._load("mix", loads.seconds))
        await self._dnsperf("external", "-n", "2", "-q", "200")
        found |= named("external", await self._load("external", loads.seconds))
        found |= named("half", await self._latency(loads.half or int(found["mix"] / 2)))
        found |= named("goal", await self._latency(loads.goal))
        found["rss"], found["rss_all"] = self._memory()
        async with self._changes():
            found |= named("changed", await self._load("mix", loads.seconds))
            before, began = self._made, monotonic()
            found |= named("changed_half", await self._latency(loads.half or int(found["mix"] / 2)))
            found["made"] = (self._made - before) / (monotonic() - began)
        await self._dnsperf("fill", "-n", "2", "-q", "200")
        found["rss_full"], _ = self._memory()
        await self._process.stop()
        return found

    async def _start(self) -> float:
        """Start it with one core for all it does; return when it answered the last Service."""
        began = monotonic()
        await self._process.start()
        pin([self._process.pid], ANSWERS)
        while monotonic() - began < START_SECONDS:
            if re.search(r"NOERROR 1 ", await self._dnsperf("last", "-n", "1", "-t", "1")):
                return monotonic() - began
            assert self._process.running, self._process.tail()
        raise TimeoutError(f"it does not answer: {self._process.tail()}")

    def _part(self) -> None:
        """Leave core 0 to the process that answers."""
        pin(self._family(), REST)
        pin([self._resolver.of(self._process.pid)], ANSWERS)

    async def _load(self, name: str, seconds: int) -> Figures:
        """Ask as much as it can answer; return queries per second, and per second of processor time: of all, and of who answers."""
        answers = self._resolver.of(self._process.pid)
        before, own = processor(self._family()), processor([answers])
        said = await self._dnsperf(name, "-l", str(seconds), "-q", "100", "-c", "8")
        used, own = processor(self._family()) - before, processor([answers]) - own
        completed = float(re.search(r"Queries completed:\s+(\d+)", said)[1])  # type: ignore[index]
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])  # type: ignore[index]
        return {"": rate, "cpu": completed / used, "own": completed / own}

    async def _latency(self, rate: int) -> Figures:
        """Return p50 and p99 at this rate, in seconds."""
        said = await self._dnsperf("mix", "-l", str(LATENCY_SECONDS), "-Q", str(rate), "-q", "1000", "-c", "8", "-v", first=True)
        times = sorted(float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("> ") and not line.startswith("> T"))
        return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}

    async def _dnsperf(self, questions: str, *options: str, first: bool = False) -> str:
        """Run dnsperf and return what it says; `first`: it goes before others on its core."""
        where = ("-s", self._resolver.address, "-p", str(self._resolver.port), "-d", str(self._folder / questions))
        before = ("nice", "-n", "-15") if first else ()  # no real-time class: its sender would keep its receiver waiting
        command = self._plane.lab.command(self._node, "taskset", "-c", str(REST), *before, "dnsperf", *where, *options)
        said = self._folder / "dnsperf"  # a file: who would read a pipe meanwhile would take the time that is measured
        with said.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
            await process.wait()
        return said.read_text(errors="replace")

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[None]:
        """Change endpoints meanwhile, so many times a second."""

        async def work() -> None:
            while True:
                began = monotonic()
                for number in range(CHANGES):
                    await e2e_load.say(self._plane, f"service-{number}", e2e_load.others(number, self._made // CHANGES + 1))
                    self._made += 1
                    await asyncio.sleep(max(0.0, began + (number + 1) / CHANGES - monotonic()))

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _family(self) -> list[int]:
        """Return the process and its children."""
        return family(self._process.pid)

    def _memory(self) -> tuple[float, float]:
        """Return the resident memory of who answers, and of all, in MiB."""
        return resident(self._resolver.of(self._process.pid)), sum(map(resident, self._family()))


def named(name: str, figures: Figures) -> Figures:
    """Return figures below a name: `mix`, `mix_cpu`."""
    return {f"{name}_{key}".rstrip("_"): value for key, value in figures.items()}


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return found


def resolver_of(pid: int) -> int:
    """Return the process of ours that answers: a child whose program is the resolver."""
    for each in family(pid):
        if b"pointsman.dns.resolver" in Path(f"/proc/{each}/cmdline").read_bytes():
            return each
    raise LookupError(f"process {pid} has no resolver")


def pin(pids: Iterable[int], core: int) -> None:
    """Let processes run on one core only, with all their threads."""
    for pid in pids:
        with suppress(OSError):  # tools come and go
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})


def processor(pids: Iterable[int]) -> float:
    """Return the processor time of processes, and of their children that have ended, in seconds."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Return a process's resident memory, in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]
