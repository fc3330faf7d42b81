"""A restart that has nothing to change writes nothing: every system call of the daemon and its tools that changes a kernel is counted."""

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pointsman.routing.route import Family, Protocol
from table_agent import Agent
from table_cluster import cluster
from table_modes import MODES
from table_services import BY_NAME, Port, ready
from table_traffic import traffic

pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("mode", [mode.param() for mode in MODES[:2]])]

PLAIN = replace(BY_NAME["cc-both"], ports=(Port(80, Protocol.TCP), Port(53, Protocol.UDP)))
TRACE_SECONDS = 60.0
LOOKS_SECONDS = 2.0  # by then it has usually read the kernel once more, and looked for what others left
CALLS = "execve,sendto,sendmsg,setsockopt,open,openat,openat2"
WRITES = re.compile(
    r"NFT_MSG_(?:NEW|DEL|DESTROY)\w+"  # nftables
    r"|IPT_SO_SET_\w+|IP6T_SO_SET_\w+"  # legacy tables
    r"|IPSET_CMD_(?:CREATE|DESTROY|FLUSH|RENAME|SWAP|ADD|DEL)\b"
    r"|IPCTNL_MSG_CT_(?:NEW|DELETE)|IPCTNL_MSG_EXP_(?:NEW|DELETE)"  # connection tracking
    r"|RTM_(?:NEW|DEL|SET)\w+"  # links, addresses, routes
    r'|"/proc/sys/[^"]+", O_(?:WRONLY|RDWR)[^=\n]*= \d'  # one that is refused, as on limits of the whole machine, changes nothing
    r'|execve\("[^"]*/(?:\w+tables[\w-]*-restore", \["[^"]+", "(?!-V")|(?:nft|conntrack|ip|modprobe)")'
)


@asynccontextmanager
async def traced(made, name):
    """Run a daemon under strace until it is in sync and has told so for a moment; give its writes once it has ended."""
    scratch = made.scratch / name
    scratch.mkdir()
    log, socket, trace = scratch / "n1.log", scratch / "n1.sock", scratch / "trace"
    tracer = ("strace", "-D", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-s", "64", "-o", str(trace))
    place = ("--manifests", str(made.folder), "--hostname-override", "n1", "--socket", str(socket))
    program = str(Path(sys.executable).parent / "pointsman")
    command = made.lab.command("n1", *tracer, program, "run", *made.mode.arguments, *place, *made.world.arguments)
    environment = {**os.environ, "XTABLES_LOCKFILE": str(made.scratch / "n1.lock")}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, env=environment)
    running, writes = Agent(process, str(socket), log), []
    try:
        await running.in_sync()
        yield running, writes
    finally:
        assert await running.stop() == 0
    writes += WRITES.findall(await complete(trace, process.pid))


async def complete(trace, pid):
    """Return a trace once it tells of the end of its process."""
    deadline = asyncio.get_running_loop().time() + TRACE_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        text = trace.read_text(errors="replace")
        if re.search(rf"(?m)^{pid} +\+\+\+ exited with 0", text):
            return text
        await asyncio.sleep(0.1)
    raise AssertionError(f"the trace does not end:\n{text[-2000:]}")


async def test_a_restart_without_change_writes_nothing_and_ends_no_flow(mode, tmp_path):
    targets = [("n1p4", PLAIN.cluster_ip(family), port.number, port.protocol) for family in Family for port in PLAIN.ports]
    async with cluster(mode, tmp_path, PLAIN) as made:
        async with traced(made, "first") as (_, first):
            pass
        assert len(first) > 5, "the trace does not see how a kernel is changed"
        async with traffic(made.lab, targets, streams=20, per_second=20), traced(made, "second") as (running, second):
            await asyncio.sleep(LOOKS_SECONDS)
            assert [family["apply"]["total"] for family in (await running.status())["families"]] == [0, 0]
        assert second == []
        made.write(replace(PLAIN, ends=ready("n1p1")))
        async with traced(made, "third") as (_, third):
            pass
        assert len(third) > 0, "a change while nothing ran was not written"
