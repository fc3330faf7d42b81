"""A source that another one may follow without a gap: who needs more of the cluster opens a second source beside the first.

The first goes on delivering until the second has its complete lists, which come as one batch of `Replace`s: what differs is taken over in
one step, and nothing is gone in between; `known` says which kinds these lists must not lack (`ApiSource`). A second source that does not
get that far (a server that is away, a right that is missing) changes nothing, but for lines in the log; who waits for it may give it up. It
may also be the very first: then nothing is read until `follow` is called.

A source that is cancelled may deliver once more, from a task of its own: only the one that is followed is heard.

`proxy.source` makes one for the agent, `proxy.dns.reading` one for DNS alone.
"""

import asyncio
import logging
from collections.abc import Set
from typing import Generic, TypeVar

from msgspec import structs
from pointsman.kube.events import Batch, Problem, Replace, Sink, Source
from pointsman.kube.objects import Kind

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Source)


class Changeover(Generic[S]):
    """Implements `kube.events.Source` by one source after the other; `current` is the one that delivers, or is to begin."""

    def __init__(self, first: S | None = None) -> None:
        self.current = first
        self._known: set[Kind] = set()
        self._running: asyncio.Task[None] | None = None
        self._sink: Sink | None = None
        self._changed = asyncio.Event()

    @property
    def known(self) -> Set[Kind] | None:
        """Return of which kinds complete lists have been delivered, now and later on; None before there is a source."""
        return self._known if self.current is not None else None

    async def run(self, sink: Sink) -> None:
        """Deliver what the source of that time does, until cancelled; an error of it is raised."""
        self._sink = sink
        if (first := self.current) is not None and self._running is None:
            self._running = asyncio.create_task(first.run(lambda batch: self._pass(first, batch)))
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

    async def follow(self, successor: S) -> None:
        """Have a source deliver instead, from when it has delivered everything once; an error of it until then is raised.

        Cancelled before that, nothing has changed. Who is cancelled in the very moment after it returns all the same: it has happened.
        """
        begun = asyncio.Event()
        troubles: tuple[Problem, ...] = ()

        def deliver(batch: Batch) -> None:
            nonlocal troubles
            if not begun.is_set() and self.current is not None:
                if batch.problems is not None:
                    for problem in sorted(set(batch.problems).difference(troubles)):
                        log.warning("while another selection is read of the cluster: %s", problem)
                    troubles = batch.problems
                if not batch.events:
                    return  # the source before has its own list of problems
                batch = structs.replace(batch, problems=troubles)
            if batch.events and not begun.is_set():
                self._turn(successor, running)
                begun.set()
            self._pass(successor, batch)

        running = asyncio.create_task(successor.run(deliver))
        waiting = asyncio.create_task(begun.wait())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not begun.is_set():
                running.result()
        except asyncio.CancelledError:
            if not begun.is_set():
                raise
            if (this := asyncio.current_task()) is not None:
                this.uncancel()
        finally:
            waiting.cancel()
            if not begun.is_set():
                running.cancel()

    def _turn(self, successor: S, running: asyncio.Task[None]) -> None:
        """Let a source be the one."""
        before, self.current, self._running = self._running, successor, running
        if before is not None:
            before.cancel()
        self._changed.set()

    def _pass(self, source: S, batch: Batch) -> None:
        """Deliver what a source says, unless another one has taken over."""
        if self._sink is not None and (self.current is None or self.current is source):
            self._known.update(event.kind for event in batch.events if isinstance(event, Replace))
            self._sink(batch)
