"""What a mode must implement, so that one reconcile loop drives them all.

A mode is two things, once per IP family. Its **compiler** is pure: it turns facts and routes into fragments (key → value maps) and says how
keys are ordered and grouped. Its **kernel** has the effects: it reads what is ours, applies plans, notices foreign changes, cleans up. Full
and incremental programming are the same code: `fragment` merges what all owners want, `delta` compares that with what was observed, `plan`
orders the difference, the kernel applies it.

Keys and values belong to the mode; the rest of the program only needs them hashable and comparable by value. Keys that the kernel can only
rewrite together (the rules of one chain) share a `group`; a plan carries the complete target content of every group it touches.
"""

from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct
from pointsman.dataplane.errors import KernelError
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Routing, ServiceRoute


class Mark(Enum):
    """Stand-ins for a value: nothing is there, or nobody knows what is there."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


ABSENT: Final = Mark.ABSENT
UNKNOWN: Final = Mark.UNKNOWN

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

Fragment = Mapping[K, V]
"""What one owner (a ServiceRoute, or the static part) wants in the kernel. Two owners may want the same key only with the same value."""


class Change(Struct, Generic[K, V], frozen=True, gc=False):
    """One key's way from what the kernel holds to what it should hold; `after` ABSENT is a deletion. `before` never equals `after`."""

    key: K
    before: V | Mark
    after: V | Mark


class Plan(Struct, Generic[K, V], frozen=True):
    """Changes in the order in which they must take effect: additions and updates by ascending rank, then deletions by descending rank.

    `groups` holds, for every group that a change touches, its complete target content (empty = the group goes away).
    """

    changes: tuple[Change[K, V], ...]
    groups: Mapping[Hashable, Mapping[K, V]]


class Outcome(Struct, Generic[K], frozen=True):
    """What became of a plan: keys that failed, each with its error. Every other key of the plan holds its target now."""

    failed: Mapping[K, KernelError]


class ForeignChange(Struct, frozen=True):
    """Somebody else changed what may be ours: what was noticed, and who did it where the kernel tells (empty = unknown)."""

    what: str
    culprit: str = ""


class Compiler(Protocol[K, V]):
    """The pure half of a mode, for one family."""

    def static(self, node: NodeFacts, routing: Routing) -> Fragment[K, V]:
        """Return what does not belong to one Service: hooks, mark rules, ServiceCIDRs, health-check ports."""
        ...

    def compile(self, route: ServiceRoute, node: NodeFacts) -> Fragment[K, V]:
        """Return what one route needs. Depends on nothing but its arguments."""
        ...

    def rank(self, key: K) -> int:
        """Return the place of a key in the order of additions; deletions go the other way."""
        ...

    def group(self, key: K) -> Hashable:
        """Return the group that must be rewritten together with the key, or None if it stands alone."""
        ...

    def census(self, contents: Iterable[tuple[K, V]]) -> Mapping[str, int]:
        """Return how many objects of each kind these keys and values are in the kernel; a kind of rules is named by its table."""
        ...

    def render(self, plan: Plan[K, V]) -> str:
        """Return the plan as the text that the mode's tools would be given; the offline `plan` command prints it."""
        ...


class Kernel(Protocol[K, V]):
    """The effects of a mode, for one family. Every method may raise KernelError; none changes what is not ours."""

    async def preflight(self) -> tuple[KernelError, ...]:
        """Return everything that keeps this mode from working here, each with what to do about it. Writes nothing."""
        ...

    async def observe(self) -> Mapping[K, V | Mark]:
        """Return everything of ours in the kernel; UNKNOWN for what is ours by name but not readable as a value."""
        ...

    async def apply(self, plan: Plan[K, V]) -> Outcome[K]:
        """Make the kernel match the plan. What fails is reported by key and does not keep the rest from being applied."""
        ...

    def watch(self) -> AsyncIterator[ForeignChange]:
        """Yield whenever somebody else may have touched our objects; never for our own writes. Ends only by cancellation."""
        ...

    async def cleanup(self, *, dry_run: bool) -> tuple[str, ...]:
        """Remove everything of ours; return what was (or would be) removed, in words. What is absent is no error."""
        ...
