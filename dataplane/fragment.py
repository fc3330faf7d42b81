"""What all owners together want in the kernel.

Every owner (a route by its key, or the word `static`) contributes a fragment. The union is the desired state of one family. Several owners
may want the same key (the inner jumps of a dispatch tree, a shared set): it stays until the last of them lets go. Only keys with more than
one owner are counted, and key objects are shared, so 10,000 owners cost little more than their keys.

Owners change in batches, and a batch counts as one step: a key may pass from one owner to another, with a new value, without ever being
wanted twice. Every change is answered with what was wanted before, which is what `delta` needs to follow.
"""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Generic

from pointsman.dataplane.contract import ABSENT, Fragment, K, Mark, V


class OwnersDisagreeError(Exception):
    """Two owners want the same key with different values, the second one is part of the change that is refused.

    `routing` settles what Services contest, so this means that two frontends which differ there are one object in the kernel.
    """

    def __init__(self, key: object, first: tuple[Hashable, object], second: tuple[Hashable, object]) -> None:
        super().__init__(key, first, second)
        self.key = key
        self.first = first
        self.second = second

    def __str__(self) -> str:
        """Return who wants what."""
        (one, value), (two, other) = self.first, self.second
        return f"{one!r} and {two!r} disagree on {self.key!r}: {value!r} or {other!r}; keys with several owners must have one value"


class Desired(Generic[K, V]):
    """The union of all owners' fragments, with reference counts."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._owned: dict[Hashable, tuple[K, ...]] = {}
        self._shared: dict[K, tuple[K, int]] = {}  # keys with several owners: the key object that all share, how many own it

    @property
    def values(self) -> Mapping[K, V]:
        """Return everything that is wanted, as a live read-only view."""
        return MappingProxyType(self._values)

    @property
    def owners(self) -> frozenset[Hashable]:
        """Return everybody who wants something."""
        return frozenset(self._owned)

    def owned(self, owner: Hashable) -> tuple[K, ...]:
        """Return the keys that an owner wants; empty for a stranger."""
        return self._owned.get(owner, ())

    def set(self, owner: Hashable, fragment: Fragment[K, V]) -> Mapping[K, V | Mark]:
        """Replace an owner's fragment; return as `update` does."""
        return self.update({owner: fragment})

    def drop(self, owner: Hashable) -> Mapping[K, V | Mark]:
        """Remove an owner, known or not; return as `update` does."""
        return self.update({owner: None})

    def update(self, fragments: Mapping[Hashable, Fragment[K, V] | None]) -> Mapping[K, V | Mark]:
        """Replace the fragments of several owners in one step; None removes an owner.

        Return the keys whose wanted value changed, each with the value wanted before (ABSENT = not wanted). Raise OwnersDisagreeError, and
        change nothing, if a key would be wanted with two values.
        """
        self._check(fragments)
        before: dict[K, V | Mark] = {}
        for owner, fragment in fragments.items():
            self._replace(owner, fragment or {}, before)
        now = self._values
        return {key: value for key, value in before.items() if now.get(key, ABSENT) != value}

    def _replace(self, owner: Hashable, fragment: Fragment[K, V], before: dict[K, V | Mark]) -> None:
        values = self._values
        kept: dict[K, K] = {}
        for key in self._owned.pop(owner, ()):
            if key in fragment:
                kept[key] = key
            else:
                self._release(key, before)
        keys: list[K] = []
        for key, value in fragment.items():
            own = kept.get(key)
            if own is None:
                own = self._acquire(key)
            keys.append(own)
            old = values.get(own, ABSENT)
            if old != value:
                before.setdefault(own, old)
                values[own] = value
        if keys:
            self._owned[owner] = tuple(keys)

    def _acquire(self, key: K) -> K:
        """Count one more owner of a key; return the object that stands for it."""
        if key in self._values:
            own, count = self._shared.get(key, (key, 1))
            self._shared[own] = (own, count + 1)
            return own
        return key

    def _release(self, key: K, before: dict[K, V | Mark]) -> None:
        """Count one owner of a key less."""
        own, count = self._shared.get(key, (key, 1))
        if count > 2:
            self._shared[own] = (own, count - 1)
        elif count > 1:
            del self._shared[key]
        else:
            before.setdefault(key, self._values.pop(key))

    def _check(self, fragments: Mapping[Hashable, Fragment[K, V] | None]) -> None:
        """Raise if the batch would leave a key with two values."""
        claimed: dict[K, V] = {}
        leaving: dict[K, int] = {}
        for owner, fragment in fragments.items():
            for key in self._owned.get(owner, ()):
                leaving[key] = leaving.get(key, 0) + 1
            for key, value in (fragment or {}).items():
                if claimed.setdefault(key, value) != value:
                    rival = next(other for other, wants in fragments.items() if wants and wants.get(key, value) != value)
                    raise OwnersDisagreeError(key, (rival, claimed[key]), (owner, value))
        for key, value in claimed.items():
            old = self._values.get(key, value)
            if old != value and self._shared.get(key, (key, 1))[1] > leaving.get(key, 0):
                rival = next(other for other, keys in self._owned.items() if other not in fragments and key in keys)
                owner = next(other for other, wants in fragments.items() if wants and key in wants)
                raise OwnersDisagreeError(key, (rival, old), (owner, value))
