"""One writer: everything in this process that changes iptables takes its turn here (pain 37).

The tools of all families share the machine's lock file, so two restores of our own would only wait for each other, inside a tool, where
nobody sees it. A turn also tells the watches that what happens now is our doing: each is called before the first and after the last
command of a turn, with the tables that were committed, and so can tell our changes from those that others slipped in between.

One `Writer` serves both families; the kernels of both are given the same one.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from pointsman.routing.route import Family

Commit = tuple[Family, str]
"""A table that was written: its family and its name."""


class Bystander(Protocol):
    """Who must know when we write."""

    async def before_write(self) -> None:
        """Take note of the state before our write."""
        ...

    async def after_write(self, commits: Sequence[Commit]) -> None:
        """Take note of the state after our write, which committed these tables."""
        ...


class Turn:
    """The right to write; every committed table is entered in `commits`."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []


class Writer:
    """Hands out turns, one at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._bystanders: list[Bystander] = []

    def attach(self, bystander: Bystander) -> None:
        """Tell a watch of all turns from now on; attaching twice is the same as once."""
        if bystander not in self._bystanders:
            self._bystanders.append(bystander)

    def detach(self, bystander: Bystander) -> None:
        """Tell it no longer."""
        if bystander in self._bystanders:
            self._bystanders.remove(bystander)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for the turn and hold it."""
        async with self._lock:
            bystanders = tuple(self._bystanders)
            turn = Turn()
            for bystander in bystanders:
                await bystander.before_write()
            try:
                yield turn
            finally:
                for bystander in bystanders:
                    await bystander.after_write(turn.commits)
