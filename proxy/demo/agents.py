"""The agents of the demonstration: one real `pointsman run` per node, as a process inside the node's namespace.

Their settings are told here once, as a `Config`: the command line is made from it, and so are the facts by which the oracle judges; both
cannot drift apart. Each has a folder for its log, its status socket and its xtables lock, so nothing of the host is shared.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from pointsman.proxy.cli.services import UnreachableError, decode, fetch
from pointsman.proxy.config import Config
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import POD_RANGE, Topology
from pointsman.proxy.facts import Host, gather
from pointsman.proxy.status import FamilyStatus
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family
from pointsman.routing.snapshot import Snapshot

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1
_LOG_LINES = 12


class AgentError(Exception):
    """An agent did not start, or did not get ready; the text holds the end of its log."""


def settings(folder: Path, manifests: Path, node: str, mode: str, variant: str, *, corefile: str = "") -> Config:
    """Return an agent's configuration; its files are in `folder`. With a Corefile it answers DNS."""
    return Config(
        dns=bool(corefile),
        dns_corefile=corefile,
        mode=mode,
        iptables_variant=variant,
        manifests=str(manifests),
        hostname_override=node,
        cluster_cidr=tuple(POD_RANGE.values()),
        socket=str(folder / f"{node}.sock"),
        oom_score_adj=0,
        conntrack_max_per_core=0,  # the host's, and a namespace may not change it
    )


def arguments(config: Config) -> list[str]:
    """Return the command line of an agent."""
    return [
        "run",
        f"--proxy-mode={config.mode}",
        f"--iptables-variant={config.iptables_variant}",
        f"--manifests={config.manifests}",
        f"--hostname-override={config.hostname_override}",
        f"--cluster-cidr={','.join(config.cluster_cidr)}",
        f"--socket={config.socket}",
        f"--oom-score-adj={config.oom_score_adj}",
        f"--conntrack-max-per-core={config.conntrack_max_per_core}",
        *(("--dns", f"--corefile={config.dns_corefile}") if config.dns else ()),
    ]


def facts(config: Config, snapshot: Snapshot, topology: Topology) -> NodeFacts:
    """Return the facts by which an agent of this configuration decides in the laboratory."""
    node = config.hostname_override
    addresses = {family: topology.local_addresses(node, family) for family in Family}
    return gather(config, Host(node, addresses), snapshot.nodes).node


class Agents:
    """The running agents by node."""

    def __init__(self, lab: Laboratory, configs: Mapping[str, Config]) -> None:
        self.configs = configs
        self._lab = lab
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._logs: dict[str, TextIO] = {}

    def log(self, node: str) -> Path:
        """Return where an agent's log is."""
        return Path(self.configs[node].socket).with_suffix(".log")

    async def start(self) -> None:
        """Start every agent and wait until each has programmed its kernel; raises AgentError."""
        for node, config in self.configs.items():
            lock = Path(config.socket).with_suffix(".lock")
            command = self._lab.command(node, sys.executable, "-P", "-m", "pointsman.proxy.cli.main", *arguments(config))
            self._logs[node] = self.log(node).open("w")
            self._processes[node] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._logs[node],
                stderr=self._logs[node],
                env={**os.environ, "XTABLES_LOCKFILE": str(lock)},
                start_new_session=True,  # Ctrl-C is for us: we end them in order
            )
        await asyncio.gather(*map(self._ready, self.configs))

    async def halt(self, node: str) -> None:
        """End the agent of one node and leave what it programmed."""
        process = self._processes.pop(node)
        process.terminate()
        await process.wait()

    async def stop(self) -> None:
        """End every agent, at first by asking."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        for log in self._logs.values():
            log.close()
        self._processes.clear()
        self._logs.clear()

    async def _ready(self, node: str) -> None:
        """Wait until both families are in sync."""
        process = self._processes[node]
        try:
            async with asyncio.timeout(READY_SECONDS):
                while process.returncode is None:
                    families = await asyncio.to_thread(self._families, node)
                    if families and all(family.in_sync_since for family in families):
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AgentError(f"the agent of {node} was not in sync within {READY_SECONDS:.0f} s:\n{self._tail(node)}") from None
        raise AgentError(f"the agent of {node} ended with status {process.returncode}:\n{self._tail(node)}")

    def _families(self, node: str) -> tuple[FamilyStatus, ...]:
        path = self.configs[node].socket
        try:
            return decode(fetch(path, "/v1/status"), path).families
        except UnreachableError:
            return ()

    def _tail(self, node: str) -> str:
        return "\n".join(self.log(node).read_text(errors="replace").splitlines()[-_LOG_LINES:])
