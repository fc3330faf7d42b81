"""The daemon is killed again and again while Services change: no connection breaks, none is refused, and the next start puts all right."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pointsman.routing.route import Family, Protocol
from table_cluster import cluster
from table_modes import MODES
from table_services import BY_NAME, Port, ready
from table_traffic import traffic

pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("mode", [mode.param() for mode in MODES[:2]])]

KILLS = 50  # in each variant
STARTING = 1.2  # seconds: half of the daemons are killed while they start, read the kernel and write for the first time
WRITING = 0.25  # the others while they write a change
STEADY = replace(BY_NAME["cc-both"], ports=(Port(80, Protocol.TCP), Port(53, Protocol.UDP)))
SETS = (ready("n1p1", "n2p1"), ready("n1p2"), ready("n1p1", "n1p2", "n2p1", "n2p2"), ready("n2p2", "n2p3"))


def scene(dice, step):
    """Return Services: one that always has endpoints, which change, and others that come and go with everything that they have."""
    others = [replace(BY_NAME[name], number=100 + place) for place, name in enumerate(("ranges-cc-both", "cc-both", "cl-both"))]
    some = [replace(one, name=f"{one.name}-x", ends=dice.choice((*SETS, ()))) for one in others if dice.random() < 0.6]
    return (replace(STEADY, ends=SETS[step % len(SETS)]), *some)


def kernel_state(made, scratch):
    """Return what the first node's kernel holds, without counters and without an order that means nothing."""
    environment = {**os.environ, "XTABLES_LOCKFILE": str(scratch / "n1.lock")}
    variant = made.mode.name.removeprefix("iptables-")
    found = []
    for command in (f"iptables-{variant}-save", f"ip6tables-{variant}-save", "ipset save"):
        done = subprocess.run(made.lab.command("n1", *command.split()), capture_output=True, text=True, check=True, env=environment)
        lines = [re.sub(r"\[\d+:\d+\]|initval \w+|hashsize \d+|bucketsize \d+", "", line) for line in done.stdout.splitlines()]
        found.append(sorted(line for line in lines if not line.startswith("#")))
    return found


async def test_a_daemon_that_is_killed_at_any_moment_breaks_nothing(mode, tmp_path):
    dice = random.Random(f"{mode}")
    targets = [("n1p4", STEADY.cluster_ip(family), port.number, port.protocol) for family in Family for port in STEADY.ports]
    async with cluster(mode, tmp_path, STEADY) as made:
        async with made.start():
            pass
        async with traffic(made.lab, targets, streams=100, flows=0, per_second=40) as flow:
            for step in range(KILLS):
                made.write(*scene(dice, 2 * step))
                async with made.start_unready() as running:
                    if step % 2:
                        await running.in_sync()
                    made.write(*scene(dice, 2 * step + 1))
                    await asyncio.sleep(dice.uniform(0, WRITING if step % 2 else STARTING))
                    assert running.process.returncode is None, running.log.read_text()
                    running.process.send_signal(signal.SIGKILL)
            last = scene(dice, 1)
            made.write(*last)
            async with made.start():
                pass
        after = kernel_state(made, tmp_path)
        program = str(Path(sys.executable).parent / "pointsman")
        environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "n1.lock")}
        removing = await asyncio.create_subprocess_exec(*made.lab.command("n1", program, "cleanup"), env=environment)
        assert await removing.wait() == 0
        async with made.start():
            pass
        assert after == kernel_state(made, tmp_path), "it is not as if nobody had been killed"
        print(f"{KILLS} kills; {len(flow.streams)} established and {flow.made} new connections, none lost, slowest {flow.slowest:.2f} s")
