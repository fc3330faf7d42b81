"""When to read the kernel again.

Three reasons: it was never read; somebody else changed something that may be ours; or it was last read so long ago that drift should be
looked for. The first foreign change is looked into at once, also right after the start. After that at most about once a second, and less
often, up to every 30 s, while foreign changes turn out to touch nothing of ours, so that a busy neighbour cannot keep us reading. Reading
itself takes time in a large cluster, so the pause is not shorter than the reading was, up to the same 30 s.

Pure: time is an argument, in seconds of a monotonic clock; `next_time` says when the loop must observe.
"""

from math import inf

from pointsman.dataplane.retry import delay

SHORTEST = 1.0
"""Least pause between two readings for foreign changes, seconds."""

LONGEST = 30.0
"""Longest such pause, seconds."""


class Lookout:
    """Decides when the kernel is read. `every` is the longest time between two readings, in seconds.

    `looks` counts the readings that succeeded.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._due = -inf
        self._ended = -inf
        self._free = -inf
        self._began = 0.0
        self._pause = SHORTEST
        self._noticed = False
        self._failures = 0
        self.looks = 0

    def notice(self, now: float) -> None:
        """Somebody else may have changed what is ours."""
        if now - self._ended > 2 * self._pause:
            self._pause = SHORTEST
        self._noticed = True
        self._due = min(self._due, max(now, self._free))

    def start(self, now: float) -> None:
        """Note that a reading starts; what is noticed from now on asks for another."""
        self._began = now
        self._due = inf

    def finish(self, now: float, *, touched: bool) -> None:
        """Note that the kernel was read, and whether something of ours had been changed by others."""
        if touched:
            self._pause = SHORTEST
        elif self._noticed:
            self._pause = min(LONGEST, 2 * self._pause)
        answered = touched or self._noticed  # any other reading says nothing about how busy others are
        self._ended = now
        self._failures = 0
        self.looks += 1
        self._noticed = self._due < inf
        self._free = now + min(LONGEST, max(self._pause, now - self._began)) if answered else now
        self._due = self._free if self._noticed else now + self._every

    def fail(self, now: float) -> None:
        """Note that the kernel could not be read: try again after 100 ms, twice as long after each further failure, up to 30 s."""
        self._failures += 1
        self._ended = now
        self._due = now + delay(self._failures)

    def next_time(self) -> float:
        """Return when the kernel must be read; in the past before the first time."""
        return self._due
