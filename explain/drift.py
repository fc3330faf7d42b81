"""Wanted minus held: every object of the kernel that is not as it should be, in words and with whose it is. Pure.

The desired side is compiled anew from routes and facts, the other side is what was read; what the agent believes plays no part. A mode
gives its compiler and its words (`Words`); the order is by subject, so that all of one Service port stands together.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from msgspec import structs
from pointsman.dataplane.contract import ABSENT, Compiler, K, K_contra, Mark, V
from pointsman.dataplane.trace import Difference
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing

V_contra = TypeVar("V_contra", bound=Hashable, contravariant=True)
NODE = "node"


class Words(Protocol[K_contra, V_contra]):
    """What a mode says of a key that is not as wanted: key, wanted, found, and whose it is (empty if nobody's)."""

    def __call__(self, key: K_contra, wanted: V_contra | Mark, found: V_contra | Mark, subject: str = "", /) -> Iterable[Difference]:
        """Return the differences that it means."""
        ...


def between(
    compiler: Compiler[K, V], words: Words[K, V], seen: Mapping[K, V | Mark], *, family: Family, routing: Routing, node: NodeFacts
) -> tuple[Difference, ...]:
    """Return the differences of one family, none if the kernel holds exactly what is wanted."""
    wanted: dict[K, V] = dict(compiler.static(node, routing))
    owners: dict[K, str] = dict.fromkeys(wanted, NODE)
    for key, route in routing.routes.items():
        if key.family is family:
            fragment = compiler.compile(route, node)
            name = f"{key.port_name} {key.port_name.protocol.lower}"
            wanted.update(fragment)
            owners.update((one, _owner(owners.get(one), name)) for one in fragment)
    found = [
        structs.replace(one, key=str(key))
        for key, want, have in _unequal(wanted, seen)
        for one in words(key, want, have, owners.get(key, ""))
    ]
    return tuple(sorted(found, key=lambda one: (one.subject != NODE, one)))


def _owner(before: str | None, name: str) -> str:
    """Return whose a key is that another owner may want too: several ports of one Service are told as the first of them."""
    if before is None:
        return name
    return before if before.partition(":")[0] == name.partition(":")[0] else NODE


def _unequal(wanted: Mapping[K, V], seen: Mapping[K, V | Mark]) -> Iterator[tuple[K, V | Mark, V | Mark]]:
    for key, value in wanted.items():
        found = seen.get(key, ABSENT)
        if found != value:
            yield key, value, found
    for key, found in seen.items():
        if key not in wanted and found is not ABSENT:
            yield key, ABSENT, found
