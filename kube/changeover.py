"""A source that another one may follow without a gap: who needs more of the cluster opens a second source beside the first.

The first goes on delivering until the second has its complete lists, which come as one batch of `Replace`s: what differs is taken over in
one step, and nothing is gone in between. A second source that does not get that far (a server that is away, a right that is missing)
changes nothing; who waits for it may give it up. It may also be the very first: then nothing is read until `follow` is called.

`proxy.source` makes one for the agent, `proxy.dns.alone` one for DNS alone.
"""

import asyncio

from pointsman.kube.events import Batch, Sink, Source


class Changeover:
    """Implements `kube.events.Source` by one source after the other."""

    def __init__(self, first: Source | None = None) -> None:
        self._current = first
        self._running: asyncio.Task[None] | None = None
        self._sink: Sink | None = None
        self._changed = asyncio.Event()

    async def run(self, sink: Sink) -> None:
        """Deliver what the source of that time does, until cancelled; an error of it is raised."""
        self._sink = sink
        if self._current is not None and self._running is None:
            self._running = asyncio.create_task(self._current.run(sink))
        try:
            while True:
                if (running := self._running) is None:
                    await self._changed.wait()
                    continue
                await asyncio.wait({running})
                if running is self._running:
                    return running.result()
        finally:
            self._sink = None
            if self._running is not None:
                self._running.cancel()

    async def follow(self, successor: Source) -> None:
        """Have a source deliver instead, from when it has delivered everything once; an error of it until then is raised.

        Cancelled before that, nothing has changed.
        """
        begun = asyncio.Event()

        def deliver(batch: Batch) -> None:
            if not begun.is_set():
                if not batch.events and self._current is not None:
                    return  # what keeps it from beginning; the source of before has its own list of problems
                if batch.events:
                    self._turn(successor, running)
                    begun.set()
            if self._sink is not None:
                self._sink(batch)

        running = asyncio.create_task(successor.run(deliver))
        waiting = asyncio.create_task(begun.wait())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not begun.is_set():
                running.result()
        finally:
            waiting.cancel()
            if not begun.is_set():
                running.cancel()

    def _turn(self, successor: Source, running: asyncio.Task[None]) -> None:
        """Let a source be the one, and take back what the one before complained of."""
        before, self._current, self._running = self._running, successor, running
        if before is not None:
            before.cancel()
            if self._sink is not None:
                self._sink(Batch(problems=()))
        self._changed.set()
