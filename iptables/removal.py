"""The plan that removes everything of ours, and its description in words. Pure.

What is there is observed, not remembered, so a half-written state, another version's chains, or kube-proxy's own are removed the same way:
a plan that wants nothing goes through the same steps as any other. KUBE-FIREWALL, its rule and its hooks are kubelet's as well and stay
(IPT-44). `kernel` applies the plan, `cleanup` does so for all families and variants.
"""

from collections.abc import Hashable, Iterable, Mapping

from pointsman.dataplane.contract import ABSENT, Change, Mark, Plan
from pointsman.iptables import names, render
from pointsman.iptables.names import Role
from pointsman.iptables.objects import Key, SetKey, Value
from pointsman.routing.route import Family

Seen = Mapping[Key, Value | Mark]


def removal(seen: Seen) -> Plan[Key, Value]:
    """Return the plan that removes what was seen, except for what is kept."""
    changes = tuple(Change[Key, Value](key, before, ABSENT) for key, before in seen.items() if not names.is_kept(key))
    groups: dict[Hashable, dict[Key, Value]] = {}
    for change in changes:
        if (touched := render.group(change.key)) is not None:
            groups.setdefault(touched, {})
    for key, value in seen.items():
        if names.is_kept(key) and (kept := groups.get(render.group(key))) is not None and not isinstance(value, Mark):
            kept[key] = value
    return Plan(changes, groups)


def describe(going: Iterable[Key], family: Family, variant: str) -> tuple[str, ...]:
    """Return in words what goes: hooks one by one, chains by name, sets with their number of elements."""
    where = f"{variant} {family.value}"
    words: dict[str, None] = {}
    elements: dict[str, int] = {}
    for key in sorted(going, key=repr):
        if isinstance(key, SetKey):
            elements[key.name] = elements.get(key.name, 0) + bool(key.element)
        elif names.role(key.table, key.chain) is Role.BUILTIN:
            words[f"{where} {key.table}: jump in {key.chain} to {names.jump_target(key.rule)}"] = None
        else:
            words[f"{where} {key.table}: chain {key.chain}"] = None
    return (*words, *(f"ipset {name} ({count} elements)" for name, count in elements.items()))
