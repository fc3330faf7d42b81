"""Counting without cost: every counter is a list of one number that its owner increments; names and text come at the scrape.

`cell[0] += 1` is all that happens per query. A part asks for its cells once, when it is made, and keeps them. `dump` gives plain values
that can cross to another process: several workers' dumps are added by who writes the metrics' text.

Labels are given as values in the order in which the metric's documentation names them (OBS-02 to OBS-24); the names of the labels and the
help texts belong to who writes the text.
"""

from bisect import bisect_left
from collections.abc import Iterator

from msgspec import Struct

Cell = list[float]


class Sample(Struct, frozen=True, gc=False, array_like=True):
    """One value of one metric: a counter or gauge has one number; a histogram one per bound, one beyond the last, then the sum."""

    metric: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    bounds: tuple[float, ...] = ()


class Histogram:
    """Counts per bucket (not cumulative) and the sum of the values."""

    __slots__ = ("bounds", "cells")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.cells: list[float] = [0] * (len(bounds) + 2)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value; `times` lets many equal ones be counted at once."""
        self.cells[bisect_left(self.bounds, value)] += times
        self.cells[-1] += value * times


class Tally:
    """All counters of one worker."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, tuple[str, ...]], Cell] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}

    def cell(self, metric: str, *labels: str) -> Cell:
        """Return the one number of a counter or gauge with these label values; the same list every time."""
        key = (metric, labels)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = [0]
        return found

    def histogram(self, metric: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        """Return the histogram with these label values; the same one every time."""
        key = (metric, labels)
        found = self._histograms.get(key)
        if found is None:
            found = self._histograms[key] = Histogram(bounds)
        return found

    def forget(self, metric: str, *labels: str) -> None:
        """Drop the values of a metric whose first labels are these: what they counted is gone, such as an upstream of an old Corefile."""
        for table in (self._cells, self._histograms):
            for key in [key for key in table if key[0] == metric and key[1][: len(labels)] == labels]:
                del table[key]

    def dump(self) -> Iterator[Sample]:
        """Yield all values as they are now."""
        for (metric, labels), cell in self._cells.items():
            yield Sample(metric, labels, (cell[0],))
        for (metric, labels), histogram in self._histograms.items():
            yield Sample(metric, labels, tuple(histogram.cells), histogram.bounds)
