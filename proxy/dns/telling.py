"""What the resolvers are told of the cluster, and when: every one its complete list first, then what changes.

`Telling` follows the snapshots of the agent. A resolver that comes later (a restart, a reload, another worker) gets the list as it is then.
Where rules are programmed beside it, a `Gate` holds back what is not in the kernel yet, and the very first list waits as a whole: to tell
a part of it would deny names that exist. `withdrawn` is waited for before rules go, so that no answer points to what is no longer there.
Nothing is told before Services, EndpointSlices and Namespaces have been read completely. Until then a state that an earlier process saved
may stand in (`stale`, REC-112).

Manifests without any Namespace are taken to have those that their objects name: there is nobody who could have deleted one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import structs
from pointsman.dns.feed import Change, Synced
from pointsman.dns.journal import Journal, Reduced, portions
from pointsman.kube.objects import Kind, Namespace, ObjectMeta
from pointsman.proxy.dns.gate import Gate
from pointsman.proxy.dns.process import Resolver
from pointsman.proxy.dns.triggers import Triggers
from pointsman.routing.snapshot import EMPTY, Dirty, ImportKey, Snapshot

WITHDRAWAL: Final = 1.0
"""Seconds that a removal waits for a resolver at most; one that is so late answers nobody else either."""

NEEDED: Final = frozenset({Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.NAMESPACE})


class Telling:
    """Tells resolvers of the cluster; `gated` where rules are programmed. Of Pods those are told that are attached while `pods` is set.

    `seen` is set when the cluster has been read once, `begun` when there is something to tell.
    """

    def __init__(self, *, gated: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.snapshot: Snapshot = EMPTY
        self._awaited: int | None = None
        self._stand_in: Snapshot | None = None
        self.last_change = 0.0
        self.seen = asyncio.Event()
        self.begun = asyncio.Event()
        self._gate = Gate() if gated else None
        self._triggers = Triggers(clock())
        self.pods = False
        self._clock = clock
        self._journals: dict[Resolver, Journal] = {}
        self._marks: dict[Resolver, int] = {}

    @property
    def complete(self) -> bool:
        """Return whether the cluster has been read completely, by this process, and is told."""
        return self._awaited is None and self._complete(self.snapshot)

    @property
    def stale(self) -> bool:
        """Return whether a saved state stands in."""
        return self._stand_in is not None

    @property
    def waiting(self) -> int:
        """Return how many Services wait for their rules."""
        return len(self._gate.reduced) if self._gate is not None else 0

    def attach(self, resolver: Resolver) -> None:
        """Tell a resolver from now on."""
        self._journals[resolver] = Journal(pods=self.pods)
        if self.stale or self.complete:
            self._tell_all(resolver)

    def detach(self, resolver: Resolver) -> None:
        """Tell it no more."""
        self._journals.pop(resolver, None)
        self._marks.pop(resolver, None)

    def assume(self, saved: Snapshot) -> None:
        """Tell a state that an earlier process saved, until the present one is known."""
        self._stand_in = saved
        self._tell_everybody()

    def advance(self, after: Snapshot, dirty: Dirty) -> None:
        """Take the next snapshot, and what differs from the last."""
        after = _inhabited(after)
        if not self._complete(after) or after is self.snapshot:
            return
        before, self.snapshot = self.snapshot, after
        if not self._complete(before):
            if self._gate is None:
                self._begin()
            else:
                self._awaited = after.revision
            self.seen.set()
            return
        if before.namespaces.keys() != after.namespaces.keys():
            dirty = structs.replace(dirty, kinds=dirty.kinds | {Kind.NAMESPACE})
        self._triggers.note(before, after, dirty.services)
        if self._gate is not None:
            self._gate.advance(before, after, dirty.services | dirty.imports)
        if self._awaited is None:
            self._step(dirty)

    def applied(self, revision: int | None) -> None:
        """Take note of the revision that is in the kernel: what waited for it is told."""
        if self._gate is None or revision is None:
            return
        freed = self._gate.applied(revision)
        if self._awaited is not None:
            if revision >= self._awaited:
                self._begin()
        elif freed:
            imports = frozenset(key for key in freed if isinstance(key, ImportKey))
            self._step(Dirty(services=freed - imports, imports=imports))

    async def withdrawn(self) -> None:
        """Wait until no resolver answers anymore what is gone."""
        await asyncio.gather(*(each.done(mark, WITHDRAWAL) for each, mark in tuple(self._marks.items())))

    def _complete(self, snapshot: Snapshot) -> bool:
        return snapshot.synced >= NEEDED

    def _begin(self) -> None:
        """Tell everybody the cluster as it is."""
        self._awaited = self._stand_in = None
        self._triggers.clear()
        self._tell_everybody()

    def _tell_everybody(self) -> None:
        self._noted()
        self.seen.set()
        self.begun.set()
        for resolver in self._journals:
            self._tell_all(resolver)

    def _tell_all(self, resolver: Resolver) -> None:
        snapshot, reduced = (self._stand_in, {}) if self._stand_in is not None else (self.snapshot, self._reduced())
        for each in self._journals[resolver].whole(snapshot, self._clock(), reduced=reduced):
            resolver.tell(structs.replace(each, stale=self.stale) if isinstance(each, Synced) else each)

    def _step(self, dirty: Dirty) -> None:
        reduced = self._reduced()
        triggered = self._triggers.take(dirty.services - reduced.keys())
        for resolver, journal in self._journals.items():
            change = journal.step(self.snapshot, dirty, self._clock(), reduced=reduced)
            if change is not None:
                for each in portions(self._marked(resolver, structs.replace(change, triggered=triggered) if triggered else change)):
                    resolver.tell(each)
        self._noted()

    def _marked(self, resolver: Resolver, change: Change) -> Change:
        """Return a change with a mark, if rules may have to wait for it."""
        if self._gate is None:
            return change
        mark = self._marks[resolver] = self._marks.get(resolver, 0) + 1
        return structs.replace(change, mark=mark)

    def _reduced(self) -> Reduced:
        return self._gate.reduced if self._gate is not None else {}

    def _noted(self) -> None:
        self.last_change = self._clock()


def _inhabited(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without any Namespace with those that its objects name."""
    if snapshot.namespaces or Kind.NAMESPACE not in snapshot.synced:
        return snapshot
    named: Iterable[str] = {key.namespace for key in (*snapshot.services, *snapshot.slices, *snapshot.imports)}
    return structs.replace(snapshot, namespaces={name: Namespace(ObjectMeta(name)) for name in named})
