"""Keys that must stay in the kernel for some time after nobody wants them any more.

A real server that drains its connections, a chain that a packet may still be walking: their deletion is held back for a time, or until
the mode reports that a condition has come true, whichever is first. A key that is wanted again is released at once. The result of `held`
goes into `plan.make`, beside the keys that wait after a failure. Pure: time is an argument, in seconds of a monotonic clock.
"""

from collections.abc import Collection, Mapping
from math import inf
from types import MappingProxyType
from typing import Generic

from pointsman.dataplane.contract import K


class Linger(Generic[K]):
    """The keys whose deletion is held back, each with the time until which it is."""

    def __init__(self) -> None:
        self._until: dict[K, float] = {}

    @property
    def lingering(self) -> Mapping[K, float]:
        """Return every key that was held and not released, with its time, as a live read-only view."""
        return MappingProxyType(self._until)

    def hold(self, key: K, until: float = inf) -> None:
        """Hold the deletion of a key back until a time, or only until `release`. A key held already keeps its time."""
        self._until.setdefault(key, until)

    def release(self, key: K) -> None:
        """Let a key go: its condition has come true, it is wanted again, or it is deleted."""
        self._until.pop(key, None)

    def held(self, now: float) -> Collection[K]:
        """Return the keys that must not be deleted yet."""
        return frozenset(key for key, until in self._until.items() if until > now)

    def next_time(self) -> float:
        """Return when the next key may be deleted without anybody's report; infinite if none."""
        return min(self._until.values(), default=inf)
