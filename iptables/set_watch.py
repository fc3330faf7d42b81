"""Noticing that somebody else changed our sets, in about a second (pain 42).

The kernel tells nobody about sets. It says how many elements each has, in one answer; so that is asked every second, and a number that
is not what we last saw, or a set that is gone, is a foreign change. Whoever takes one element away and adds another escapes this; the
periodic observation is for them. To tell the size of a large set the kernel walks through it, so the wait is five hundred times the
question, if that is longer, but at most five seconds.

Our own writes are told apart as in `watch`: compared before a turn, taken anew after it, and nothing is looked at during one. Where sets
cannot be asked for (no such kernel module), there are none to be changed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Never

from pointsman.dataplane.contract import ForeignChange
from pointsman.dataplane.errors import KernelError
from pointsman.iptables.writer import Commit
from pointsman.netlink import codec, ipsets, nftables
from pointsman.netlink.channel import Channel

SHARE: Final = 500
"""So many times longer than a look takes is the wait for the next one."""
SHORTEST: Final = 1.0
LONGEST: Final = 5.0
"""Bounds of that wait, in seconds."""
_NAMED: Final = 3


class SetWatch:
    """Watches the sets for which `ours` is true, by name; also a `writer.Bystander`. `report` takes what is found."""

    def __init__(self, ours: Callable[[str], bool], report: Callable[[ForeignChange], None], *, shortest_seconds: float = SHORTEST) -> None:
        self._ours = ours
        self._report = report
        self._shortest = shortest_seconds
        self._channel = Channel(nftables.PROTOCOL)
        self._asking = asyncio.Lock()
        self._seen: Mapping[str, int] | None = None
        self._writing = False

    async def start(self) -> None:
        """Take note of how things are now: changes after this are reported."""
        if self._seen is None:
            self._seen = await self._look()

    async def before_write(self) -> None:
        """Report what others did since the last look, for after the write it could not be told any more."""
        async with self._asking:
            await self._compare()
            self._writing = True

    async def after_write(self, commits: Sequence[Commit]) -> None:  # noqa: ARG002 - sets are no tables
        """Take the result of our write as the new state."""
        async with self._asking:
            if self._seen is not None:
                self._seen = await self._look()
            self._writing = False

    async def follow(self) -> Never:
        """Look again and again; ends only by cancellation."""
        await self.start()
        pause = self._shortest
        while True:
            await asyncio.sleep(pause)
            async with self._asking:
                began = time.monotonic()
                if not self._writing:
                    await self._compare()
                pause = min(max(self._shortest, SHARE * (time.monotonic() - began)), LONGEST)

    def close(self) -> None:
        """Close the socket."""
        self._channel.close()

    async def _compare(self) -> None:
        if self._seen is None:
            return
        before, self._seen = self._seen, await self._look()
        changed = sorted(name for name in before.keys() | self._seen.keys() if before.get(name) != self._seen.get(name))
        if changed:
            self._report(ForeignChange(f"the number of elements of {_told(changed)} changed"))

    async def _look(self) -> Mapping[str, int]:
        """Return how many elements each set of ours has; what cannot be asked for counts as unchanged."""
        try:
            answers = await self._channel.request(ipsets.LIST, ipsets.HEADERS, "sizes of the sets", flags=codec.DUMP)
            return {name: size for name, size in ipsets.sizes(answers).items() if self._ours(name)}
        except (KernelError, codec.MalformedError):
            return self._seen or {}


def _told(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more sets" if len(names) > _NAMED else "")
