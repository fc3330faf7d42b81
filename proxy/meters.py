"""What one family's reconcile loop measures: how long its runs take, what fails, and how long a change needs to reach the kernel.

Plain counts, written by the loop on monotonic time and read by `metrics` when somebody scrapes. A run is *full* if it read the kernel and
so compared everything, else *partial*: it wrote what had changed (MET-02). Latency (MET-04) begins with the time at which the cluster
decided on a change (the annotation of an EndpointSlice, IN-42) and ends when a run that took the change has nothing left to do.

`heartbeat` tells whether the loop makes progress at all (pains 31, 71): a run that does not end, or a kernel that cannot be read though it
should be, makes a family ill even while no change waits. A loop that only sleeps until its next run is well.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from pointsman.proxy.histogram import PROGRAMMING_BOUNDS, SYNC_BOUNDS, Histogram


def _sync_histogram() -> Histogram:
    return Histogram.of(SYNC_BOUNDS)


def _programming_histogram() -> Histogram:
    return Histogram.of(PROGRAMMING_BOUNDS)


class Heartbeat(Struct):
    """When the loop was last seen at work; monotonic seconds, None = not at all."""

    run_since: float | None = None     # the run at work began
    unread_since: float | None = None  # the kernel should have been read since then, and was not
    read_at: float | None = None       # the kernel was last read

    def stalled(self, now: float, due: float) -> float:
        """Return for how many seconds the loop has owed what it should have done; `due` is when the next run is to start."""
        if self.run_since is not None:
            due = self.run_since
        if self.unread_since is not None:
            due = min(due, self.unread_since)
        return max(0.0, now - due)


class FamilyMeters(Struct):
    """Counts since the start; `queued_at` and `synced_at` are monotonic times of the last change and of the last run that went well.

    `written` is what the last write wrote, in objects by kind. `full_run` says what the run at work is, or the last one was.
    """

    full: Histogram = field(default_factory=_sync_histogram)
    partial: Histogram = field(default_factory=_sync_histogram)
    programming: Histogram = field(default_factory=_programming_histogram)
    full_failures: int = 0
    partial_failures: int = 0
    queued_at: float | None = None
    synced_at: float | None = None
    written: Mapping[str, int] = {}
    full_run: bool = False
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    queued_triggers: list[float] = field(default_factory=list)
    taken_triggers: list[float] = field(default_factory=list)

    def began(self, now: float) -> None:
        """Note that a run begins."""
        self.heartbeat.run_since = now
        self.full_run = False

    def ended(self, now: float, *, well: bool) -> None:
        """Note that the run has ended; `well` if the kernel could be written."""
        began, self.heartbeat.run_since = self.heartbeat.run_since, None
        (self.full if self.full_run else self.partial).observe(now - (now if began is None else began))
        if well and self.heartbeat.unread_since is None:
            self.synced_at = now

    def failed(self) -> None:
        """Note that a write failed, wholly or in part."""
        if self.full_run:
            self.full_failures += 1
        else:
            self.partial_failures += 1

    def looking(self, now: float) -> None:
        """Note that the kernel is read now, so that this run is a full one."""
        self.full_run = True
        if self.heartbeat.unread_since is None:
            self.heartbeat.unread_since = now

    def looked(self, now: float) -> None:
        """Note that the kernel was read."""
        self.heartbeat.unread_since = None
        self.heartbeat.read_at = now

    def triggered(self, moments: Sequence[float]) -> None:
        """Note when changes that wait for the next run were decided on; monotonic seconds."""
        self.queued_triggers += moments

    def taken(self) -> None:
        """Note that a run takes every change that waits."""
        self.taken_triggers += self.queued_triggers
        self.queued_triggers = []

    def settled(self, now: float) -> None:
        """Note that everything taken is in the kernel."""
        for moment in self.taken_triggers:
            self.programming.observe(now - moment)
        self.taken_triggers = []
