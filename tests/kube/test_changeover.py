"""One source after the other: nothing is lost between them, and one that cannot begin changes nothing."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from fakes import virtual
from pointsman.kube.changeover import Changeover
from pointsman.kube.events import Batch, Problem, Replace
from pointsman.kube.objects import Kind


class Told:
    """A source that delivers what a test says; it notes when it is ended."""

    def __init__(self):
        self.batches = asyncio.Queue()
        self.ended = False

    async def run(self, sink):
        try:
            while True:
                batch = await self.batches.get()
                if isinstance(batch, Exception):
                    raise batch
                sink(batch)
        finally:
            self.ended = True

    async def say(self, batch):
        self.batches.put_nowait(batch)
        await asyncio.sleep(1)


@asynccontextmanager
async def delivering(changeover):
    """Run a changeover meanwhile, and yield what it has delivered."""
    heard = []
    running = asyncio.create_task(changeover.run(heard.append))
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.wait({running})


FIRST, SECOND, THIRD = (Batch((Replace(kind, ()),)) for kind in (Kind.SERVICE, Kind.NODE, Kind.POD))
TROUBLE = Batch(problems=(Problem("server", "", "", "is away"),))


def test_a_successor_takes_over_with_its_first_complete_batch():
    async def main():
        one, two = Told(), Told()
        changeover = Changeover(one)
        async with delivering(changeover) as heard:
            await one.say(FIRST)
            following = asyncio.create_task(changeover.follow(two))
            await two.say(TROUBLE)
            await one.say(FIRST)
            assert heard == [FIRST, FIRST]
            assert not following.done()
            await two.say(SECOND)
            await following
            assert one.ended
            assert heard == [FIRST, FIRST, Batch(SECOND.events, TROUBLE.problems)]
            await one.say(FIRST)
            await two.say(THIRD)
            assert heard[3:] == [THIRD]
        await asyncio.sleep(1)
        assert two.ended

    virtual.run(main)


class Nested(Told):
    """A source that delivers from a task of its own, as the API's does: that one ends some rounds of the loop after its parent's."""

    async def run(self, sink):
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run(sink))


def test_what_the_source_before_says_while_it_ends_is_not_heard():
    """It would put an older state on top of the newer one, which nobody says again."""

    async def main():
        one, two = Nested(), Nested()
        changeover = Changeover(one)
        async with delivering(changeover) as heard:
            following = asyncio.create_task(changeover.follow(two))
            await one.say(FIRST)
            two.batches.put_nowait(SECOND)
            await one.say(THIRD)
            await following
            assert [batch.events for batch in heard] == [FIRST.events, SECOND.events]
            assert set(changeover.known) == {Kind.SERVICE, Kind.NODE}

    virtual.run(main)


@pytest.mark.parametrize("troubled", [False, True])
def test_what_a_successor_complained_of_before_it_began_is_told_then(troubled, caplog):
    """A source says its list when that changes, and not again."""

    async def main():
        one, two = Told(), Told()
        changeover = Changeover(one)
        async with delivering(changeover) as heard:
            following = asyncio.create_task(changeover.follow(two))
            await one.say(Batch(problems=(Problem("", "Service a/b", "", "is broken"),)))
            for _ in range(2 * troubled):
                await two.say(TROUBLE)
            await two.say(SECOND)
            await following
            assert heard[1:] == [Batch(SECOND.events, TROUBLE.problems if troubled else ())]
            assert caplog.text.count("while another selection is read of the cluster: server: is away") == troubled

    virtual.run(main)


def test_who_gives_it_up_too_late_is_told_that_it_has_happened():
    async def main():
        one, two = Told(), Told()
        changeover = Changeover(one)
        async with delivering(changeover) as heard:
            await one.say(FIRST)
            following = asyncio.create_task(changeover.follow(two))
            await asyncio.sleep(1)
            two.batches.put_nowait(SECOND)
            while changeover.current is one:  # noqa: ASYNC110 - it is to be the very round
                await asyncio.sleep(0)
            assert not following.done()
            following.cancel()
            await asyncio.wait({following})
            assert not following.cancelled()
            await two.say(THIRD)
            assert heard[-1] == THIRD

    virtual.run(main)


def test_a_successor_that_is_given_up_changes_nothing():
    async def main():
        one, two = Told(), Told()
        changeover = Changeover(one)
        async with delivering(changeover) as heard:
            following = asyncio.create_task(changeover.follow(two))
            await two.say(TROUBLE)
            following.cancel()
            await asyncio.wait({following})
            await one.say(FIRST)
            assert (heard, one.ended, two.ended) == ([FIRST], False, True)

    virtual.run(main)


def test_the_first_one_may_come_later_and_its_troubles_are_told():
    async def main():
        one = Told()
        changeover = Changeover()
        async with delivering(changeover) as heard:
            following = asyncio.create_task(changeover.follow(one))
            await one.say(TROUBLE)
            await one.say(FIRST)
            await following
            assert heard == [TROUBLE, FIRST]

    virtual.run(main)


def test_errors_of_either_are_raised_where_they_belong():
    async def main():
        one, two, heard = Told(), Told(), []
        changeover = Changeover(one)
        running = asyncio.create_task(changeover.run(heard.append))
        following = asyncio.create_task(changeover.follow(two))
        await two.say(OSError("no such folder"))
        with pytest.raises(OSError, match="no such folder"):
            await following
        await one.say(FIRST)
        assert heard == [FIRST]
        await one.say(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            await running

    virtual.run(main)
