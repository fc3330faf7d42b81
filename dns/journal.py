"""The agent's side of the feed: from snapshots to `Change`s. Pure; who sends them is the agent.

`whole` gives the complete list in portions, `step` the difference that a batch of events made. What was sent is remembered by hash only: an
event that does not change an answer (a label, a node name) is not sent and does not raise the SOA's serial (REC-93).

ServiceImports are told beside Services, by keys of their own, and raise a serial of their own (EXT-01).

A Service may be held back: `step` is given the Services whose rules are not in the kernel yet, and speaks of them later (announced means
reachable). What a held Service was before stays known to the resolver until then, except endpoints that are gone: see `hold`.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Final, TypeVar

from msgspec import structs
from pointsman.dns.facts import ServiceFact, import_fact, pod_fact, service_fact
from pointsman.dns.feed import Change, Synced
from pointsman.kube.objects import Kind
from pointsman.routing.snapshot import Dirty, ImportKey, ServiceKey, Snapshot

T = TypeVar("T")
Reduced = Mapping[ServiceKey, ServiceFact | None]
NOT_REDUCED: Final[Reduced] = {}

PORTION: Final = 1000
"""How much a frame tells: some 15 kB, and less than a millisecond of the resolver's time; it answers between two frames."""
SERVICE: Final = 10
"""What a Service counts for, beside its endpoints, each of which is one."""


class Journal:
    """Remembers what the resolver has been told."""

    def __init__(self, *, pods: bool = False) -> None:
        self._pods = pods
        self._told: dict[ServiceKey, int] = {}
        self._namespaces: frozenset[str] = frozenset()
        self._told_pods: dict[tuple[str, str], int] = {}
        self._imports_known = False
        self._pods_known = False

    def whole(
        self, snapshot: Snapshot, now: float, held: Set[ServiceKey] = frozenset(), reduced: Reduced = NOT_REDUCED,
    ) -> Iterator[Change | Synced]:
        """Yield the complete list; `now` is Unix time. `held` Services are left out; of `reduced` ones is told what it says."""
        self._told.clear()
        self._told_pods.clear()
        self._namespaces = frozenset(snapshot.namespaces)
        yield Change(begin=True, namespaces=tuple(sorted(self._namespaces)), serial=int(now), imports_serial=int(now))
        for part in _cut(self._all(snapshot, held, reduced)):
            yield _change(part)
        if pods := self._pod_changes(snapshot):
            yield pods
        self._imports_known = _knows_imports(snapshot, held, reduced)
        self._pods_known = self._knows_pods(snapshot)
        yield Synced(imports_known=self._imports_known, pods_known=self._pods_known)

    def _all(self, snapshot: Snapshot, held: Set[ServiceKey], reduced: Reduced) -> Iterator[ServiceFact]:
        """Yield the facts of all Services and imports, and take them for told."""
        for key in [*snapshot.services, *(key for key in snapshot.slices if key not in snapshot.services), *snapshot.imports]:
            fact = reduced[key] if key in reduced else fact_of(snapshot, key)
            if key in held or fact is None:
                continue
            self._told[key] = hash(fact)
            yield fact

    def step(
        self, snapshot: Snapshot, dirty: Dirty, now: float, held: Set[ServiceKey] = frozenset(), reduced: Reduced = NOT_REDUCED,
    ) -> Change | None:
        """Return what the resolver must be told after a batch, None if nothing; Services in `held` are not spoken of.

        Of Services in `reduced` is told what it says, nothing where it is None.
        """
        news: list[ServiceFact] = []
        gone: list[ServiceKey] = []
        for key in (dirty.services | dirty.imports) - held:
            fact = reduced[key] if key in reduced else fact_of(snapshot, key)
            if fact is None:
                if self._told.pop(key, None) is not None:
                    gone.append(key)
            elif self._told.get(key) != (mark := hash(fact)):
                self._told[key] = mark
                news.append(fact)
        told = _change(news, gone, int(now))
        if not self._imports_known and _knows_imports(snapshot, held, reduced):
            self._imports_known = True
            told = structs.replace(told, imports_known=True)
        if not self._pods_known and self._knows_pods(snapshot):
            self._pods_known = True
            told = structs.replace(told, pods_known=True)
        added: frozenset[str] = frozenset()
        lost: frozenset[str] = frozenset()
        if Kind.NAMESPACE in dirty.kinds:
            present = frozenset(snapshot.namespaces)
            added, lost, self._namespaces = present - self._namespaces, self._namespaces - present, present
        pods = self._pod_changes(snapshot) if Kind.POD in dirty.kinds else None
        if not (news or gone or added or lost or pods or told.imports_known or told.pods_known):
            return None
        return structs.replace(
            told,
            namespaces=tuple(sorted(added)),
            namespaces_gone=tuple(sorted(lost)),
            pods=pods.pods if pods else (),
            pods_gone=pods.pods_gone if pods else (),
        )

    def _knows_pods(self, snapshot: Snapshot) -> bool:
        """Return whether all Pods have been read, and are told: only then there is none where none is told."""
        return self._pods and Kind.POD in snapshot.synced

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
    if sum(map(_weight, (*change.services, *change.services_gone, *change.imports, *change.imports_gone))) <= PORTION:
        yield change
        return
    yield Change(namespaces=change.namespaces, serial=change.serial, imports_serial=change.imports_serial)
    for gone in _cut(change.services_gone):
        yield Change(services_gone=gone)
    for gone in _cut(change.imports_gone):
        yield Change(imports_gone=gone)
    for news in _cut(change.services):
        yield Change(services=news)
    for news in _cut(change.imports):
        yield Change(imports=news)
    yield structs.replace(
        change, services=(), services_gone=(), imports=(), imports_gone=(), namespaces=(), serial=0, imports_serial=0
    )


