"""Everything of one family in which others may change what is ours, watched as one: rules (`watch`) and sets (`set_watch`).

The kernels of both modes follow one of these. It is told of our own turns from its making until it is closed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from pointsman.dataplane.contract import ForeignChange
from pointsman.iptables.set_watch import SetWatch
from pointsman.iptables.variant import Variant
from pointsman.iptables.watch import make_watch
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family


class Watches:
    """The watches of one family. They belong to this thread's network namespace; `close` ends them."""

    def __init__(
        self, family: Family, variant: Variant, writer: Writer, chains: Callable[[str, str], bool], sets: Callable[[str], bool]
    ) -> None:
        """Watch for changes of chains (table, chain) and sets of which these functions say that they are ours."""
        self._rules = make_watch(family, variant, chains)
        self._sets = SetWatch(sets, self._rules.reports.add)
        self._writer = writer
        for watch in (self._rules, self._sets):
            writer.attach(watch)

    async def start(self) -> None:
        """Take note of how things are now: changes after this are reported."""
        await self._rules.start()
        await self._sets.start()

    async def changes(self) -> AsyncIterator[ForeignChange]:
        """Yield foreign changes; ends only by cancellation. Raises KernelError where they cannot be followed any more."""
        rules = self._rules.changes()
        following = asyncio.create_task(self._sets.follow())
        taking = asyncio.ensure_future(anext(rules))
        try:
            while True:
                await asyncio.wait({taking, following}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
                yield taking.result()
                taking = asyncio.ensure_future(anext(rules))
        finally:
            for task in (taking, following):
                task.cancel()
            await asyncio.gather(taking, following, return_exceptions=True)
            await rules.aclose()

    def close(self) -> None:
        """Stop watching and close the sockets."""
        for watch in (self._rules, self._sets):
            self._writer.detach(watch)
            watch.close()
