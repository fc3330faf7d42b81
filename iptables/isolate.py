"""Cutting a bad part out of a tool's input, so that one broken chain never stops the others. Pure.

A restore writes a table as a whole or not at all. When it fails, the part that is to blame is left out and the rest is tried again: blame
comes from the tool (lines, or names of absent objects, see `failure`), and if it names nothing, from trying parts of the input (`units`).

Leaving a key out may leave others without ground: a rule cannot jump to a chain that was not made, nor match a set that was not. `Cut`
follows such references as far as they go. It knows what did not exist before (`absent`); where nobody knows, the tool will say.

Some lines may fail without harm: a deletion of what is gone, `-N` of what is there. Those lines alone are dropped, their keys stand.
Next: `kernel` runs what remains and asks again.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind
from pointsman.iptables import names
from pointsman.iptables.failure import Failure
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, RuleKey, SetKey
from pointsman.iptables.render import Step

_JUMP: Final = re.compile(r" -[jg] (\S+)")
_SET: Final = re.compile(r" --match-set (\S+)")
_MATCH: Final = re.compile(r" -(?:m|j) (\S+)")
_FORGIVEN: Final = {"restore": ("-D ", "-N "), "ipset": ("del ", "flush ", "destroy ")}


class Rest(Struct, frozen=True):
    """What is left of a step: its text, and for each line of it the place of that line in the step."""

    text: str
    places: tuple[int, ...]


class Cut:
    """One step without its failed parts. `absent` are the chains and sets that are known not to exist unless the step makes them."""

    def __init__(self, step: Step, absent: Collection[str], failed: Collection[Key]) -> None:
        self.step = step
        self.failed: set[Key] = set()
        self.keys = step.keys
        self._lines = step.text.split("\n")[:-1]
        self._absent = frozenset(absent)
        self._dropped: set[int] = set()
        self._users: dict[str, list[int]] = {}
        for place, line in enumerate(self._lines):
            for name in _references(line):
                self._users.setdefault(name, []).append(place)
        self.fail(failed)

    def fail(self, keys: Collection[Key]) -> None:
        """Leave keys out, and all keys that refer to something that does not exist without them."""
        fresh = set(keys) - self.failed
        while fresh:
            self.failed |= fresh
            gone = {name for key in fresh if (name := self._provides(key)) in self._absent}
            places = (place for name in gone for place in self._users.get(name, ()))
            users = (self.keys[place] for place in places if not self._lines[place].startswith("-D "))
            fresh = {key for key in users if key is not None} - self.failed

    def _provides(self, key: Key) -> str:
        """Return the name of what would not exist without the key: a shared chain exists without any one of its rules."""
        if isinstance(key, SetKey):
            return "" if key.element else key.name
        return key.chain if key.table == self.step.table and names.role(key.table, key.chain) is Role.WHOLE else ""

    def rest(self, only: Collection[Key] | None = None) -> Rest:
        """Return what is left; with `only`, what is left of these keys."""
        places = tuple(place for place in range(len(self._lines)) if self._stays(place, only))
        return Rest("\n".join([*(self._lines[place] for place in places), ""]), places)

    def _stays(self, place: int, only: Collection[Key] | None) -> bool:
        key = self.keys[place]
        if place in self._dropped:
            return False
        if key is None:
            return True
        if only is not None and key not in only:
            return self._lines[place].startswith(":") and self._is_shared(key) and self._any_of_chain(key, only)
        return key not in self.failed or (self._lines[place].startswith(":") and self._is_shared(key))

    def _is_shared(self, key: Key) -> bool:
        return isinstance(key, RuleKey) and names.role(key.table, key.chain) is Role.SHARED

    def _any_of_chain(self, key: Key, only: Collection[Key]) -> bool:
        assert isinstance(key, RuleKey)
        return any(isinstance(other, RuleKey) and other.chain == key.chain for other in only)

    def blame(self, failure: Failure, rest: Rest) -> frozenset[Key] | None:
        """Leave out what a failed run of `rest` is to be blamed on and return the blamed keys; None if nothing tells.

        An empty answer means that only lines were dropped which may fail.
        """
        named = {*failure.chains, *failure.sets}
        places = [place for name in named for place in self._users.get(name, ())]
        places += [place for place, line in enumerate(self._lines) if failure.extensions and _uses(line, failure.extensions)]
        if not places:
            places = [rest.places[number - 1] for number in failure.lines if 1 <= number <= len(rest.places)]
        left = set(rest.places)
        found = {place for place in places if place in left and self.keys[place] is not None}
        harmless = {place for place in found if self._forgiven(place, failure)}
        self._dropped |= harmless
        blamed = frozenset(key for place in found - harmless if (key := self.keys[place]) is not None)
        self.fail(blamed)
        return blamed if found else None

    def _forgiven(self, place: int, failure: Failure) -> bool:
        """Return whether a refused line may be passed over: what it was to bring about is so already."""
        if not self._lines[place].startswith(_FORGIVEN[self.step.tool]):
            return False
        if failure.kind in {ErrorKind.MISSING, ErrorKind.EXISTS}:
            return True
        # The legacy variant gives no reason; an unusable option would have been named.
        return self.step.tool == "restore" and failure.kind is ErrorKind.INVALID and "Error occurred" not in failure.text

    def units(self) -> tuple[tuple[Key, ...], ...]:
        """Return the keys that are left in the smallest portions that can be written alone, each after those that it refers to.

        A portion is a chain with all its keys, a set with its elements, or a single key. Deletions come last.
        """
        portions: dict[str, dict[Key, None]] = {}
        targets: dict[str, list[str]] = {}
        last: set[str] = set()
        for key, line in zip(self.keys, self._lines, strict=True):
            if key is None or key in self.failed:
                continue
            name = key.name if isinstance(key, SetKey) else key.chain
            portions.setdefault(name, {})[key] = None
            targets.setdefault(name, []).extend(_references(line))
            if line.startswith("-X "):
                last.add(name)
        order = [name for name in _targets_first(targets) if name not in last]
        return tuple(tuple(portions[name]) for name in [*order, *sorted(last)])


def _references(line: str) -> Iterator[str]:
    """Return the chains and sets that a rule's line names (and names of targets that are no chains: nobody asks for those)."""
    if line.startswith(("-A ", "-I ", "-D ")):
        yield from _JUMP.findall(line)
        yield from _SET.findall(line)


def _uses(line: str, extensions: Collection[str]) -> bool:
    return line.startswith(("-A ", "-I ")) and any(word in extensions for word in _MATCH.findall(line))


def _targets_first(targets: Mapping[str, list[str]]) -> list[str]:
    """Return the names, each after those that it refers to; circles are broken somewhere."""
    ordered: dict[str, None] = {}
    entered: set[str] = set()
    for start in targets:
        stack = [(start, False)]
        while stack:
            name, done = stack.pop()
            if done:
                ordered[name] = None
            elif name not in entered and name in targets:
                entered.add(name)
                stack.append((name, True))
                stack.extend((target, False) for target in targets[name])
    return list(ordered)
