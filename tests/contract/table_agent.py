"""A real daemon on a node of the laboratory, started as an operator would start it."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

IN_SYNC_SECONDS = 240.0
STOP_SECONDS = 60.0
POLL_SECONDS = (0.02, 0.3)  # at first, and at most: a question costs the daemon time, and both may share one processor
FAMILIES = 2


class Agent:
    """One daemon: its process, its status socket and its log."""

    def __init__(self, process, socket, log):
        self.process = process
        self.socket = socket
        self.log = log

    async def status(self):
        """Return the status document, None while nobody answers: also where a daemon has the socket that ends, or only begins."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
            try:
                writer.write(b"GET /v1/status HTTP/1.0\r\n\r\n")
                text = await reader.read()
            finally:
                writer.close()
        except OSError:
            return None
        return json.loads(text.partition(b"\r\n\r\n")[2] or b"null")

    async def in_sync(self, at_least=0, seconds=IN_SYNC_SECONDS):
        """Wait until nothing is pending in either family, and a revision is applied that is at least the given one; return it."""
        deadline = asyncio.get_running_loop().time() + seconds
        status, (pause, longest) = None, POLL_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if self.process.returncode is not None:
                raise AssertionError(f"the daemon ended with status {self.process.returncode}:\n{self.log.read_text()}")
            status = await self.status()
            families = status["families"] if status else []
            if len(families) == FAMILIES and all(settled(family, at_least) for family in families):
                return min(family["revisionApplied"] for family in families)
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, longest)
        raise AssertionError(f"not in sync after {seconds} s: {json.dumps(status, indent=1)}\n{self.log.read_text()}")

    async def stop(self, number=signal.SIGTERM):
        """Stop the daemon; return its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise


def settled(family, at_least):
    """Return whether a family's status says that everything wanted is in the kernel."""
    applied = family["revisionApplied"]
    return applied is not None and applied >= at_least and family["inSyncSince"] is not None and not family["pendingKeys"]


def write(folder, objects):
    """Write objects as one manifest file, so that a reader sees all of them or the ones before."""
    folder.mkdir(exist_ok=True)
    draft = folder.parent / f"{folder.name}.draft"
    draft.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    draft.rename(folder / "cluster.json")


@asynccontextmanager
async def agent(lab, node, mode, folder, arguments, scratch):
    """Run a daemon on a node; give it once it has started, stop it in the end."""
    scratch = Path(scratch)
    log = scratch / f"{node}.log"
    socket = scratch / f"{node}.sock"
    program = Path(sys.executable).parent / "pointsman"
    place = ("--manifests", str(folder), "--hostname-override", node, "--socket", str(socket))
    command = lab.command(node, str(program), "run", *mode.arguments, *place, *arguments)
    environment = {**os.environ, "XTABLES_LOCKFILE": str(scratch / f"{node}.lock"), **mode.environment}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, env=environment)
    running = Agent(process, str(socket), log)
    try:
        yield running
    finally:
        await running.stop()
