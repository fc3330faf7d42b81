"""What is known about one family's programming, as data.

`FamilyProgress` is written by the reconcile loop in monotonic seconds, so a jump of the wall clock never makes a node look ill or
well. `FamilyStatus` is the picture of one moment, with wall-clock times for people; health, metrics, the status socket and tests read it,
and msgspec renders it as JSON.

Two questions are kept apart. *In sync* means that nothing is pending at all. *Applied* means that everything is done that can be: keys
which the kernel refuses for their content (and what points to them) are listed as failing, but do not make the family late, because every
node would refuse them alike and draining all nodes for one Service would stop the others (HLT-01 counts from the oldest change that is
not applied). If everything is refused, nothing is excused.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import inf

import msgspec
from msgspec import Struct
from pointsman.dataplane.contract import ForeignChange, K
from pointsman.dataplane.retry import Failing
from pointsman.proxy.meters import FamilyMeters
from pointsman.routing.route import Family

LISTED = 100
"""At most so many failing keys are listed, oldest first; all are counted."""

SUSPECTS = 5
"""At most so many different foreign changes are kept to be named with a repair."""


class FailingKey(Struct, frozen=True, rename="camel"):
    """A key that the kernel does not take: which it is, the last error, how often it was tried, since when, and when again."""

    subject: str
    kind: str
    text: str
    attempts: int
    since: datetime
    next_try: datetime


class ApplyStatus(Struct, frozen=True, rename="camel"):
    """Writes to the kernel: how many, when the last one ended, how long it took (seconds), and what failed it as a whole (or empty)."""

    total: int = 0
    last_at: datetime | None = None
    last_seconds: float = 0.0
    last_error: str = ""


class ForeignStatus(Struct, frozen=True, rename="camel"):
    """Changes by others: how many were noticed, how many keys of ours had to be repaired, and the last one noticed."""

    noticed: int = 0
    repaired_keys: int = 0
    last_what: str = ""
    last_culprit: str = ""
    last_at: datetime | None = None


class FamilyStatus(Struct, frozen=True, rename="camel"):
    """One family at one moment. Revisions are the snapshot's, None before the first; durations are seconds.

    `in_sync_since` is None while anything is pending. `pending_seconds` is the age of the oldest change that is not applied, 0 if there is
    none. `last_updated` is when everything was last applied, or when the loop started (HLT-01). `stalled_seconds` is for how long the loop
    has owed what it should have done, work on or read the kernel (pains 31, 71); `read_at` is when the kernel was last read, `queued_at`
    when a change last came, `synced_at` when a run last went well.
    """

    family: str
    revision_wanted: int | None
    revision_applied: int | None
    in_sync_since: datetime | None
    pending_keys: int
    pending_since: datetime | None
    pending_seconds: float
    last_updated: datetime | None
    apply: ApplyStatus
    failing_keys: int
    failing: tuple[FailingKey, ...]
    foreign: ForeignStatus
    stalled_seconds: float = 0.0
    read_at: datetime | None = None
    queued_at: datetime | None = None
    synced_at: datetime | None = None

    @property
    def late_seconds(self) -> float:
        """Return for how long this family has owed something, a change or a sign of life."""
        return max(self.pending_seconds, self.stalled_seconds)

    def json(self) -> bytes:
        """Return the status as JSON."""
        return msgspec.json.encode(self)


class _Applies(Struct):
    total: int = 0
    at: float | None = None
    seconds: float = 0.0
    error: str = ""


class _Foreign(Struct):
    noticed: int = 0
    repaired: int = 0
    last: ForeignChange = ForeignChange("")
    at: float | None = None
    suspects: dict[ForeignChange, None] = {}


class FamilyProgress:
    """How far one family is; every time is monotonic."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.revision_wanted: int | None = None
        self.revision_applied: int | None = None
        self._revision_taken: int | None = None
        self._queued_since: float | None = None  # oldest change that no run has taken yet
        self._taken_since: float | None = None   # oldest change that a run has taken and not finished
        self._in_sync_since: float | None = None
        self._last_updated: float | None = None
        self._applies = _Applies()
        self._foreign = _Foreign()
        self.meters = FamilyMeters()

    @property
    def pending_since(self) -> float | None:
        """Return since when the oldest unapplied change waits, None if there is none."""
        return self._queued_since if self._taken_since is None else self._taken_since

    def started(self, now: float) -> None:
        """Note that the loop has started."""
        self._last_updated = now

    def offered(self, revision: int, now: float) -> None:
        """Note that a revision is wanted."""
        self.revision_wanted = revision
        if self._queued_since is None:
            self._queued_since = now
        self.meters.queued_at = now

    def taken(self) -> None:
        """Note that a run begins to work on everything offered so far."""
        self._revision_taken = self.revision_wanted
        if self._taken_since is None:
            self._taken_since = self._queued_since
        self._queued_since = None
        self.meters.taken()

    def noticed(self, change: ForeignChange, now: float) -> None:
        """Note a foreign change."""
        self._foreign.noticed += 1
        self._foreign.last = change
        self._foreign.at = now
        if len(self._foreign.suspects) < SUSPECTS:
            self._foreign.suspects[change] = None

    def suspects(self) -> tuple[ForeignChange, ...]:
        """Return the different foreign changes noticed since this was last asked, first come first; at most a few."""
        found = tuple(self._foreign.suspects)
        self._foreign.suspects.clear()
        return found

    def drifted(self, keys: int, now: float) -> None:
        """Note that keys of ours were changed by others, and must be repaired."""
        self._foreign.repaired += keys
        self._in_sync_since = None
        if self._taken_since is None:
            self._taken_since = now

    def wrote(self, began: float, now: float, error: str = "") -> None:
        """Note a write to the kernel; `error` if it failed as a whole."""
        self._applies = _Applies(self._applies.total + 1, now, now - began, error)

    def compared(self, now: float, *, pending: bool) -> None:
        """Note whether anything is pending after a run."""
        if pending:
            self._in_sync_since = None
        elif self._in_sync_since is None:
            self._in_sync_since = now

    def settled(self, now: float) -> None:
        """Note that everything a run has taken is applied."""
        self.revision_applied = self._revision_taken
        self._taken_since = None
        self._last_updated = now
        self.meters.settled(now)

    def report(self, now: float, wall: datetime, pending: int, failing: Mapping[K, Failing], due: float = inf) -> FamilyStatus:
        """Return the picture of this moment; `now` and `wall` are the same moment on both clocks; the next run is to start at `due`."""

        def at(moment: float | None) -> datetime | None:
            return None if moment is None else _wall(moment, now, wall)

        applies, foreign, oldest, beat = self._applies, self._foreign, self.pending_since, self.meters.heartbeat
        return FamilyStatus(
            family=self.family.value,
            revision_wanted=self.revision_wanted,
            revision_applied=self.revision_applied,
            in_sync_since=at(self._in_sync_since),
            pending_keys=pending,
            pending_since=at(oldest),
            pending_seconds=0.0 if oldest is None else max(0.0, now - oldest),
            last_updated=at(self._last_updated),
            apply=ApplyStatus(applies.total, at(applies.at), applies.seconds, applies.error),
            failing_keys=len(failing),
            failing=tuple(_failing(key, entry, now, wall) for key, entry in islice(failing.items(), LISTED)),
            foreign=ForeignStatus(foreign.noticed, foreign.repaired, foreign.last.what, foreign.last.culprit, at(foreign.at)),
            stalled_seconds=beat.stalled(now, due),
            read_at=at(beat.read_at),
            queued_at=at(self.meters.queued_at),
            synced_at=at(self.meters.synced_at),
        )


def _failing(key: K, entry: Failing, now: float, wall: datetime) -> FailingKey:
    error, subject = entry.error, str(key)
    return FailingKey(
        subject=subject,
        kind=error.kind.value,
        text=error.text if error.subject == subject else str(error),
        attempts=entry.attempts,
        since=_wall(entry.since, now, wall),
        next_try=_wall(entry.next_try, now, wall),
    )


def _wall(moment: float, now: float, wall: datetime) -> datetime:
    """Return the wall-clock time of a monotonic moment."""
    return (wall - timedelta(seconds=now - moment)).astimezone(UTC)
