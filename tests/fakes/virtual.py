"""An event loop whose time passes only while nobody has anything to do: a test may wait an hour and take a millisecond."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")

STEPS = 100_000
"""So much may happen at one moment."""

PATIENCE = 50_000.0
"""A test that waits longer than that, in virtual seconds, waits for something that never comes."""


class _Selector(selectors.SelectSelector):
    """Advances the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waited = 0.0
        self.steps = 0
        self.last = 0.0

    def select(self, timeout=None):
        self.steps = self.steps + 1 if self.now == self.last else 0
        self.last = self.now
        if self.steps > STEPS:
            raise RuntimeError("time stands still: somebody is busy without end")
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everybody waits for somebody else: this test would never end")
        self.now += max(0.0, timeout)
        self.waited += max(0.0, timeout)
        if self.waited > PATIENCE:
            raise RuntimeError(f"after {PATIENCE:.0f} seconds this test still waits for something")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time; `skip` makes its clock jump, as after a suspend."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def skip(self, seconds: float) -> None:
        self._virtual.now += seconds


def run(main: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run a coroutine function to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
