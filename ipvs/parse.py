"""Back from what iptables-save and ipset save print to keys and values: the inverse of `render`, for what is ours. Pure.

Both print canonical text and `filter` makes the same, so nothing is interpreted: a chain is its lines. A hook that stands twice has its
count as value, which differs from what is wanted and is put right.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.parse import saved_sets
from pointsman.ipvs import names
from pointsman.routing.route import Family


def observed(lines: Iterable[str]) -> Iterator[tuple[RuleKey, str]]:
    """Yield our chains and hooks in the output of iptables-save; raises ValueError if it ends within a table."""
    table = ""
    chains: dict[str, list[str]] = {}
    hooks: Counter[tuple[str, str]] = Counter()
    for raw in lines:
        line = raw.rstrip("\n")
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain = line[1:].partition(" ")[0]
            if names.is_our_chain(table, chain):
                chains[chain] = []
        elif line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            if chain in chains:
                chains[chain].append(rule)
            elif chain in names.BUILTIN and names.is_hook(rule):
                hooks[chain, rule] += 1
        elif line == "COMMIT":
            yield from ((RuleKey(table, chain), "\n".join(body)) for chain, body in chains.items())
            yield from ((RuleKey(table, *hook), "" if count == 1 else str(count)) for hook, count in hooks.items())
            table, chains, hooks = "", {}, Counter()
    if table:
        raise ValueError(f"the listing ends within table {table}")


def observed_sets(lines: Iterable[str], family: Family) -> Iterator[tuple[SetKey, str]]:
    """Yield our sets of one family and their elements, each with its value, from the output of ipset save."""
    for key, kind in saved_sets(lines, names.set_types(family), lambda name: names.is_our_set(name, family)):
        element, _, value = key.element.partition(" ")
        yield SetKey(key.name, element), value if element else kind
