"""Back from what iptables-save and ipset save print to keys and values: the inverse of `render`, for what is ours. Pure.

Both print canonical text and `filter` makes the same, so nothing is interpreted: a chain is its lines. A hook, or a rule of a
chain of many owners, that stands twice has its count as value, which differs from what is wanted and is put right.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.parse import saved_sets
from pointsman.ipvs import names
from pointsman.routing.route import Family, Protocol


def observed(lines: Iterable[str], *, inherited: bool = False) -> Iterator[tuple[RuleKey, str]]:
    """Yield our chains and hooks, and with `inherited` kube-proxy's, in the output of iptables-save.

    Raises ValueError if it ends within a table.
    """
    table = ""
    chains: dict[str, list[str]] = {}
    hooks: Counter[tuple[str, str]] = Counter()
    for raw in lines:
        line = raw.rstrip("\n")
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain = line[1:].partition(" ")[0]
            if names.is_our_chain(table, chain) or (inherited and names.is_inherited_chain(table, chain)):
                chains[chain] = []
        elif line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            if chain in chains:
                chains[chain].append(rule)
            elif chain in names.BUILTIN and (names.is_hook(rule) or (inherited and names.is_inherited_hook(rule))):
                hooks[chain, rule] += 1
        elif line == "COMMIT":
            for chain, body in chains.items():
                shared = names.is_shared(table, chain)
                yield RuleKey(table, chain), "" if shared else "\n".join(body)
                yield from ((RuleKey(table, chain, rule), _times(count)) for rule, count in Counter(body if shared else ()).items())
            yield from ((RuleKey(table, *hook), _times(count)) for hook, count in hooks.items())
            table, chains, hooks = "", {}, Counter()
    if table:
        raise ValueError(f"the listing ends within table {table}")


def _times(count: int) -> str:
    """Return the value of a rule that stands so often."""
    return "" if count == 1 else str(count)


def observed_sets(lines: Iterable[str], family: Family, *, inherited: bool = False) -> Iterator[tuple[SetKey, str]]:
    """Yield our sets of one family and their elements, each with its value, from the output of ipset save.

    With `inherited` kube-proxy's sets too, but not their elements.
    """

    def ours(name: str) -> bool:
        return names.is_our_set(name, family) or (inherited and names.is_inherited_set(name, family))

    for key, kind in saved_sets(lines, names.set_types(family), ours):
        element, _, value = key.element.partition(" ")
        yield SetKey(key.name, element), value if element else kind


def inherited_frontends(lines: Iterable[str], family: Family) -> tuple[frozenset[tuple[Protocol, int]], frozenset[str]]:
    """Return the node ports that kube-proxy's sets hold, and the other frontends, as in our sets: proofs whose virtual servers are.

    Its sets of frontends have our names and another size, so their elements are no elements of ours.
    """
    sets = names.SETS[family]
    node_ports: set[tuple[Protocol, int]] = set()
    frontends: set[str] = set()
    for line in lines:
        verb, _, rest = line.rstrip("\n").partition(" ")
        name, _, element = rest.partition(" ")
        if verb != "add":
            continue
        if name in sets.forwarded:
            frontends.add(element.partition(" ")[0])
        elif not names.is_inherited_set(name, family):
            continue
        elif protocol := names.inherited_node_ports(name):
            node_ports.add((protocol, int(element.rpartition(":")[2])))
        else:
            frontends.add(element)
    return frozenset(node_ports), frozenset(frontends)
