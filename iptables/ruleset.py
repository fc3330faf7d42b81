"""A whole rule set as `iptables-save -c` prints it, with everybody's rules and their counters. Pure.

`parse` keeps only what is ours and compares text; here all chains of all tables are kept, because a packet meets all of them: a network
policy's DROP above our jump decides as much as our own rules do. Rules stay text until a walk reaches them (`rule`), for a node has a
hundred thousand and a packet meets a few dozen.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from re import compile as pattern

from msgspec import Struct
from pointsman.iptables.rule import Rule, parse

_COUNTED = pattern(r"\[(\d+):(\d+)\] ")
_GOTO = pattern(r'(?:(?<= )|^)-g (?=[^"]*$)')


class SavedRule(Struct, frozen=True, gc=False):
    """A rule where it stands: table, chain, number from 1, its text without `-A CHAIN `, and what it counted."""

    table: str
    chain: str
    number: int
    text: str
    packets: int | None = None
    octets: int | None = None

    @property
    def where(self) -> str:
        """Return `filter FORWARD rule 3`."""
        return f"{self.table} {self.chain} rule {self.number}"

    def read(self) -> tuple[Rule, bool]:
        """Return what it means, and whether its target is a goto; raises ValueError for what this notation does not cover."""
        return _read(self.text)


@lru_cache(maxsize=16384)
def _read(text: str) -> tuple[Rule, bool]:
    text, gotos = _GOTO.subn("-j ", text)
    return parse(text), bool(gotos)


class Chain(Struct, frozen=True):
    """A chain: its policy, empty unless it is the kernel's own, and its rules as they were printed."""

    policy: str
    rules: list[str]


class Ruleset(Struct, frozen=True, dict=True):
    """Tables by name, chains by name; `label` says of which variant, for people."""

    tables: Mapping[str, Mapping[str, Chain]]
    label: str = ""

    def chain(self, table: str, name: str) -> Chain | None:
        """Return a chain, None if it is not there."""
        return self.tables.get(table, {}).get(name)

    def rules(self, table: str, name: str) -> Iterable[SavedRule]:
        """Yield a chain's rules in order; nothing if it is not there."""
        chain = self.chain(table, name)
        for number, line in enumerate(chain.rules if chain else (), 1):
            yield saved(table, name, number, line)

    @cached_property
    def sets(self) -> frozenset[str]:
        """Return the names of all ipsets that some rule asks."""
        found = pattern(r"--(?:match|map|add)-set (\S+)")
        return frozenset(
            name for chains in self.tables.values() for chain in chains.values() for line in chain.rules for name in found.findall(line)
        )


def saved(table: str, chain: str, number: int, line: str) -> SavedRule:
    """Return a rule from its line, with or without counters."""
    counted = _COUNTED.match(line)
    text = line[counted.end() :] if counted else line
    text = text.removeprefix(f"-A {chain}").lstrip()
    packets, octets = (int(counted.group(1)), int(counted.group(2))) if counted else (None, None)
    return SavedRule(table, chain, number, text, packets, octets)


def ruleset(lines: Iterable[str], label: str = "") -> Ruleset:
    """Read what `iptables-save`, with or without `-c`, printed."""
    tables: dict[str, dict[str, Chain]] = {}
    chains: dict[str, Chain] = {}
    for raw in lines:
        line = raw.rstrip("\n")
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            name, _, rest = line[1:].partition(" ")
            policy = rest.partition(" ")[0]
            chains.setdefault(name, Chain("" if policy == "-" else policy, []))
        elif line.startswith(("-A ", "[")):
            body = line.partition("] ")[2] if line.startswith("[") else line
            name = body[3:].partition(" ")[0]
            if name in chains:
                chains[name].rules.append(line)
    return Ruleset(tables, label)
