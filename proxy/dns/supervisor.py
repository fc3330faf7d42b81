"""Keeps one worker's resolver running: started, started again when it dies, replaced without a gap.

A resolver that dies is followed by the next one at once, and by growing pauses if that dies as well; queries wait in the sockets meanwhile,
or go where the Service rules lead them, which `lost` sees to. Whoever hears nothing from a resolver for some seconds (an endless loop) ends
it by force. A replacement (another Corefile that listens elsewhere) is started beside the old one on the same sockets, and the old one goes
when the new one answers. If the new one cannot work as told, the old one stays (OBS-50), and another one is tried by growing pauses: the
Corefile may be broken for a moment only, and nobody asks a second time.

`service` has one per worker.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from pointsman.dns.feed import Start
from pointsman.proxy.dns.process import FailedError, Resolver, launch
from pointsman.proxy.dns.telling import Telling

log = logging.getLogger(__name__)

SHORTEST: Final = 0.1
LONGEST: Final = 10.0
"""Seconds between two tries to start a resolver, when they die or cannot work one after the other."""
STEADY: Final = 30.0
"""Seconds after which a resolver counts as healthy."""
PULSE: Final = 1.0
SILENCE: Final = 5.0
"""Seconds between two questions whether it is there, and how long it may say nothing."""


class Callbacks(Struct, frozen=True):
    """What the supervisor asks and tells: what a worker is to do, that it answers, that it does not any more."""

    start: Callable[[int], Start]
    answers: Callable[[Resolver], None]
    lost: Callable[[Resolver], None]


class Supervisor:
    """Keeps the resolver of one worker."""

    def __init__(self, worker: int, telling: Telling, callbacks: Callbacks) -> None:
        self.worker = worker
        self.resolver: Resolver | None = None
        self.restarts = 0
        self.failure = ""
        self._telling = telling
        self._callbacks = callbacks
        self._renewal = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def serving(self) -> bool:
        """Return whether the worker reads its sockets."""
        return self.resolver is not None and self.resolver.serving

    def renew(self) -> None:
        """Replace the resolver by one that does what is wanted now."""
        self._renewal.set()

    async def settled(self) -> None:
        """Wait until those that were replaced are gone."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def run(self) -> None:
        """Keep it running until cancelled; the resolver then goes on by itself."""
        pause = SHORTEST
        while True:
            began = asyncio.get_running_loop().time()
            resolver = await self._begin()
            if resolver is not None:
                self._change(resolver)
                await self._stay()
            if asyncio.get_running_loop().time() - began > STEADY:
                pause = SHORTEST
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def _begin(self) -> Resolver | None:
        """Return a resolver that answers; None if it cannot, which is told once."""
        try:
            resolver = await launch(self._callbacks.start(self.worker))
        except OSError as error:
            self._fail(f"no process can be started: {error.strerror or error}")
            return None
        self._telling.attach(resolver)
        try:
            await asyncio.shield(resolver.ready)
        except FailedError as error:
            self._telling.detach(resolver)
            self._fail(str(error))
            return None
        except asyncio.CancelledError:
            resolver.release()
            raise
        self.failure = ""
        return resolver

    def _fail(self, text: str) -> None:
        if text != self.failure:
            self.failure = text
            log.error("the resolver does not work; it is tried again: %s", text)

    def _change(self, resolver: Resolver) -> None:
        """Let a resolver be the one, and end the one before it."""
        before, self.resolver = self.resolver, resolver
        self._callbacks.answers(resolver)
        if before is not None and not before.ended.done():
            ending = asyncio.create_task(self._end(before))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, resolver: Resolver) -> None:
        self._telling.detach(resolver)
        await resolver.end(succeeded=True)

    async def _stay(self) -> None:
        """Renew the resolver when asked to, until that has been done; return when it is gone."""
        watching = asyncio.create_task(self._feel())
        again: float | None = None
        try:
            while self.resolver is not None and not self.resolver.ended.done():
                asked = asyncio.create_task(self._renewal.wait())
                try:
                    await asyncio.wait({asked, self.resolver.ended}, timeout=again, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    asked.cancel()
                if not self.resolver.ended.done():
                    self._renewal.clear()
                    following = await self._begin()
                    again = None if following is not None else SHORTEST if again is None else min(2 * again, LONGEST)
                    if following is not None:
                        self._change(following)
        finally:
            watching.cancel()
        gone = self.resolver
        if gone is not None:
            self.restarts += 1
            self._telling.detach(gone)
            self._callbacks.lost(gone)
            status = gone.ended.result()
            log.error("the resolver ended; the next one is started", extra={"status": status, "reason": gone.reason or "none given"})

    async def _feel(self) -> None:
        """Kill a resolver that says nothing any more: its death is noticed, and what follows is the same."""
        silent = 0.0
        while True:
            await asyncio.sleep(PULSE)
            resolver = self.resolver
            if resolver is None or resolver.ended.done():
                return
            silent = 0.0 if await resolver.ask("pulse", timeout=PULSE) is not None else silent + 2 * PULSE
            if silent > SILENCE:
                log.error("the resolver says nothing any more; it is killed", extra={"pid": resolver.process.pid})
                resolver.process.send_signal(signal.SIGKILL)
                return
