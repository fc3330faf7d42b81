"""Keys that the kernel did not take, and when to try each of them again.

Failure stays small: a failing key waits alone, 100 ms at first and twice as long after each failure up to 30 s, while all others go on.
What is remembered about it (since when, how often, the last error) is what operators see in the status. Pure: time is an argument, in
seconds of a monotonic clock.
"""

from collections.abc import Iterable, Mapping
from math import inf
from types import MappingProxyType
from typing import Generic

from msgspec import Struct
from pointsman.dataplane.contract import K
from pointsman.dataplane.errors import KernelError

SHORTEST = 0.1
"""Wait after the first failure, seconds."""

LONGEST = 30.0
"""Longest wait, seconds."""


def delay(failures: int) -> float:
    """Return how long to wait after the given number of failures in a row (at least 1), in seconds."""
    return float(min(LONGEST, SHORTEST * 2 ** min(failures - 1, 20)))


class Failing(Struct, frozen=True):
    """A key that fails: the last error, the time of the first failure, how often it was tried, and when it is tried next."""

    error: KernelError
    since: float
    attempts: int
    next_try: float


class Retry(Generic[K]):
    """The failing keys."""

    def __init__(self) -> None:
        self._failing: dict[K, Failing] = {}

    @property
    def failing(self) -> Mapping[K, Failing]:
        """Return every failing key, oldest first, as a live read-only view."""
        return MappingProxyType(self._failing)

    def failed(self, key: K, error: KernelError, now: float) -> Failing:
        """Note that a key failed; return what is known about it now."""
        old = self._failing.get(key)
        attempts = old.attempts + 1 if old else 1
        new = Failing(error, old.since if old else now, attempts, now + delay(attempts))
        self._failing[key] = new
        return new

    def forget(self, keys: Iterable[K]) -> tuple[K, ...]:
        """Stop waiting for keys, because they succeeded or something else is wanted of them; return those that were failing."""
        if not self._failing:
            return ()
        return tuple(key for key in keys if self._failing.pop(key, None) is not None)

    def held(self, now: float) -> frozenset[K]:
        """Return the keys that must wait."""
        return frozenset(key for key, failing in self._failing.items() if failing.next_try > now)

    def next_time(self) -> float:
        """Return when the next key may be tried again; infinite if none fails."""
        return min((failing.next_try for failing in self._failing.values()), default=inf)
