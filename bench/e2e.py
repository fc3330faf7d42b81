"""`make bench-e2e`: pointsman beside a real kube-proxy, one after the other in the same run, the same API server, mode and variant.

    e2e.py            1,000 and 5,000 Services x 10 endpoints, 100 changes each; iptables-nft with 1,000 only
    e2e.py --big      10,000 too
    e2e.py --quick    1,000 and 20 changes, iptables-legacy only
    e2e.py --write    also puts the figures into docs/performance.md

Needs root; programs are built by tools/e2e-build. Each proxy has a node (a network namespace) of its own, so that nothing has to be cleared
away between them, and is measured alone. Settings are the defaults of each. `e2e_load` fills the API server, `e2e_measure` measures.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))

import e2e_load
import e2e_measure
import run as pages
from plane import ControlPlane, Process
from plane_agent import permit, rules
from plane_objects import node as node_object
from plane_peer import KubeProxy
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import Topology

ROOT = Path(__file__).parents[1]
SIZES = (1_000, 5_000)
BIG = 10_000
SLOW_PEER = 1_000
"""Services up to which iptables-nft is measured: kube-proxy needs minutes to write more."""
PROGRAM = Path(sys.executable).parent / "pointsman"
CLUSTER = ("--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48")
NO_SYSCTLS = ("--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
OURS, PEER = "pointsman", "kube-proxy"
MARKS = ("<!-- bench-e2e:begin -->", "<!-- bench-e2e:end -->")

Figures = dict[str, dict[str, float]]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/e2e.py", description="Measure pointsman beside kube-proxy (root).")
    parser.add_argument("--quick", action="store_true", help="1,000 Services, 20 changes, iptables-legacy only; some minutes")
    parser.add_argument("--big", action="store_true", help="10,000 Services too (also: BIG=1 in the environment)")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    parser.add_argument("--services", type=int, action="append", help="measure at this size only (may be repeated)")
    parser.add_argument("--variant", action="append", choices=("legacy", "nft"), help="measure this variant only (may be repeated)")
    parser.add_argument("--changes", type=int, default=0, help="so many changes instead of 100")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    asked = arguments()
    if os.geteuid() != 0:
        print("bench/e2e.py needs root: network namespaces and rules are made", file=sys.stderr)
        return 1
    began, load = time.monotonic(), os.getloadavg()[0]
    binaries = Path(subprocess.run([ROOT / "tools/e2e-build"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    sizes = asked.services or ((1_000,) if asked.quick else (*SIZES, *((BIG,) if asked.big or os.environ.get("BIG") else ())))
    texts = []
    for services in sizes:
        folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
        try:
            texts += list(asyncio.run(measured(asked, services, binaries, folder)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    took = f"{time.monotonic() - began:.0f} s; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    command = " ".join(["bench/e2e.py", *sys.argv[1:]])
    said = "\n".join([f"`{command}` took {took}.\n\n{pages.machine()}\n", *texts])
    print(said)
    if asked.write:
        pages.write(said, MARKS)
    return 0


async def measured(asked: argparse.Namespace, services: int, binaries: Path, folder: Path) -> list[str]:
    """Measure both proxies with one API server of this size; return a table for each variant."""
    variants = asked.variant or (("legacy",) if asked.quick or services > SLOW_PEER else ("legacy", "nft"))
    cases = [(variant, who) for variant in variants for who in (OURS, PEER)]
    changes = asked.changes or (20 if asked.quick else 100)
    plan = e2e_measure.Plan(changes, 5.0 if asked.quick else 20.0, 10.0 if asked.quick else 20.0, services)
    figures: dict[str, Figures] = {variant: {} for variant in variants}
    async with Laboratory(Topology(nodes=len(cases), pods_per_node=4)) as lab, ControlPlane(lab, folder, binaries) as plane:
        for name in lab.topology.node_names:
            made, status = node_object(lab.topology, name, "zone-a")
            await plane.api.create(made)
            await plane.api.patch(f"/api/v1/nodes/{name}/status", status)
        await permit(plane, rules())
        pages.say(f"{services:,} Services: filling the API server")
        addresses, others = await e2e_load.fill(plane, services), e2e_load.Others(plane, services)
        for node, (variant, who) in zip(lab.topology.node_names, cases, strict=True):
            pages.say(f"{services:,} Services, iptables-{variant}: {who}")
            scratch = folder / node
            scratch.mkdir()
            process = proxy(plane, who, variant, node, scratch, binaries)
            figures[variant][who] = await e2e_measure.Bench(plane, node, variant, process, addresses[node], others).measure(plan)
    size = f"{services:,} x {e2e_load.ENDPOINTS}"
    return [table_of(f"{size}, iptables-{variant}", found, changes, only_legacy=variant != "legacy") for variant, found in figures.items()]


def proxy(plane: ControlPlane, who: str, variant: str, node: str, scratch: Path, binaries: Path) -> Process:
    """Return a proxy's process, which is not started yet."""
    if who == PEER:
        made: Process = KubeProxy(plane, binaries, node, "iptables", variant, scratch).process
        return made
    kubeconfig = plane.admin_kubeconfig()
    surroundings = ("--kubeconfig", kubeconfig, "--hostname-override", node, "--socket", scratch / "agent.sock", "--oom-score-adj", "0")
    command = (PROGRAM, "run", "--proxy-mode", "iptables", "--iptables-variant", variant, *surroundings, *NO_SYSCTLS, *CLUSTER)
    return Process(plane.lab, node, scratch / "agent.log", command, {"XTABLES_LOCKFILE": str(scratch / "lock")})


LINES = (
    ("start to fully programmed", "cold", "s", 1.0),
    ("one change, PATCH to kernel, p50", "kernel_p50", "ms", 1000.0),
    ("  p99, to kernel", "kernel_p99", "ms", 1000.0),
    ("one change, PATCH to first packet, p50", "packet_p50", "ms", 1000.0),
    ("  p99", "packet_p99", "ms", 1000.0),
    ("the same at 50 other changes/s, p50", "hurried_p50", "ms", 1000.0),
    ("processor time of the start, with tools", "cpu_start", "s", 1.0),
    ("at rest, share of a core", "rest", "%", 1.0),
    ("at 50 changes/s, share of a core", "hurry", "%", 1.0),
    ("resident memory at rest", "rss_rest", "MiB", 1.0),
    ("  its peak", "rss_peak", "MiB", 1.0),
)


def table_of(title: str, found: Figures, changes: int, *, only_legacy: bool) -> str:
    """Return a table: what, ours, the peer's, and the ratio; `only_legacy`: without what can be told of the legacy variant only.

    The nft variant tells of transactions, but not which one a packet needs; the first packet there is the kernel's time, to a millisecond.
    """
    lines = [line for line in _lines(found) if not only_legacy or "to kernel" not in line[0]]
    heads = ("what", OURS, PEER, "ratio")
    widths = [max(len(row[place]) for row in (heads, *lines)) for place in range(len(heads))]
    shown = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in (heads, *lines)]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"### {title}, {changes} changes\n", shown[0], rule, *shown[1:], ""])


def _lines(found: Figures) -> Iterator[tuple[str, str, str, str]]:
    ours, peer = found[OURS], found[PEER]
    for what, key, unit, factor in LINES:
        digits = 2 if unit in ("s", "%") else 0
        mine, other = ours[key] * factor, peer[key] * factor
        ratio = f"{mine / other:.2f}x" if other else ""
        yield what, f"{mine:.{digits}f} {unit}", f"{other:.{digits}f} {unit}", ratio


if __name__ == "__main__":
    sys.exit(main())
