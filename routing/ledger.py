"""Collections that many owners contribute to, kept ready to be read: no update looks at what other owners contributed.

A `Ledger` is sorted (notices, health checks); a `Tally` counts addresses, so that one is gone when its last owner is (cluster IPs). `build`
replaces one Service's part at a time; reading gives an immutable value, the same one as long as nothing has changed.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from pointsman.routing.addresses import family_of
from pointsman.routing.route import Family

T = TypeVar("T", bound=Hashable)


class Ledger(Generic[T]):
    """Sorted values, replaced by owner."""

    def __init__(self, order: Callable[[T], tuple[Any, ...]]) -> None:
        """Sort by `order`, which must tell different values apart."""
        self._order = order
        self._by_owner: dict[Hashable, tuple[T, ...]] = {}
        self._sorted: list[T] = []
        self._value: tuple[T, ...] = ()

    def put(self, owner: Hashable, values: Iterable[T]) -> None:
        """Replace what an owner contributed; equal values count once."""
        after = tuple(dict.fromkeys(values))
        before = self._by_owner.get(owner, ())
        if before == after:
            return
        if after:
            self._by_owner[owner] = after
        else:
            del self._by_owner[owner]
        for value in set(before).difference(after):
            del self._sorted[bisect_left(self._sorted, self._order(value), key=self._order)]
        for value in set(after).difference(before):
            insort(self._sorted, value, key=self._order)
        self._value = ()

    def value(self) -> tuple[T, ...]:
        """Return everything, sorted."""
        if len(self._value) != len(self._sorted):
            self._value = tuple(self._sorted)
        return self._value


class Tally:
    """Canonical addresses per family, each there as long as somebody counts it."""

    def __init__(self) -> None:
        self._counts: dict[Family, dict[str, int]] = {family: {} for family in Family}
        self._stale = set(Family)
        self._shared: set[str] = set()
        self._value: Mapping[Family, frozenset[str]] = {}

    def replace(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Count one owner's addresses anew."""
        if before == after:
            return
        for address in after:
            counts = self._counts[family_of(address)]
            counts[address] = counts.get(address, 0) + 1
            if counts[address] == 1:
                self._stale.add(family_of(address))
            else:
                self._shared.add(address)
        for address in before:
            counts = self._counts[family_of(address)]
            counts[address] -= 1
            if counts[address]:
                self._shared.add(address)
            else:
                del counts[address]
                self._stale.add(family_of(address))

    def take_shared(self) -> frozenset[str]:
        """Return the addresses that gained or lost an owner beside another one since this was last asked."""
        shared, self._shared = frozenset(self._shared), set()
        return shared

    def value(self) -> Mapping[Family, frozenset[str]]:
        """Return the addresses of both families."""
        if self._stale:
            self._value = {family: frozenset(self._counts[family]) if family in self._stale else self._value[family] for family in Family}
            self._stale = set()
        return self._value
