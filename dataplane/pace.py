"""When to apply.

Requests coalesce: at most one is pending, and it carries everything that came together. A lone change is applied at once, also one that
follows hard upon the last. Under a storm, which is when more comes while a run is at work or waits, the next run waits for as long as that
one took, and for twice, then three times, up to seven times as long while the storm goes on: a burst is carried out quickly, and
programming that never ends takes an eighth of the time. The configured minSyncPeriod is only the upper bound of that wait (PROC-20 has it
as the wait itself). After a failed run comes another within the retry delay, 100 ms doubling to 30 s, or sooner if somebody asks; and there
is at least one run in `longest`, one hour.

Pure: time is an argument, in seconds of a monotonic clock; `next_time` says when the loop must call `start`.
"""

from math import inf

from pointsman.dataplane.retry import delay

HOUR = 3600.0

CALMEST = 7
"""So many times as long as the last run took does the next one wait at most, in a storm that goes on."""


class Pace:
    """Decides when the next run starts. `shortest` and `longest` are seconds between the end of a run and the start of the next."""

    def __init__(self, shortest: float, longest: float = HOUR) -> None:
        self._shortest = shortest
        self._longest = longest
        self._due = inf
        self._free = -inf
        self._began: float | None = None  # when the run at work began
        self._storm = False
        self._wait = 1  # how many times as long as this run the next one waits if this is a storm
        self._failures = 0

    def request(self, when: float) -> None:
        """Ask for a run at a time, or now; the earliest of all requests counts."""
        self._due = min(self._due, when)
        self._storm = self._storm or self._began is not None or when < self._free

    def start(self, now: float) -> None:
        """Note that a run starts: it takes every request with it."""
        self._due = inf
        self._began = now

    def finish(self, now: float, *, failed: bool = False) -> None:
        """Note that the run has ended; `failed` if as a whole, so that it must be repeated."""
        gap = self._wait * (now - self._began) if self._storm and self._began is not None else 0.0
        self._wait = min(self._wait + 1, CALMEST) if self._storm else 1
        self._storm = False
        self._began = None
        self._failures = self._failures + 1 if failed else 0
        if failed:
            gap = max(gap, delay(self._failures))
            self.request(now + delay(self._failures))
        self._free = now + min(self._shortest, gap)
        self.request(now + self._longest)

    def next_time(self) -> float:
        """Return when the next run is due; infinite if nobody ever asked for one."""
        return max(self._due, self._free)
