"""One writer at a time, and everybody who watches is told (pain 37)."""

import asyncio

import pytest
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family


class Diary:
    def __init__(self):
        self.entries = []

    async def before_write(self):
        self.entries.append("before")

    async def after_write(self, commits):
        self.entries.append(tuple(commits))


async def test_turns_do_not_overlap():
    writer, inside, most = Writer(), 0, 0

    async def write():
        nonlocal inside, most
        async with writer.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(write() for _ in range(5)))
    assert most == 1


async def test_watches_are_told_what_was_written_even_if_it_failed():
    writer, diary = Writer(), Diary()
    writer.attach(diary)
    writer.attach(diary)

    async def fail():
        async with writer.turn() as turn:
            turn.commits.append((Family.IPV4, "nat"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    writer.detach(diary)
    writer.detach(diary)
    async with writer.turn():
        pass
    assert diary.entries == ["before", ((Family.IPV4, "nat"),)]