def _cut(values: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Yield facts or names in portions; what is more than a portion comes alone."""
    portion: list[T] = []
    used = 0
    for value in values:
        weight = _weight(value)
        if portion and used + weight > PORTION:
            yield tuple(portion)
            portion, used = [], 0
        portion.append(value)
        used += weight
    if portion:
        yield tuple(portion)


def _weight(value: object) -> int:
    return SERVICE + sum(len(each.endpoints) for each in value.slices) if isinstance(value, ServiceFact) else SERVICE


def _change(news: Iterable[ServiceFact], gone: Iterable[ServiceKey] = (), serial: int = 0) -> Change:
    """Return a change of Services and imports; the serial is of those kinds that are in it."""
    services, imports = (tuple(fact for fact in news if fact.imported == imported) for imported in (False, True))
    lost, lost_imports = (
        tuple((key.namespace, key.name) for key in gone if isinstance(key, ImportKey) == imported) for imported in (False, True)
    )
    return Change(
        services=services, services_gone=lost, imports=imports, imports_gone=lost_imports,
        serial=serial if services or lost else 0, imports_serial=serial if imports or lost_imports else 0,
    )  # fmt: skip


def _knows_imports(snapshot: Snapshot, held: Set[ServiceKey], reduced: Reduced) -> bool:
    """Return whether all imports have been read, and none is held back: only then there is none where none is told."""
    return Kind.SERVICE_IMPORT in snapshot.synced and not any(isinstance(key, ImportKey) for key in (*held, *reduced))


def fact_of(snapshot: Snapshot, key: ServiceKey) -> ServiceFact | None:
    """Return the fact of one Service of the snapshot; None if neither it nor a slice of its name exists (slices without owner: none).

    The key of an import gives that of the import.
    """
    if isinstance(key, ImportKey):
        return import_fact(key.namespace, key.name, snapshot.imports.get(key), snapshot.import_slices.get(key, {}).items())
    if not key.name:
        return None
    return service_fact(key.namespace, key.name, snapshot.services.get(key), snapshot.slices.get(key, {}).items())
