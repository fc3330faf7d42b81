"""`make bench-dns`: pointsman's resolver beside CoreDNS, in the same run, with the same API server and the same Corefile.

    coredns.py                 10,000 Services x 10 endpoints
    coredns.py --services N    another number
    coredns.py --seconds N     how long each load lasts (6)
    coredns.py --write         also puts the figures into docs/performance.md

Ours is measured twice: alone (`dns serve`), and in the agent, while all Services are programmed on its node (`run --dns`). Needs root, two
cores, dnsperf (tools/setup), and what tools/e2e-build and tools/coredns-build build; five minutes. On a machine that does other things the
ratios are worth more than the figures, and queries per second of processor time most. `coredns_measure` measures, `coredns_mix` asks.
"""

import argparse
import asyncio
import os
import shutil
import signal
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

import coredns_measure
import coredns_mix
import e2e_load
import run as pages
import scratch
from coredns_measure import CHANGES, Figures, Loads, Resolver
from e2e import CLUSTER, NO_SYSCTLS
from plane import ControlPlane, Process
from plane_objects import metadata
from plane_objects import node as node_object
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import Topology

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "pointsman"
PORT = 5300
UPSTREAM = 5399
OWN_ADDRESS = "169.254.20.10"
"""Where the agent answers."""
MARKS = ("<!-- bench-dns:begin -->", "<!-- bench-dns:end -->")
OURS, BESIDE, PEER = "pointsman", "in the agent", "CoreDNS"
COREFILE = f""".:PORT {{
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        KUBECONFIG
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
    ("p50 at half of CoreDNS's load", "half_p50", "ms", 1000), ("  p99", "half_p99", "ms", 1000),
    ("p50 at 55,000/s", "goal_p50", "ms", 1000), ("  p99", "goal_p99", "ms", 1000),
    (f"queries/s at {CHANGES} changes/s", "changed", "", 1), ("  per second of processor time", "changed_cpu", "", 1),
    ("  per second of that of who answers", "changed_own", "", 1), ("    the same without changes", "mix_own", "", 1),
    (f"p50 at half of CoreDNS's load and {CHANGES} changes/s", "changed_half_p50", "ms", 1000), ("  p99", "changed_half_p99", "ms", 1000),
    ("  changes/s that the API server took meanwhile", "made", "", 1),
    ("start to the first right answer", "start", "s", 1),
    ("resident memory of who answers", "rss", "MiB", 1), ("  with a full cache", "rss_full", "MiB", 1),
    ("resident memory of all processes", "rss_all", "MiB", 1),
)  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench/coredns.py", description="Measure pointsman's resolver beside CoreDNS (root).")
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=6, help="how long each load lasts (6)")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("bench/coredns.py needs root: network namespaces are made", file=sys.stderr)
        return 1
    if shutil.which("dnsperf") is None:
        print("bench/coredns.py needs dnsperf: run tools/setup e2e, or apt-get install dnsperf", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away then too
    began, load = time.monotonic(), os.getloadavg()[0]
    binaries, peer = (
        Path(subprocess.run([ROOT / "tools" / tool], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        for tool in ("e2e-build", "coredns-build")
    )
    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    try:
        scratch.compile_ahead(folder)
        peer.read_bytes()  # nobody's start waits for the disk
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
    """Measure all with one API server, the peer first: what it can bear is the load at which latency is measured."""
    found: dict[str, Figures] = {}
    async with Laboratory(Topology(nodes=2, pods_per_node=4)) as lab, ControlPlane(lab, folder, binaries) as plane:
        await _fill(plane, asked.services)
        coredns_mix.write(folder, asked.services)
        coredns_measure.pin([os.getpid(), plane.etcd.pid, plane.apiserver.pid, plane.controllers.pid], coredns_measure.REST)
        for node, names in zip(lab.topology.node_names, ((PEER, OURS), (BESIDE,)), strict=True):
            async with _upstream(plane, node, folder):
                for name in names:
                    pages.say(f"{asked.services:,} Services: {name}")
                    loads = Loads(asked.seconds, int(found[PEER]["mix"] / 2) if PEER in found else 0)
                    bench = coredns_measure.Bench(plane, node, _resolver(plane, name, node, folder, peer), folder)
                    found[name] = await bench.measure(loads)
    return found


async def _fill(plane: ControlPlane, services: int) -> None:
    """Create what is asked about; the last object is a Namespace, so that a list that has it has everything."""
    topology = plane.lab.topology
    for name in topology.node_names:
        made, status = node_object(topology, name, "zone-a")
        await plane.api.create(made)
        await plane.api.patch(f"/api/v1/nodes/{name}/status", status)
    pages.say(f"{services:,} Services: filling the API server")
    await e2e_load.fill(plane, services)
    for number in range(coredns_mix.HEADLESS):
        service, endpoints = e2e_load.objects(f"headless-{number}", e2e_load.others(services + number))
        service["spec"] = {**service["spec"], "clusterIP": "None"}  # type: ignore[dict-item]
        await plane.api.create(service, endpoints)
    await plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata("ready")})


@asynccontextmanager
async def _upstream(plane: ControlPlane, node: str, folder: Path) -> AsyncIterator[None]:
    """Answer external names on a node meanwhile."""
    command = ("taskset", "-c", str(coredns_measure.REST), sys.executable, ROOT / "bench/coredns_mix.py", "127.0.0.1", str(UPSTREAM))
    source = Process(plane.lab, node, folder / f"upstream-{node}.log", command, {})
    await source.start()
    try:
        yield
    finally:
        await source.stop()


def _resolver(plane: ControlPlane, name: str, node: str, folder: Path, peer: Path) -> Resolver:
    """Return a resolver that is not started yet."""
    kubeconfig, corefile = plane.admin_kubeconfig(), folder / f"Corefile-{node}"
    compiled = scratch.compiled(folder)
    log = folder / f"{node}-{name.replace(' ', '-')}.log"
    if name == BESIDE:
        corefile.write_text(COREFILE.replace("PORT", "53").replace("        KUBECONFIG\n", ""))
        surroundings = ("--kubeconfig", kubeconfig, "--hostname-override", node, "--socket", folder / "agent.sock", "--oom-score-adj", "0")
        mode = ("--proxy-mode", "iptables", "--iptables-variant", "legacy", *CLUSTER, *NO_SYSCTLS)
        command = (PROGRAM, "run", *mode, *surroundings, "--dns", "--corefile", corefile)
        process = Process(plane.lab, node, log, command, {**compiled, "XTABLES_LOCKFILE": str(folder / "lock")})
        return Resolver(process, OWN_ADDRESS, 53, coredns_measure.resolver_of)
    corefile.write_text(COREFILE.replace("PORT", str(PORT)).replace("KUBECONFIG", f"kubeconfig {kubeconfig}"))
    if name == PEER:
        process = Process(plane.lab, node, log, (peer, "-conf", corefile), {"GOMAXPROCS": "1"})
        return Resolver(process, "127.0.0.1", PORT, lambda pid: pid)
    command = (PROGRAM, "dns", "serve", "--corefile", corefile, "--listen", f"127.0.0.1:{PORT}", "--socket", folder / "dns.sock")
    return Resolver(Process(plane.lab, node, log, command, compiled), "127.0.0.1", PORT, coredns_measure.resolver_of)


def table_of(found: dict[str, Figures], services: int) -> str:
    """Return the table: what, ours alone and in the agent, CoreDNS's, and the ratio of ours alone to that."""
    head = f"### DNS, {services:,} x {e2e_load.ENDPOINTS}, each on one core\n"
    rows = [head, f"| what | {OURS} | {BESIDE} | {PEER} | ratio |", "|---|---|---|---|---|"]
    for what, key, unit, factor in LINES:
        digits = 2 if unit in ("ms", "s") else 0
        cells = (f"{found[who][key] * factor:,.{digits}f} {unit}".rstrip() for who in (OURS, BESIDE, PEER))
        rows.append(f"| {what} | {' | '.join(cells)} | {found[OURS][key] / found[PEER][key]:.2f}x |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    sys.exit(main())
