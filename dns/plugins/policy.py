"""In which order upstreams are tried (FWD-10). Pure: dice are an argument."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

One = TypeVar("One")


class RoundRobin:
    """The next upstream first, then the others in their order."""

    def __init__(self) -> None:
        self._turn = -1

    def __call__(self, upstreams: Sequence[One]) -> Sequence[One]:
        """Return the order of this query."""
        self._turn += 1
        first = self._turn % len(upstreams) if upstreams else 0
        return [*upstreams[first:], *upstreams[:first]]


Policy = Callable[[Sequence[One]], Sequence[One]]


def policy(name: str, dice: random.Random) -> Callable[[Sequence[One]], Sequence[One]]:
    """Return a policy by its name in the Corefile: random, round_robin or sequential."""
    if name == "round_robin":
        return RoundRobin()
    if name == "sequential":
        return tuple
    return lambda upstreams: dice.sample(upstreams, len(upstreams))
