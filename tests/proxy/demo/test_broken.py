import asyncio
import io
import os
import signal
import sys

import pytest
from pointsman.proxy.demo import broken, manifests, scene
from pointsman.proxy.demo.faults import FAULTS
from pointsman.proxy.demo.scene import HOME
from pointsman.proxy.demo.show import Screen
from rich.console import Console


@pytest.mark.kernel
async def test_a_fault_is_planted_beside_real_agents_and_can_be_found():
    """On the whole cluster: the riddle says what is seen and how to ask, and what it says finds the cause."""
    fault = next(one for one in FAULTS if one.name == "changed-target")
    snapshot = manifests.load(manifests.SHOP)
    asked, looking = [], []

    def keep(stood):
        asked.append(broken.riddle(stood, fault))
        looking.append(asyncio.ensure_future(look(stood)))

    async def look(stood):
        source, target, _ = fault.question
        command = stood.lab.command(
            HOME, sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "explain", *broken.flags(stood), "--from", source, "--to", target,
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await process.communicate()
        os.kill(os.getpid(), signal.SIGTERM)
        return process.returncode, said.decode()

    screen = Screen(scene.pods(snapshot), Console(file=io.StringIO()))
    await broken.perform("iptables", "nft", screen, snapshot, fault=fault, keep=keep)
    status, said = await looking[0]
    assert status == 1
    assert fault.named["explain"] in said
    assert fault.seen in asked[0]
    assert "kill" in asked[0]
