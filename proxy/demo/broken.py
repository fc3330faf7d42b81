"""`pointsman demo --break FAULT`: the shop with one fault planted, for somebody to find.

The cluster and its agents are those of the demonstration; when all is programmed, the agent of the first node is stopped, as if it had
died, and the fault is planted there by the tools that people have. Then it stays until it is told to end. What there is to see is told,
and how to ask; not what it is.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import Callable

from pointsman.proxy.cli.services import decode, fetch
from pointsman.proxy.demo.faults import Fault
from pointsman.proxy.demo.lab_namespace import LabError
from pointsman.proxy.demo.lab_topology import POD_RANGE
from pointsman.proxy.demo.scene import HOME
from pointsman.proxy.demo.session import Stage, stage
from pointsman.proxy.demo.show import Screen
from pointsman.routing.snapshot import Snapshot

SECONDS = 60.0
"""How long one command that plants a fault may take."""


async def perform(
    mode: str, variant: str, screen: Screen, snapshot: Snapshot, *, fault: Fault, keep: Callable[[Stage], None]
) -> None:
    """Build the cluster, plant the fault, call `keep`, and wait for SIGTERM. Raises LabError, AgentError, ManifestError."""
    stopped = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with stage(snapshot, mode, variant, screen.say) as stood:
        path = stood.agents.configs[HOME].socket
        chosen = decode(await asyncio.to_thread(fetch, path, "/v1/status"), path).variant
        await stood.agents.halt(HOME)
        await plant(stood, fault, chosen)
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        keep(stood)
        await stopped.wait()


async def plant(stood: Stage, fault: Fault, variant: str) -> None:
    """Run a fault's commands on the first node. Raises LabError if one fails."""
    for step in fault.steps(variant):
        process = await asyncio.create_subprocess_exec(
            *stood.lab.command(HOME, *shlex.split(step)), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
        if process.returncode != 0:
            raise LabError(f"the fault {fault.name} cannot be planted here: {step}: {said.decode(errors='replace').strip()}")


def flags(stood: Stage) -> list[str]:
    """Return the flags by which commands know what is wanted on the first node, now that its agent does not answer."""
    config = stood.agents.configs[HOME]
    return [
        f"--manifests={stood.folder}", f"--hostname-override={HOME}", f"--proxy-mode={config.mode}",
        f"--iptables-variant={config.iptables_variant}", f"--cluster-cidr={','.join(POD_RANGE.values())}",
    ]  # fmt: skip


def riddle(stood: Stage, fault: Fault) -> str:
    """Return what a user sees, and how to look for the cause."""
    node, given = f"{stood.lab.scope}-{HOME}", " ".join(flags(stood))
    question = fault.asked.removeprefix("pointsman explain ")
    return "\n".join((
        f"Something is broken on node {HOME}: {fault.seen}.",
        "Find it (as root):",
        f"  alias look='ip netns exec {node} pointsman'",
        f"  look explain {given} {question}",
        f"  look diff {given}",
        f"  look doctor {given}",
        f"What was done stands in docs/debugging.md. The cluster goes on as process {os.getpid()}; remove everything: kill {os.getpid()}",
    ))


