"""The stages one after the other, in a process of their own: how long each takes, and what memory it leaves behind.

Called by `run.py` with a folder of manifests, the number of Services and a folder for results. Prints JSON, and writes the texts that the
tools would be given, for an empty kernel and for one changed endpoint: `run.py` feeds them to the bare tools, which is the kernel's share.
"""

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cluster
from pointsman.dataplane import plan as planning
from pointsman.dataplane.contract import Outcome
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.wanted import Wanted
from pointsman.iptables import render
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.objects import Key, Value
from pointsman.kube.events import Batch, Upsert
from pointsman.kube.folder import Folder, parse_file
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host, gather
from pointsman.routing.build import Builder
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family
from pointsman.routing.snapshot import EMPTY, advance
from scratch import NODE_IP, resident

CHANGES = 200
FAMILY = Family.IPV4


class Stages:
    """The stages that have run so far, and the state of the next."""

    def __init__(self, size: cluster.Size) -> None:
        self.size = size
        self.rows: list[tuple[str, float, float]] = []
        self._builder = Builder()
        self._compiler = IptablesCompiler(FAMILY)
        self._wanted: Wanted[Key, Value] = Wanted(FAMILY, self._compiler)
        self._delta: Delta[Key, Value] = Delta(self._wanted.desired.values, self._compiler.group)
        self._node = node_facts()
        self._snapshot = EMPTY

    def load(self, manifests: Path) -> None:
        """Read files into objects, objects into a snapshot and routes."""
        self._begin()
        folder = Folder(str(manifests))
        for path in sorted(manifests.iterdir()):
            folder.put(parse_file(path.name, path.name, 0, path.read_bytes(), None))
        batch = folder.take_all()
        self._end("decode")
        self._begin()
        self._take(batch)
        self._end("route")

    def compile(self) -> None:
        """Compile everything and compare it with an empty kernel."""
        self._begin()
        self._delta.want(self._wanted.enter(dict(self._wanted.compiled())))
        self._delta.observe({})
        self._end("compile")

    def render(self) -> list[tuple[str, str]]:
        """Put everything that is pending into words: the tools, each with its input."""
        self._begin()
        plan = planning.make(self._delta, self._compiler.rank, self._compiler.group)
        steps = [(step.tool, step.text) for step in render.script(plan, FAMILY)]
        self._end("render")
        self._delta.applied(plan, Outcome({}))
        return steps

    def change(self, service: int, generation: int) -> tuple[float, list[tuple[str, str]]]:
        """Change one endpoint; return the seconds until the rules are compiled, and what the tools would be given."""
        protocol = "UDP" if service in self.size.udp() else "TCP"
        file = parse_file("", "one.json", 0, cluster.slice_manifest(service, protocol, generation), None)
        self._take(Batch((Upsert(next(file.stated())[1]),)))
        began = time.perf_counter()
        self._delta.want(self._wanted.enter(dict(self._wanted.compiled())))
        plan = planning.make(self._delta, self._compiler.rank, self._compiler.group)
        steps = [(step.tool, step.text) for step in render.script(plan, FAMILY)]
        seconds = time.perf_counter() - began
        self._delta.applied(plan, Outcome({}))
        return seconds, steps

    def _take(self, batch: Batch) -> None:
        self._snapshot, dirty = advance(self._snapshot, batch)
        self._wanted.offer(self._builder.update(self._snapshot, dirty, self._node), self._node)

    def _begin(self) -> None:
        self._began = time.perf_counter()

    def _end(self, name: str) -> None:
        self.rows.append((name, time.perf_counter() - self._began, resident("self")[0]))


def node_facts() -> NodeFacts:
    """Return the facts of the node that is measured."""
    config = Config(hostname_override=cluster.NODE, cluster_cidr=(cluster.POD_CIDR,), bind_address=NODE_IP)
    return gather(config, Host(cluster.NODE, {Family.IPV4: ("127.0.0.1", NODE_IP), Family.IPV6: ("::1",)}, tcp_be_liberal=False), {}).node


def main(manifests: Path, services: int, results: Path) -> None:
    """Run everything and print the figures."""
    start = resident("self")[0]
    stages = Stages(cluster.Size(services))
    stages.load(manifests)
    stages.compile()
    (results / "full.json").write_text(json.dumps(stages.render()))
    seconds: list[float] = []
    one: list[list[tuple[str, str]]] = []
    for number in range(CHANGES):
        took, steps = stages.change(number * 37 % services, number + 1)
        seconds.append(took)
        one.append(steps)
    (results / "one.json").write_text(json.dumps(one))
    now, peak = resident("self")
    print(json.dumps({
        "start": start, "stages": stages.rows, "now": now, "peak": peak,
        "compile_p50": statistics.median(seconds), "compile_p99": sorted(seconds)[int(len(seconds) * 0.99) - 1],
    }))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
