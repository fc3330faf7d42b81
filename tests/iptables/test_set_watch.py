"""What others do to our sets is noticed within a look, what we do ourselves is not (pain 42)."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from fakes.scratch import shell
from pointsman.dataplane.contract import ForeignChange
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.set_watch import LONGEST, SHARE, SetWatch
from pointsman.iptables.writer import Writer

pytestmark = pytest.mark.kernel


@pytest.fixture
def reports():
    return asyncio.Queue()


@pytest.fixture
def watch(scratch, reports):
    """Watch sets called OURS..., one of which is there and holds an element."""
    shell("ipset create OURS-A hash:ip; ipset add OURS-A 10.0.0.1; ipset create other hash:ip")
    made = SetWatch(lambda name: name.startswith("OURS"), reports.put_nowait, shortest_seconds=0.01)
    yield made
    made.close()


@asynccontextmanager
async def following(watch):
    await watch.start()
    task = asyncio.create_task(watch.follow())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def looks(watch, count=2):
    """Wait until it has looked so often."""
    seen = []
    asked = watch._look

    async def counting():
        seen.append(1)
        return await asked()

    watch._look = counting
    await until(lambda: len(seen) >= count)


async def until(so):
    """Wait until it is so."""
    async with asyncio.timeout(60):
        while not so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("change", [
    "ipset flush OURS-A", "ipset flush", "ipset destroy OURS-A", "ipset add OURS-A 10.0.0.2", "ipset create OURS-B hash:ip",
])  # fmt: skip
async def test_a_foreign_change_is_noticed(watch, reports, change):
    async with following(watch), asyncio.timeout(60):
        shell(change)
        assert "OURS-" in (await reports.get()).what


async def test_sets_of_others_wake_nobody(watch, reports):
    async with following(watch):
        shell("ipset add other 10.0.0.2; ipset create another hash:ip; ipset flush other")
        await looks(watch)
    assert reports.empty()


async def test_our_own_writes_are_not_foreign(watch, reports):
    writer = Writer()
    writer.attach(watch)
    async with following(watch):
        async with writer.turn():
            shell("ipset flush OURS-A")
            await asyncio.sleep(0.1)  # looks that come meanwhile see nothing
        await looks(watch)
        assert reports.empty()


async def test_what_slips_in_before_our_own_write_is_foreign(watch, reports):
    writer = Writer()
    writer.attach(watch)
    await watch.start()
    shell("ipset add OURS-A 10.0.0.9")
    async with writer.turn():
        assert reports.get_nowait() == ForeignChange("the number of elements of OURS-A changed")


async def test_before_the_start_nothing_is_foreign(watch, reports):
    async with Writer().turn():
        await watch.before_write()
        shell("ipset flush OURS-A")
        await watch.after_write([])
    assert reports.empty()


async def test_a_kernel_that_does_not_answer_has_changed_nothing(watch, reports):
    async def refused(*_, **__):
        refused.times += 1
        raise KernelError(ErrorKind.BUSY, "no time", "sets")

    refused.times = 0
    await watch.start()
    watch._channel.request = refused
    async with following(watch):
        await until(lambda: refused.times > 1)
    assert reports.empty()


@pytest.mark.parametrize(("look", "pause"), [(0.00001, 0.01), (0.002, SHARE * 0.002), (1.0, LONGEST)])
async def test_a_question_that_takes_long_is_asked_seldom(watch, monkeypatch, look, pause):
    clock, pauses = [0.0], []

    async def slow():
        clock[0] += look
        return {}

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    watch._look = slow
    with pytest.raises(asyncio.CancelledError):
        await watch.follow()
    assert pauses == pytest.approx([0.01, pause])
