"""A started tool, watched by the loop that it did not start: its streams, its end, and what is left of it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import uvloop
from pointsman.iptables.process import Process


def on_both_loops(work):
    """Run something on asyncio's own loop, and on the agent's."""
    return [asyncio.run(work()), uvloop.run(work())]


def shell(text):
    return Process.start(["sh", "-c", text])


def test_streams_carry_input_and_both_outputs():
    async def work():
        process = await shell("cat; echo wrong >&2; exit 3")
        process.stdin.write(b"x" * 300_000)
        await process.stdin.drain()
        process.stdin.close()
        read, said = await asyncio.gather(process.stdout.read(), process.stderr.read())
        status = await process.wait()
        process.close()
        return len(read), said, status, process.returncode

    assert on_both_loops(work) == [(300_000, b"wrong\n", 3, 3)] * 2


def test_its_end_is_seen_by_all_who_wait_and_tells_the_signal():
    async def work():
        process = await shell("exec sleep 600")
        waiting = [asyncio.create_task(process.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        assert process.returncode is None
        process.kill()
        ended = await asyncio.gather(*waiting)
        process.kill()
        process.close()
        return ended

    assert on_both_loops(work) == [[-signal.SIGKILL] * 2] * 2


def test_a_waiter_that_is_cancelled_takes_nothing_from_others():
    async def work():
        process = await shell("exec sleep 600")
        gone, staying = asyncio.create_task(process.wait()), asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        process.kill()
        status = await staying
        process.close()
        return status

    assert on_both_loops(work) == [-signal.SIGKILL] * 2


def test_where_the_kernel_has_no_descriptors_of_processes_a_thread_waits(monkeypatch):
    def absent(_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", absent)
    test_streams_carry_input_and_both_outputs()
    test_its_end_is_seen_by_all_who_wait_and_tells_the_signal()


def opened():
    return len(list(Path("/proc/self/fd").iterdir()))


async def back_to(before):
    """Wait until no more files are open than before: transports close when the loop comes to it."""
    async with asyncio.timeout(60):
        while opened() > before:  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(0.01)


def test_nothing_stays_open():
    async def work():
        async def all_kinds():
            for text in ("exit 0", "exec sleep 600", "sleep 3 & exit 0"):  # the last one's child keeps the pipes
                process = await shell(text)
                if text == "exec sleep 600":
                    process.kill()
                await process.wait()
                process.close()

        await all_kinds()  # the loop may open something for itself
        before = opened()
        await all_kinds()
        await back_to(before)

    on_both_loops(work)


def test_a_start_that_is_cancelled_leaves_nothing_and_closes_nothing_of_others():
    """At whichever step of it."""

    async def cancelled(after):
        starting = asyncio.create_task(shell("exec sleep 600"))
        for _ in range(after):
            await asyncio.sleep(0)
        starting.cancel()
        [outcome] = await asyncio.gather(starting, return_exceptions=True)
        if not isinstance(outcome, asyncio.CancelledError):  # it had started before
            outcome.kill()
            await outcome.wait()
            outcome.close()
        return isinstance(outcome, asyncio.CancelledError)

    async def work():
        assert await cancelled(2)
        before = opened()
        for after in range(1, 8):
            await cancelled(after)
        await back_to(before)

    on_both_loops(work)


async def test_a_start_that_fails_on_the_way_leaves_nothing(monkeypatch):
    async def broken(*_):
        raise OSError("no pipe")

    process = await shell("exit 0")
    await process.wait()
    process.close()
    await asyncio.sleep(0.01)
    before = opened()
    monkeypatch.setattr(asyncio.get_running_loop(), "connect_write_pipe", broken)
    with pytest.raises(OSError, match="no pipe"):
        await shell("exec sleep 600")
    await back_to(before)


async def test_what_is_absent_is_an_error():
    with pytest.raises(FileNotFoundError):
        await Process.start(["/nonexistent/tool"])
