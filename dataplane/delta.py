"""The difference between what is wanted and what the kernel is believed to hold.

Only the difference is kept: `pending` maps each key that is not as wanted to what is believed to be there instead (a value, ABSENT, or
UNKNOWN). Of every other key the kernel holds what is wanted; so the belief about 60,000 keys costs no second map of them, and nothing
equal can ever be pending. The belief changes in four ways: `want` (the wish changed), `observe` (the kernel was read), `applied` (a plan
was carried out), `doubt` (a plan may or may not have been carried out). Before the first `observe` nothing may be planned.

Keys of one group are rewritten together, so members of groups are indexed: a plan carries the complete target content of what it touches.
`plan` orders the difference; the loop of a family drives both.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic

from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, K, Mark, Outcome, Plan, V


class Delta(Generic[K, V]):
    """The difference, for one family. `wanted` is a live view of what is wanted (`Desired.values`); `group` is the compiler's."""

    def __init__(self, wanted: Mapping[K, V], group: Callable[[K], Hashable]) -> None:
        self._wanted = wanted
        self._group = group
        self._pending: dict[K, V | Mark] = {}
        self._members: dict[Hashable, dict[K, None]] = {}  # per group: its keys, wanted or pending
        self._known = False
        self._found: frozenset[K] = frozenset()
        for key in wanted:
            self._index(key)

    @property
    def known(self) -> bool:
        """Return whether the kernel has been observed; before that, nothing may be planned (IN-07)."""
        return self._known

    @property
    def pending(self) -> Mapping[K, V | Mark]:
        """Return the keys that are not as wanted, each with what is believed to be in the kernel, as a live read-only view."""
        return MappingProxyType(self._pending)

    def leftovers(self) -> Collection[K]:
        """Return the keys that an earlier process left, that nobody wants, and that are still there: the first `observe` found them."""
        return {key for key in self._found if key in self._pending and key not in self._wanted} if self._found else frozenset()

    def want(self, before: Mapping[K, V | Mark]) -> None:
        """Follow a change of what is wanted: the changed keys, each with what was wanted before (`Desired.update` returns that)."""
        for key, value in before.items():
            if key in self._wanted:
                self._index(key)
            self._believe(key, self._pending.get(key, value))

    def observe(self, seen: Mapping[K, V | Mark]) -> Collection[K]:
        """Replace the belief by what was read: everything of ours that is in the kernel.

        Return the keys that turned out different from what was believed, which somebody else must have changed; none the first time.
        """
        drifted = [] if not self._known else [key for key, found in self._differences(seen) if self._surprising(key, found)]
        fresh = dict(self._differences(seen))
        gone = [key for key in self._pending if key not in fresh]
        self._pending = fresh
        for key in gone:
            self._forget(key)
        for key in fresh:
            self._index(key)
        if not self._known:
            self._found = frozenset(key for key in fresh if key not in self._wanted)
        self._known = True
        return drifted

    def changes(self, held: Collection[K] = frozenset()) -> Iterator[Change[K, V]]:
        """Yield what must change, without the keys that are held back (failing ones that wait, lingering ones)."""
        if self._known:
            for key, before in self._pending.items():
                if key not in held:
                    yield Change(key, before, self._wanted.get(key, ABSENT))

    def content(self, group: Hashable, held: Collection[K] = frozenset()) -> Mapping[K, V]:
        """Return what a group must hold when it is rewritten.

        Keys that are held back keep what they are believed to hold; where that is not known they are left out, so that one key the kernel
        refuses does not keep the rest of its group from being written.
        """
        content: dict[K, V] = {}
        for key in self._members.get(group, ()):
            value = self._pending.get(key, ABSENT) if key in held and key in self._pending else self._wanted.get(key, ABSENT)
            if not isinstance(value, Mark):
                content[key] = value
        return content

    def applied(self, plan: Plan[K, V], outcome: Outcome[K]) -> None:
        """Believe what became of a plan; nothing may have been wanted anew since it was made.

        Of a group in which a key failed nothing is believed any more: whether its other keys were written is up to the kernel's tools.
        """
        broken = {self._group(key) for key in outcome.failed} - {None}
        for key in outcome.failed:
            self._doubt(key)
        for change in plan.changes:
            if change.key in outcome.failed:
                continue
            if broken and self._group(change.key) in broken:
                self._doubt(change.key)
            else:
                self._believe(change.key, change.after)
        for group, content in plan.groups.items():
            if group not in broken:
                for key in [key for key in self._members.get(group, ()) if key not in content]:
                    if self._pending.get(key) is UNKNOWN:
                        self._believe(key, ABSENT)

    def doubt(self, plan: Plan[K, V]) -> None:
        """Believe nothing about the keys of a plan any more: nobody knows how far it got."""
        for change in plan.changes:
            self._doubt(change.key)

    def _differences(self, seen: Mapping[K, V | Mark]) -> Iterable[tuple[K, V | Mark]]:
        """Yield every key that is not as wanted with what was seen in its place."""
        wanted = self._wanted
        for key, value in wanted.items():
            found = seen.get(key, ABSENT)
            if found != value:
                yield key, found
        for key, found in seen.items():
            if key not in wanted and found is not ABSENT:
                yield key, found

    def _surprising(self, key: K, found: V | Mark) -> bool:
        believed = self._pending.get(key, self._wanted.get(key, ABSENT))
        return believed is not UNKNOWN and believed != found

    def _doubt(self, key: K) -> None:
        self._index(key)
        self._pending[key] = UNKNOWN

    def _believe(self, key: K, value: V | Mark) -> None:
        """Believe that the kernel holds a value for a key."""
        if value is not UNKNOWN and self._wanted.get(key, ABSENT) == value:
            self._pending.pop(key, None)
            self._forget(key)
        else:
            self._pending[key] = value

    def _index(self, key: K) -> None:
        group = self._group(key)
        if group is not None:
            self._members.setdefault(group, {})[key] = None

    def _forget(self, key: K) -> None:
        """Drop a key from its group once it is neither wanted nor pending."""
        if key in self._wanted or key in self._pending:
            return
        group = self._group(key)
        members = self._members.get(group)
        if members is not None:
            members.pop(key, None)
            if not members:
                del self._members[group]
