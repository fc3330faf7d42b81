"""A histogram as plain counts: what is observed is counted where it happens, on the event loop, without a lock.

Observing costs less than a microsecond, so that every write to the kernel can be measured; `metrics` turns a copy into Prometheus' form
when somebody asks. Bounds are inclusive upper bounds, as in Prometheus, and are written as kube-proxy writes them (`1`, not `1.0`).
"""

from bisect import bisect_left
from itertools import accumulate

from msgspec import Struct


class Histogram(Struct):
    """How many values fell into each bucket; `counts` has one place more than `bounds`, for what is beyond them all."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def of(cls, bounds: tuple[float, ...]) -> "Histogram":
        """Return an empty histogram with these bounds, ascending."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: float) -> None:
        """Count a value; less than nothing counts as nothing."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> "Histogram":
        """Return a copy that does not change any more."""
        return Histogram(self.bounds, list(self.counts), self.sum)

    def __add__(self, other: "Histogram") -> "Histogram":
        """Return both together; they must have the same bounds."""
        if self.bounds != other.bounds:
            raise ValueError("histograms with different bounds cannot be added")
        return Histogram(self.bounds, [a + b for a, b in zip(self.counts, other.counts, strict=True)], self.sum + other.sum)

    @property
    def total(self) -> int:
        """Return how many values were observed."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Return every bucket's bound and how many values are within it, cumulative; the last bound is `+Inf`."""
        return list(zip([*(f"{bound:g}" for bound in self.bounds), "+Inf"], map(float, accumulate(self.counts)), strict=True))


SYNC_BOUNDS = tuple(0.001 * 2**power for power in range(15))
"""Seconds of a run of the reconcile loop: 1 ms doubling to 16 s (MET-01)."""

PROGRAMMING_BOUNDS = (0.0, 0.25, 0.5, *map(float, range(1, 60)), *map(float, range(60, 120, 5)), *map(float, range(120, 301, 30)))
"""Seconds from a change in the cluster to the kernel (MET-04)."""

REQUEST_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds of a request to the API server (MET-15)."""
