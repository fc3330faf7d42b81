"""Waiting: until it is so, and not for ever."""

import asyncio
import inspect

LONG = 120.0
PAUSE = 0.05


async def until(so, seconds=LONG, says=lambda: ""):
    """Wait until `so` returns something true, and return it; it may be a coroutine function. `says` adds words to the failure."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = so()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass within {seconds:.0f} s: {inspect.getsource(so).strip()}\n{says()}") from None
