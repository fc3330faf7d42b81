"""What a batch changed, as numbers and times: for the metrics of pending changes (MET-05) and of latency (MET-04). Pure.

`between` compares two snapshots where something is dirty, so that it costs what has changed. `Backlog` remembers which changes no family
has applied yet. Times at which the cluster decided on a change come from the annotation of EndpointSlices (IN-42); those older than this
process say nothing about it, and are ignored.
"""

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from pointsman.kube.objects import EndpointSlice
from pointsman.routing.route import Family
from pointsman.routing.snapshot import Dirty, Snapshot

_TYPES = {family.value: family for family in Family}
_NONE: Mapping[str, EndpointSlice] = {}


class Changes(Struct, frozen=True):
    """How many Services and EndpointSlices changed, and per family when the slices' changes were decided on (seconds since the epoch)."""

    services: int = 0
    slices: int = 0
    triggers: Mapping[Family, tuple[float, ...]] = {}


def between(before: Snapshot, after: Snapshot, dirty: Dirty, since: float) -> Changes:
    """Return what changed from one snapshot to the next; triggers before `since` are left out."""
    services = slices = 0
    triggers: dict[Family, list[float]] = {}
    for key in dirty.services:
        services += before.services.get(key) is not after.services.get(key)
        old, new = before.slices.get(key, _NONE), after.slices.get(key, _NONE)
        if old is new:
            continue
        slices += sum(name not in new for name in old)
        for name, value in new.items():
            if old.get(name) is value:
                continue
            slices += 1
            family, moment = _TYPES.get(value.address_type), trigger_of(value)
            if family is not None and moment is not None and moment >= since:
                triggers.setdefault(family, []).append(moment)
    return Changes(services, slices, {family: tuple(moments) for family, moments in triggers.items()})


def trigger_of(value: EndpointSlice) -> float | None:
    """Return when a slice's change was decided on, in seconds since the epoch; None where it does not say so in RFC 3339."""
    annotations = value.metadata.annotations
    text = annotations.last_change_trigger_time if annotations else None
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


class Backlog:
    """Which changes are not applied in all families yet; totals since the start, which was at `started` (seconds since the epoch)."""

    def __init__(self, started: float = 0.0) -> None:
        self.started = started
        self.services_total = 0
        self.slices_total = 0
        self._waiting: deque[tuple[int, int, int]] = deque()  # revision, Services, EndpointSlices

    def add(self, revision: int, changes: Changes) -> None:
        """Note what came with a revision."""
        if changes.services or changes.slices:
            self.services_total += changes.services
            self.slices_total += changes.slices
            self._waiting.append((revision, changes.services, changes.slices))

    def applied(self, revision: int | None) -> None:
        """Forget what every family has applied."""
        while self._waiting and revision is not None and self._waiting[0][0] <= revision:
            self._waiting.popleft()

    def pending(self) -> tuple[int, int]:
        """Return how many changes of Services and of EndpointSlices wait."""
        return sum(one[1] for one in self._waiting), sum(one[2] for one in self._waiting)
