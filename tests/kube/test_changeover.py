"""One source after the other: nothing is lost between them, and one that cannot begin changes nothing."""

import asyncio

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


FIRST, SECOND, THIRD = (Batch((Replace(kind, ()),)) for kind in (Kind.SERVICE, Kind.NODE, Kind.POD))
TROUBLE = Batch(problems=(Problem("server", "", "", "is away"),))


def test_a_successor_takes_over_with_its_first_complete_batch():
    async def main():
        one, two, heard = Told(), Told(), []
        changeover = Changeover(one)
        running = asyncio.create_task(changeover.run(heard.append))
        await one.say(FIRST)
        following = asyncio.create_task(changeover.follow(two))
        await two.say(TROUBLE)
        await one.say(FIRST)
        assert heard == [FIRST, FIRST]
        assert not following.done()
        await two.say(SECOND)
        await following
        assert one.ended
        assert heard == [FIRST, FIRST, Batch(problems=()), SECOND]
        await one.say(FIRST)
        await two.say(THIRD)
        assert heard[4:] == [THIRD]
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(1)
        assert two.ended

    virtual.run(main)


def test_a_successor_that_is_given_up_changes_nothing():
    async def main():
        one, two, heard = Told(), Told(), []
        changeover = Changeover(one)
        running = asyncio.create_task(changeover.run(heard.append))
        following = asyncio.create_task(changeover.follow(two))
        await two.say(TROUBLE)
        following.cancel()
        await asyncio.wait({following})
        await one.say(FIRST)
        assert (heard, one.ended, two.ended) == ([FIRST], False, True)
        running.cancel()
        await asyncio.wait({running})

    virtual.run(main)


def test_the_first_one_may_come_later_and_its_troubles_are_told():
    async def main():
        one, heard = Told(), []
        changeover = Changeover()
        running = asyncio.create_task(changeover.run(heard.append))
        following = asyncio.create_task(changeover.follow(one))
        await one.say(TROUBLE)
        await one.say(FIRST)
        await following
        assert heard == [TROUBLE, FIRST]
        running.cancel()
        await asyncio.wait({running})

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
