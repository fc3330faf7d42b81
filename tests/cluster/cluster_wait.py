"""Waiting for the cluster: until it is so, and not for ever. It blocks; while traffic goes on it is called through `aside`."""

import asyncio
import inspect
import time

LONG = 300.0
PAUSE = 0.2


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
