"""One demonstration from beginning to end: build, route, ask, compare, remove an endpoint, take everything down again.

The parts are elsewhere: `lab` is the cluster, `agents` the daemons, `scene` the questions, `trial` the traffic, `judgement` the comparison,
`removal` the change, `lookups` the names, `show` the output. Everything made here is bound to a context that removes it, so an error,
Ctrl-C and SIGTERM leave nothing behind.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from time import monotonic

from msgspec import Struct
from pointsman.proxy.config import Config
from pointsman.proxy.demo import agents, lookups, manifests, removal, scene, trial
from pointsman.proxy.demo.agents import Agents
from pointsman.proxy.demo.judgement import Finding
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lookups import Lookups
from pointsman.proxy.demo.removal import Removal
from pointsman.proxy.demo.scene import TOPOLOGY, Case
from pointsman.proxy.demo.show import Screen
from pointsman.routing.build import build
from pointsman.routing.node import NodeFacts
from pointsman.routing.oracle import Oracle
from pointsman.routing.route import Protocol
from pointsman.routing.snapshot import Snapshot


class Report(Struct, frozen=True):
    """Everything that was found; `removed` is None if the shop has no Service by which a removal can be measured.

    `lookups` is None where no names were looked up.
    """

    findings: tuple[Finding, ...]
    removed: Removal | None
    seconds: float
    lookups: Lookups | None = None

    @property
    def passed(self) -> bool:
        """Return whether everything was as the oracle says."""
        return not any(one.differences for one in self.findings) and (self.removed is None or self.removed.passed) and (
            self.lookups is None or self.lookups.passed
        )


class Stage(Struct, frozen=True):
    """The cluster as it stands: laboratory, agents, the folder of manifests that they follow, and the oracle of each node."""

    lab: Laboratory
    agents: Agents
    folder: Path
    oracles: Mapping[str, Oracle]


@contextlib.asynccontextmanager
async def stage(snapshot: Snapshot, mode: str, variant: str, say: Callable[[str], None], *, dns: bool = False) -> AsyncIterator[Stage]:
    """Build the cluster and start an agent on each node, with DNS on the first if asked for. Raises LabError, AgentError, ManifestError."""
    with tempfile.TemporaryDirectory(prefix="pointsman-demo-") as place:
        folder = manifests.copy(manifests.SHOP, Path(place))
        corefile = Path(place) / "Corefile"
        corefile.write_text(lookups.COREFILE)
        serving = {scene.HOME: str(corefile)} if dns else {}
        configs = {
            node: agents.settings(Path(place), folder, node, mode, variant, corefile=serving.get(node, "")) for node in TOPOLOGY.node_names
        }
        began = monotonic()
        lab = Laboratory(TOPOLOGY, serve=False)
        try:
            async with lab:
                for opening in scene.openings(snapshot):
                    lab.servers.serve(opening.place, Protocol(opening.protocol), opening.port)
                say(f"built {len(TOPOLOGY.node_names)} nodes and {len(scene.pods(snapshot))} pods in {monotonic() - began:.1f} s")
                running = Agents(lab, configs)
                began = monotonic()
                try:
                    await running.start()
                    command = f"pointsman run --proxy-mode {mode} --iptables-variant {variant}"
                    say(f"started `{command}` on each node, in sync after {monotonic() - began:.1f} s")
                    yield Stage(lab, running, folder, {node: _oracle(snapshot, config) for node, config in configs.items()})
                finally:
                    await running.stop()
                    for node in serving:
                        lookups.end(lab, node)
        finally:
            for left in lab.leftovers:
                say(f"left behind: {left}")


async def perform(
    mode: str, variant: str, screen: Screen, snapshot: Snapshot, *, keep: Callable[[Stage, Report], None] | None, table: bool
) -> Report:
    """Run the demonstration and return what was found; with `keep`, call it at the end and wait for SIGTERM before taking it down."""
    stopped = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    began = monotonic()
    async with stage(snapshot, mode, variant, screen.say, dns=True) as stood:
        cases = scene.cases(snapshot, build(snapshot, _facts(stood.agents.configs[scene.HOME], snapshot)))
        report = await _ask(stood, cases, screen, began, table=table)
        if keep is not None:
            loop.add_signal_handler(signal.SIGTERM, stopped.set)
            keep(stood, report)
            await stopped.wait()
    return report


def notes(stood: Stage) -> str:
    """Return how to look around in a cluster that was kept, and how to remove it."""
    lab, config = stood.lab, stood.agents.configs[scene.HOME]
    node = f"{lab.scope}-{scene.HOME}"
    return "\n".join((
        f"The cluster goes on as process {os.getpid()}. Look around:",
        f"  pointsman services --socket {config.socket}",
        f"  ip netns exec {node} iptables-{'nft' if config.iptables_variant == 'nft' else 'legacy'}-save -t nat | grep shop/web",
        f"  ip netns exec {lab.scope}-n1p6 python3 -c 'import socket; print(socket.create_connection((\"10.96.10.1\", 80)).recv(99))'",
        f"  the agents follow changes in {stood.folder}; their logs are {Path(config.socket).parent}/*.log",
        f"Remove everything: kill {os.getpid()}",
    ))


async def _ask(stood: Stage, cases: tuple[Case, ...], screen: Screen, began: float, *, table: bool) -> Report:
    """Ask every question, then measure the removal."""
    if table:
        screen.open(cases)
    try:
        findings = await trial.run(stood.lab, stood.oracles, cases, screen.add)
    finally:
        screen.close()
    questions = removal.choose([(one.case, one.outcome) for one in findings])
    removed = await removal.measure(stood.lab, stood.folder, questions, screen.say) if questions else None
    if removed is not None:
        screen.removal(removed)
    looked = await lookups.measure(stood.lab, scene.HOME, f"{scene.HOME}p1") if stood.agents.configs[scene.HOME].dns else None
    if looked is not None:
        screen.lookups(looked)
    return Report(tuple(findings), removed, monotonic() - began, looked)


def _oracle(snapshot: Snapshot, config: Config) -> Oracle:
    facts = _facts(config, snapshot)
    return Oracle(build(snapshot, facts), facts)


def _facts(config: Config, snapshot: Snapshot) -> NodeFacts:
    return agents.facts(config, snapshot, TOPOLOGY)
