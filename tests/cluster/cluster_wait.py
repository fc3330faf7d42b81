"""Waiting for the cluster and its tools: until it is so, not for ever. It blocks; while traffic goes on it is called through `aside`."""

import asyncio
import inspect
import subprocess
import sys
import time
from pathlib import Path

LONG = 300.0
PAUSE = 0.2
ROOT = Path(__file__).parents[2]


def wait(so, says=lambda: "", seconds=LONG):
    """Wait until `so` returns something true, and return it. `says` adds words to the failure."""
    ends = time.monotonic() + seconds
    while not (answer := so()):
        if time.monotonic() > ends:
            raise AssertionError(f"it did not come to pass within {seconds:.0f} s: {inspect.getsource(so).strip()}\n{says()}")
        time.sleep(PAUSE)
    return answer


async def aside(function, *arguments):
    """Return what a function returns that blocks, while everything else goes on."""
    return await asyncio.to_thread(function, *arguments)


def tool(*command, check=True):
    """Run a program of tools/ and return what it printed; what it complains about is shown."""
    done = subprocess.run([sys.executable, ROOT / "tools" / command[0], *command[1:]], check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 or not check, f"tools/{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}"
    return done.stdout
