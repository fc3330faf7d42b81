"""The agent's side of the feed: from snapshots to `Change`s. Pure; who sends them is the agent.

`whole` gives the complete list in portions, `step` the difference that a batch of events made. What was sent is remembered by hash only: an
event that does not change an answer (a label, a node name) is not sent and does not raise the SOA's serial (REC-93).

A Service may be held back: `step` is given the Services whose rules are not in the kernel yet, and speaks of them later (announced means
reachable). What a held Service was before stays known to the resolver until then, except endpoints that are gone: see `hold`.
"""

from collections.abc import Iterator, Mapping, Set
from typing import Final

from msgspec import structs
from pointsman.dns.facts import ServiceFact, pod_fact, service_fact
from pointsman.dns.feed import Change, Synced
from pointsman.kube.objects import Kind
from pointsman.routing.snapshot import Dirty, ServiceKey, Snapshot

Reduced = Mapping[ServiceKey, ServiceFact | None]
NOT_REDUCED: Final[Reduced] = {}

PORTION: Final = 50
"""Services per frame: some 15 kB, and less than a millisecond of the resolver's time; it answers between two frames."""


class Journal:
    """Remembers what the resolver has been told."""

    def __init__(self, *, pods: bool = False) -> None:
        self._pods = pods
        self._told: dict[ServiceKey, int] = {}
        self._namespaces: frozenset[str] = frozenset()
        self._told_pods: dict[tuple[str, str], int] = {}

    def whole(
        self, snapshot: Snapshot, now: float, held: Set[ServiceKey] = frozenset(), reduced: Reduced = NOT_REDUCED,
    ) -> Iterator[Change | Synced]:
        """Yield the complete list; `now` is Unix time. `held` Services are left out; of `reduced` ones is told what it says."""
        self._told.clear()
        self._told_pods.clear()
        self._namespaces = frozenset(snapshot.namespaces)
        yield Change(begin=True, namespaces=tuple(sorted(self._namespaces)), serial=int(now))
        portion: list[ServiceFact] = []
        for key in [*snapshot.services, *(key for key in snapshot.slices if key not in snapshot.services)]:
            fact = reduced[key] if key in reduced else fact_of(snapshot, key)
            if key in held or fact is None:
                continue
            self._told[key] = hash(fact)
            portion.append(fact)
            if len(portion) == PORTION:
                yield Change(services=tuple(portion))
                portion = []
        if portion:
            yield Change(services=tuple(portion))
        if pods := self._pod_changes(snapshot):
            yield pods
        yield Synced()

    def step(
        self, snapshot: Snapshot, dirty: Dirty, now: float, held: Set[ServiceKey] = frozenset(), reduced: Reduced = NOT_REDUCED,
    ) -> Change | None:
        """Return what the resolver must be told after a batch, None if nothing; Services in `held` are not spoken of.

        Of Services in `reduced` is told what it says, nothing where it is None.
        """
        news: list[ServiceFact] = []
        gone: list[tuple[str, str]] = []
        for key in dirty.services - held:
            fact = reduced[key] if key in reduced else fact_of(snapshot, key)
            if fact is None:
                if self._told.pop(key, None) is not None:
                    gone.append((key.namespace, key.name))
            elif self._told.get(key) != (mark := hash(fact)):
                self._told[key] = mark
                news.append(fact)
        serial = int(now) if news or gone else 0
        added: frozenset[str] = frozenset()
        lost: frozenset[str] = frozenset()
        if Kind.NAMESPACE in dirty.kinds:
            present = frozenset(snapshot.namespaces)
            added, lost, self._namespaces = present - self._namespaces, self._namespaces - present, present
        pods = self._pod_changes(snapshot) if Kind.POD in dirty.kinds else None
        if not (news or gone or added or lost or pods):
            return None
        return Change(
            services=tuple(news),
            services_gone=tuple(gone),
            namespaces=tuple(sorted(added)),
            namespaces_gone=tuple(sorted(lost)),
            pods=pods.pods if pods else (),
            pods_gone=pods.pods_gone if pods else (),
            serial=serial,
        )

    def _pod_changes(self, snapshot: Snapshot) -> Change | None:
        if not self._pods:
            return None
        news = []
        seen: set[tuple[str, str]] = set()
        for key, pod in snapshot.pods.items():
            fact = pod_fact(pod)
            known = self._told_pods.get(key)
            if fact is None or (known is None and pod.metadata.deletion_timestamp):
                continue
            seen.add(key)
            if known != (mark := hash(fact)):
                self._told_pods[key] = mark
                news.append(fact)
        gone = tuple(key for key in self._told_pods if key not in seen)
        for key in gone:
            del self._told_pods[key]
        return Change(pods=tuple(news), pods_gone=gone) if news or gone else None


def portions(change: Change) -> Iterator[Change]:
    """Yield a change in parts that are soon in force, so that a thousand Services at once (a node that is gone) delay no answer for long.

    What is gone goes first, and namespaces come before what is in them and go after it; the last part says what is true of the whole.
    """
    if len(change.services) + len(change.services_gone) <= PORTION:
        yield change
        return
    yield Change(namespaces=change.namespaces, serial=change.serial)
    for start in range(0, len(change.services_gone), PORTION):
        yield Change(services_gone=change.services_gone[start : start + PORTION])
    for start in range(0, len(change.services), PORTION):
        yield Change(services=change.services[start : start + PORTION])
    yield structs.replace(change, services=(), services_gone=(), namespaces=(), serial=0)


def fact_of(snapshot: Snapshot, key: ServiceKey) -> ServiceFact | None:
    """Return the fact of one Service of the snapshot; None if neither it nor a slice of its name exists (slices without owner: none)."""
    if not key.name:
        return None
    return service_fact(key.namespace, key.name, snapshot.services.get(key), snapshot.slices.get(key, {}).items())
