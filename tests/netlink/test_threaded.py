import asyncio
import threading

import pytest
from pointsman.netlink.threaded import Threaded


class Open:
    """Notes on which threads it was made and closed."""

    def __init__(self):
        self.made = threading.current_thread()
        self.closed = []

    def close(self):
        self.closed.append(threading.current_thread())


async def test_everything_happens_on_one_thread_that_ends_with_it():
    async with await Threaded.opened("ours", Open) as one:
        held = one._held
        assert held.made.name.startswith("ours")
        assert await one.run(lambda number, text: (threading.current_thread(), number, text), 1, "a") == (held.made, 1, "a")
    await one.close()
    assert held.closed == [held.made]
    assert not held.made.is_alive()


async def test_what_cannot_be_opened_leaves_no_thread():
    seen = []

    def refuse():
        seen.append(threading.current_thread())
        raise OSError(1, "no")

    with pytest.raises(OSError, match="no"):
        await Threaded.opened("ours", refuse)
    await asyncio.to_thread(seen[0].join, 60.0)
    assert not seen[0].is_alive()


async def test_closing_waits_for_what_is_on_its_way_and_a_cancelled_caller_loses_only_the_answer():
    started, go, done = threading.Event(), threading.Event(), []
    one = await Threaded.opened("ours", Open)

    def work():
        started.set()
        go.wait(60.0)
        done.append(len(one._held.closed))

    running = asyncio.create_task(one.run(work))
    await asyncio.to_thread(started.wait, 60.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    closing = asyncio.create_task(one.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert done == [0]
    assert len(one._held.closed) == 1
