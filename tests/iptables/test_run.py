"""Running tools: much input and output without stalling the loop, limits in time and size, nothing left running."""

import asyncio
import fcntl
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.failure import Failure
from pointsman.iptables.run import error_of, find_program, lines, output_of, run

NAMED = f"60.{os.getpid()}"  # seconds to sleep, by which the process is known


def sleeping():
    """Return the processes that were told to sleep so long, whichever program they are just now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if f"sleep {NAMED}".encode() in words.replace(b"\0", b" "):
            found.append(path.parent.name)
    return found


async def test_status_and_both_outputs():
    done = await run(["sh", "-c", "cat; echo sorry >&2; exit 3"], "hello\n")
    assert (done.status, done.output, done.errors) == (3, b"hello\n", "sorry\n")


async def test_much_goes_through_and_the_loop_stays_free():
    """15 MB, the size of a cold start."""
    text = "x" * 150 + "\n"
    ticks = []

    async def tick():
        while True:
            ticks.append(time.thread_time())  # what others do on this machine does not count
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    done = await run(["sh", "-c", "sleep 0.5; exec cat"], text * 100_000)
    ticking.cancel()
    assert done.output == (text * 100_000).encode()
    assert len(ticks) >= 10
    gaps = sorted(later - earlier for earlier, later in pairwise(ticks))
    assert gaps[int(len(gaps) * 0.9)] < 0.05, gaps


async def test_input_in_pieces_arrives_as_one_and_is_asked_for_as_the_tool_reads():
    """Ten million bytes in pieces of any size."""
    sizes = [1, 0, 700_000, 3] + [100] * 93_000
    asked = 0

    def pieces():
        nonlocal asked
        for size in sizes:
            asked += 1
            yield "x" * size

    assert (await run(["wc", "-c"], pieces())).output.strip() == str(sum(sizes)).encode()
    assert asked == len(sizes)


async def test_a_tool_that_reads_nothing_is_judged_by_its_status():
    assert (await run(["sh", "-c", "exec 0<&-; exit 5"], "x" * 1_000_000)).status == 5


def test_on_the_agents_own_event_loop_it_is_the_same():
    """uvloop says in its own way that nobody reads any more."""

    async def often():
        for _ in range(20):
            assert (await run(["false"], ("x" * 1000 for _ in range(2000)))).status == 1
            assert (await run(["false"])).status == 1
            assert (await run(["sh", "-c", "exec 0<&-; sleep 0.001; exit 5"], ("x" * 1000 for _ in range(2000)))).status == 5
            assert (await run(["cat"], ("x" * 1000 for _ in range(200)))).output == b"x" * 200_000

    uvloop.run(often())


async def test_a_late_tool_is_stopped():
    with pytest.raises(KernelError, match=r"did not end within 0\.2 s") as caught:
        await run(["sh", "-c", f"exec sleep {NAMED}"], seconds=0.2)
    assert caught.value.kind is ErrorKind.TIMEOUT
    assert sleeping() == []


async def test_a_cancelled_tool_is_stopped():
    task = asyncio.create_task(run(["sh", "-c", f"exec sleep {NAMED}"]))
    async with asyncio.timeout(60):
        while not sleeping():  # noqa: ASYNC110 - the kernel does not tell
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleeping() == []


async def test_an_absent_tool_is_named():
    with pytest.raises(KernelError, match="no-such-tool: no such program") as caught:
        await run(["no-such-tool"])
    assert caught.value.kind is ErrorKind.UNSUPPORTED


async def test_a_talkative_tool_is_stopped():
    with pytest.raises(KernelError, match="more than 1000 bytes") as caught:
        await run(["sh", "-c", "yes | head -c 5000"], output_limit=1000)
    assert caught.value.kind is ErrorKind.TOO_BIG


async def test_long_complaints_are_cut_short():
    assert len((await run(["sh", "-c", "yes | head -c 500000 >&2"])).errors) == 64 * 1024


async def test_lines_come_whole_and_in_order():
    found = []
    await lines(["seq", "1", "50000"], found.extend)
    assert found == [str(number) for number in range(1, 50001)]
    found.clear()
    await lines(["printf", "a\\nb"], found.extend)
    assert found == ["a", "b"]


async def test_a_tool_waits_while_its_reader_is_full():
    found, asked = [], []

    def full():
        asked.append(len(found))
        return len(asked) % 3 != 0

    await lines(["seq", "1", "50000"], found.extend, full=full)
    assert found == [str(number) for number in range(1, 50001)]
    assert asked[0] == asked[2] < asked[-1], "nothing was read while it was full"


async def test_lines_of_a_failed_tool_are_an_error():
    with pytest.raises(KernelError, match="you must be root") as caught:
        await lines(["sh", "-c", "echo half; echo 'Permission denied (you must be root)' >&2; exit 4"], lambda _: None)
    assert caught.value.kind is ErrorKind.DENIED


async def test_output_of_needs_success():
    assert await output_of(["echo", "x"]) == "x\n"
    with pytest.raises(KernelError, match="exit status 1"):
        await output_of(["false"])


def test_find_program():
    assert find_program("sh") is not None
    assert find_program("no-such-tool") is None


def test_a_busy_lock_names_its_holder(monkeypatch, tmp_path):
    """Pain 37."""
    path = tmp_path / "lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(path))
    failure = Failure(ErrorKind.BUSY, "Another app is currently holding the xtables lock.")
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert f"{path} is held by process {os.getpid()}" in error_of(["/usr/sbin/iptables-restore"], failure).text
    assert "held by" not in error_of(["/usr/sbin/iptables-restore"], failure).text
