"""From a difference to a plan: what to write, in which order.

Add before remove: additions and updates by ascending rank (backends before the frontends that point to them), then deletions by descending
rank (frontends before backends), so that no half-made change is ever visible where the kernel cannot apply it in one piece. Keys of equal
rank are ordered by their text: the same difference always gives the same plan, whichever way it came about.
"""

from collections.abc import Callable, Collection, Hashable, Iterator

from pointsman.dataplane.contract import ABSENT, Change, Compiler, Fragment, K, Mark, Plan, V
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.fragment import Desired
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing

STATIC = "static"
"""The owner of everything that belongs to no route."""


def make(delta: Delta[K, V], rank: Callable[[K], int], group: Callable[[K], Hashable], held: Collection[K] = frozenset()) -> Plan[K, V]:
    """Return the plan that makes the kernel as wanted, except for keys that are held back; empty before the kernel was observed."""
    written: list[tuple[int, str, int]] = []
    deleted: list[tuple[int, str, int]] = []
    groups: dict[Hashable, None] = {}
    changes: list[Change[K, V]] = []
    for number, change in enumerate(delta.changes(held)):
        key = change.key
        (deleted if change.after is ABSENT else written).append((rank(key), repr(key), number))
        changes.append(change)
        touched = group(key)
        if touched is not None:
            groups[touched] = None
    written.sort()
    deleted.sort(reverse=True)
    return Plan(
        changes=tuple([changes[number] for *_, number in (*written, *deleted)]),
        groups={touched: delta.content(touched, held) for touched in groups},
    )


def from_scratch(compiler: Compiler[K, V], family: Family, routing: Routing, node: NodeFacts) -> Plan[K, V]:
    """Return what would be written into a kernel that holds nothing of ours."""
    desired: Desired[K, V] = Desired()
    fragments: dict[Hashable, Fragment[K, V]] = {STATIC: compiler.static(node, routing)}
    fragments.update((key, compiler.compile(route, node)) for key, route in routing.routes.items() if key.family is family)
    desired.update(fragments)
    delta = Delta(desired.values, compiler.group)
    delta.observe({})
    return make(delta, compiler.rank, compiler.group)


def contents(plan: Plan[K, V], group: Callable[[K], Hashable]) -> Iterator[tuple[K, V]]:
    """Yield what a plan writes: everything in the groups that it touches, and what it writes alone."""
    for members in plan.groups.values():
        yield from members.items()
    for change in plan.changes:
        if not isinstance(change.after, Mark) and group(change.key) is None:
            yield change.key, change.after
