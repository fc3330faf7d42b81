"""`make bench-dns`: pointsman's resolver beside CoreDNS, in the same run, with the same API server and the same Corefile.

    coredns.py                 10,000 Services x 10 endpoints
    coredns.py --services N    another number
    coredns.py --seconds N     how long each load lasts (15)
    coredns.py --write         also puts the figures into docs/performance.md

Needs root, dnsperf (tools/setup), and what tools/e2e-build and tools/coredns-build build. Each resolver has core 0 for itself, dnsperf has
core 1; on a machine that does other things the ratios are worth more than the figures, and queries per second of processor time most.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import coredns_mix
import e2e_load
import run as pages
from plane import ControlPlane, Process
from plane_objects import metadata
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import Topology

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "pointsman"
PORT = 5300
UPSTREAM = 5399
MARKS = ("<!-- bench-dns:begin -->", "<!-- bench-dns:end -->")
OURS, PEER = "pointsman", "CoreDNS"
CHANGES = 50
COREFILE = f""".:{PORT} {{
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig KUBECONFIG
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    forward . 127.0.0.1:{UPSTREAM}
    cache 30
    loadbalance
}}
"""
LINES = (
    ("queries/s, the mix", "mix", "", 1), ("  per second of processor time", "mix_cpu", "", 1),
    ("queries/s, external names in the cache", "external", "", 1), ("  per second of processor time", "external_cpu", "", 1),
    ("p50 at half of CoreDNS's load", "p50", "ms", 1000), ("p99", "p99", "ms", 1000),
    (f"queries/s at {CHANGES} changes/s", "changed", "", 1), ("  per second of processor time", "changed_cpu", "", 1),
    ("start to the first right answer", "start", "s", 1), ("resident memory", "rss", "MiB", 1),
)  # fmt: skip

Figures = dict[str, float]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench/coredns.py", description="Measure pointsman's resolver beside CoreDNS (root).")
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("bench/coredns.py needs root: network namespaces are made", file=sys.stderr)
        return 1
    if shutil.which("dnsperf") is None:
        print("bench/coredns.py needs dnsperf: run tools/setup e2e, or apt-get install dnsperf", file=sys.stderr)
        return 1
    began, load = time.monotonic(), os.getloadavg()[0]
    binaries, peer = (
        Path(subprocess.run([ROOT / "tools" / tool], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        for tool in ("e2e-build", "coredns-build")
    )
    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    try:
        found = asyncio.run(measured(asked, binaries, peer, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    took = f"{time.monotonic() - began:.0f} s; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    command = " ".join(["bench/coredns.py", *sys.argv[1:]])
    said = "\n".join([f"`{command}` took {took}.\n\n{pages.machine()}\n", table_of(found, asked.services)])
    print(said)
    if asked.write:
        pages.write(said, MARKS)
    return 0


async def measured(asked: argparse.Namespace, binaries: Path, peer: Path, folder: Path) -> dict[str, Figures]:
    """Measure both with one API server."""
    async with Laboratory(Topology(nodes=2, pods_per_node=4)) as lab, ControlPlane(lab, folder, binaries) as plane:
        node = lab.topology.node_names[0]
        pages.say(f"{asked.services:,} Services: filling the API server")
        await e2e_load.fill(plane, asked.services)
        for number in range(coredns_mix.HEADLESS):
            service, endpoints = e2e_load.objects(f"headless-{number}", e2e_load.others(asked.services + number))
            service["spec"] = {**service["spec"], "clusterIP": "None"}  # type: ignore[dict-item]
            await plane.api.create(service, endpoints)
        await plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata("ready")})
        for name, only in (("mix", False), ("external", True)):
            coredns_mix.write(folder / name, asked.services, only_external=only)
        corefile = folder / "Corefile"
        corefile.write_text(COREFILE.replace("KUBECONFIG", str(plane.admin_kubeconfig())))
        pin = ("taskset", "-c", "0")
        commands = {
            PEER: (*pin, peer, "-conf", corefile),
            OURS: (*pin, PROGRAM, "dns", "serve", "--corefile", corefile, "--listen", f"127.0.0.1:{PORT}"),
        }
        upstream = (sys.executable, ROOT / "bench/coredns_mix.py", "127.0.0.1", str(UPSTREAM))
        source = Process(lab, node, folder / "upstream.log", upstream, {})
        await source.start()
        found: dict[str, Figures] = {}
        half = 0
        for who, command in commands.items():
            pages.say(f"{asked.services:,} Services: {who}")
            process = Process(lab, node, folder / f"{who}.log", command, {"GOMAXPROCS": "1"} if who == PEER else {})
            bench = Bench(plane, node, process, folder, asked)
            found[who] = await bench.measure(half)
            half = half or int(found[who]["mix"] / 2)
        await source.stop()
        return found


class Bench:
    """One resolver under load."""

    def __init__(self, plane: ControlPlane, node: str, process: Process, folder: Path, asked: argparse.Namespace) -> None:
        self._plane = plane
        self._node = node
        self._process = process
        self._folder = folder
        self._asked = asked

    async def measure(self, half: int) -> Figures:
        """Return all figures; `half` is the load at which latency is measured (0: half of what this one can)."""
        found: Figures = {"start": await self._start()}
        await self._load("mix", 3)
        found["mix"], found["mix_cpu"] = await self._load("mix", self._asked.seconds)
        await self._load("external", 2)
        found["external"], found["external_cpu"] = await self._load("external", self._asked.seconds)
        found["p50"], found["p99"] = await self._latency(half or int(found["mix"] / 2))
        async with self._changes():
            found["changed"], found["changed_cpu"] = await self._load("mix", self._asked.seconds)
        found["rss"] = sum(resident(pid) for pid in self._family())
        await self._process.stop()
        return found

    async def _start(self) -> float:
        """Start it; return when it answered the last Service."""
        began = time.monotonic()
        await self._process.start()
        name = f"service-{self._asked.services - 1}.{coredns_mix.NAMESPACE}.svc.cluster.local"
        question = self._folder / "ready"
        question.write_text(f"{name} A\n")
        while time.monotonic() - began < 120:
            said = await self._dnsperf(question, "-n", "1", "-t", "1")
            if re.search(r"NOERROR 1 ", said):
                return time.monotonic() - began
        raise TimeoutError(f"it does not answer: {self._process.tail()}")

    async def _load(self, name: str, seconds: int) -> tuple[float, float]:
        """Ask as much as it can answer; return queries per second, and per second of its processor time."""
        before = self._processor()
        said = await self._dnsperf(self._folder / name, "-l", str(seconds), "-q", "100", "-c", "8")
        used = self._processor() - before
        completed = float(re.search(r"Queries completed:\s+(\d+)", said).group(1))  # type: ignore[union-attr]
        return float(re.search(r"Queries per second:\s+([\d.]+)", said).group(1)), completed / used  # type: ignore[union-attr]

    async def _latency(self, rate: int) -> tuple[float, float]:
        """Return p50 and p99 at this rate, in seconds."""
        said = await self._dnsperf(self._folder / "mix", "-l", "5", "-Q", str(rate), "-q", "1000", "-c", "8", "-v")
        times = sorted(float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("> ") and not line.startswith("> T"))
        return times[len(times) // 2], times[len(times) * 99 // 100]

    async def _dnsperf(self, questions: Path, *options: str) -> str:
        program = ("taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", str(PORT), "-d", str(questions), *options)
        command = self._plane.lab.command(self._node, *program)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        out, _ = await process.communicate()
        return out.decode()

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[None]:
        """Change endpoints meanwhile, so many times a second."""

        async def work() -> None:
            turn = 0
            while True:
                began = time.monotonic()
                for number in range(CHANGES):
                    turn += 1
                    await e2e_load.say(self._plane, f"service-{number}", e2e_load.others(number, turn // CHANGES + 1))
                    await asyncio.sleep(max(0.0, began + (number + 1) / CHANGES - time.monotonic()))

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()

    def _family(self) -> list[int]:
        """Return the process and its children."""
        found = [self._process.pid]
        for pid in found:
            found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def _processor(self) -> float:
        """Return the processor time of all of them, in seconds."""
        ticks = 0
        for pid in self._family():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Return a process's resident memory, in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024  # type: ignore[union-attr]


def table_of(found: dict[str, Figures], services: int) -> str:
    """Return the table: what, ours, CoreDNS's, ratio."""
    rows = [f"### DNS, {services:,} x {e2e_load.ENDPOINTS}, each on one core\n", f"| what | {OURS} | {PEER} | ratio |", "|---|---|---|---|"]
    for what, key, unit, factor in LINES:
        mine, other = found[OURS][key] * factor, found[PEER][key] * factor
        digits = 2 if unit in ("ms", "s") else 0
        rows.append(f"| {what} | {mine:,.{digits}f} {unit} | {other:,.{digits}f} {unit} | {mine / other:.2f}x |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    sys.exit(main())
