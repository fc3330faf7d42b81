"""What the reconciler of flows measures: how long its looks take, what it deletes and why, what it saw last. Pure.

Plain counts, written by `flows` and read by `metrics` when somebody scrapes (MET-13).
"""

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct, field
from pointsman.conntrack.classify import FlowClass
from pointsman.proxy.histogram import SYNC_BOUNDS, Histogram
from pointsman.routing.route import Family, Protocol


def _histogram() -> Histogram:
    return Histogram.of(SYNC_BOUNDS)


class FlowMeters(Struct):
    """Of one family. `deleted` counts by protocol and class, `seen` is what the last look found by protocol and class."""

    looks: Histogram = field(default_factory=_histogram)
    deleted: Counter[tuple[Protocol, FlowClass]] = field(default_factory=Counter)
    seen: dict[Protocol, Counter[FlowClass]] = field(default_factory=dict)
    failures: int = 0
    tombstones: int = 0

    def looked(self, protocol: Protocol, counts: Counter[tuple[FlowClass, str]]) -> None:
        """Note what a look found."""
        by_class: Counter[FlowClass] = Counter()
        for (kind, _), count in counts.items():
            by_class[kind] += count
        self.seen[protocol] = by_class

    def copy(self) -> "FlowMeters":
        """Return a copy that does not change any more."""
        seen = {protocol: Counter(counts) for protocol, counts in self.seen.items()}
        return FlowMeters(self.looks.copy(), Counter(self.deleted), seen, self.failures, self.tombstones)


class TrackingPicture(Struct, frozen=True):
    """Everything about flows at one moment: meters by family, and what the CPUs counted in sum."""

    families: Mapping[Family, FlowMeters] = {}
    counted: Mapping[str, int] = {}
