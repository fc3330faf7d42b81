"""Back from what the tools print to keys and values: the inverse of `render`.

`iptables-save` and `ipset save` print canonical text, and `compile` makes the same text, so nothing is interpreted here: a rule is its
line. Only what is ours is returned (`names.role`). A whole chain is returned with its body. A shared chain is returned rule by rule; one
that has no rule, or a root, which exists without, also as the key of the chain itself, so that an empty bucket left behind is seen and
removed. A rule that stands twice, which restores of different writers can bring about, has its count as value: it differs from what is
wanted and is put right.

`kernel` feeds the lines, `delta` compares the result with what is wanted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from pointsman.iptables import names
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.routing.route import Family

_KERNEL_CHOSEN = frozenset({"hashsize", "bucketsize", "initval"})


def observed(lines: Iterable[str], family: Family) -> Iterator[tuple[Key, Value]]:
    """Yield everything of ours in the output of iptables-save (ip6tables-save for IPv6), with or without trailing newlines.

    Raises ValueError if the output ends within a table: a half-read table must not be taken for a whole one.
    """
    table = ""
    chains: dict[str, list[str]] = {}
    for raw in lines:
        line = raw.rstrip("\n")
        if line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            body = chains.get(chain)
            if body is not None:
                body.append(rule)
        elif line.startswith(":"):
            chain = line[1:].partition(" ")[0]
            if names.role(table, chain):
                chains[chain] = []
        elif line.startswith("*"):
            table = line[1:]
        elif line == "COMMIT":
            for chain, body in chains.items():
                yield from _chain(table, chain, body, family)
            table, chains = "", {}
    if table:
        raise ValueError(f"the listing ends within table {table}")


def _chain(table: str, chain: str, body: list[str], family: Family) -> Iterator[tuple[Key, Value]]:
    match names.role(table, chain):
        case Role.WHOLE:
            yield RuleKey(table, chain), "\n".join(body)
        case Role.SHARED:
            if not body or chain in names.ROOTS[table]:
                yield RuleKey(table, chain), ""
            yield from _rules(table, chain, body)
        case Role.GUEST:
            yield RuleKey(table, chain), ""
            if family is Family.IPV4 and names.LOCALNET_RULE in body:
                yield RuleKey(table, chain, names.LOCALNET_RULE), ""
        case Role.BUILTIN:
            yield from _rules(table, chain, [rule for rule in body if names.is_hook(table, rule)])


def _rules(table: str, chain: str, rules: list[str]) -> Iterator[tuple[Key, Value]]:
    for rule, count in Counter(rules).items():
        yield RuleKey(table, chain, rule), "" if count == 1 else str(count)


def observed_sets(lines: Iterable[str], family: Family) -> Iterator[tuple[Key, Value]]:
    """Yield our sets of one family and their elements from the output of `ipset save`."""
    return saved_sets(lines, names.set_types(family), lambda name: names.is_our_set(name, family))


def saved_sets(lines: Iterable[str], wanted: Mapping[str, str], ours: Callable[[str], bool]) -> Iterator[tuple[SetKey, str]]:
    """Yield a mode's sets, with their types, and their elements, as `ipset save` prints them, with an empty value.

    Elements of a set whose type is not the wanted one are left out: they cannot stay when it is replaced.
    """
    usable: set[str] = set()
    for raw in lines:
        verb, _, rest = raw.rstrip("\n").partition(" ")
        name, _, text = rest.partition(" ")
        if not ours(name):
            continue
        if verb == "create":
            kind = _set_type(text)
            yield SetKey(name), kind
            if kind == wanted.get(name):
                usable.add(name)
        elif verb == "add" and name in usable:
            yield SetKey(name, text), ""


def _set_type(text: str) -> str:
    """Return type and options without what the kernel chooses by itself."""
    words = iter(text.split())
    kept: list[str] = []
    for word in words:
        if word in _KERNEL_CHOSEN:
            next(words, None)
        else:
            kept.append(word)
    return " ".join(kept)
