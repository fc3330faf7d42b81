"""The plan that removes everything of ours, and its description in words. Pure.

What is there is observed, not remembered, so a half-written state is removed like any other. Traffic is led away first: hooks, addresses,
virtual servers, and then what they stood on. `kernel` applies the plan, `cleanup` does so for both families.
"""

from collections.abc import Hashable, Mapping

from pointsman.dataplane.contract import ABSENT, Change, Mark, Plan
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey
from pointsman.routing.route import Family

Seen = Mapping[Key, Value | Mark]


def removal(seen: Seen) -> Plan[Key, Value]:
    """Return the plan that removes what was seen."""
    compiler = IpvsCompiler(Family.IPV4, Options())
    keys = sorted(seen, key=lambda key: (compiler.rank(key), repr(key)), reverse=True)
    groups: dict[Hashable, Mapping[Key, Value]] = {group: {} for group in map(compiler.group, keys) if group is not None}
    return Plan(tuple(Change[Key, Value](key, seen[key], ABSENT) for key in keys), groups)


def describe(seen: Seen, family: Family, variant: str) -> tuple[str, ...]:
    """Return in words what goes: chains, sets with their number of elements, virtual servers with that of what is behind them."""
    words: list[str] = []
    counts: dict[str, int] = {}
    for key in sorted(seen, key=repr):
        if isinstance(key, RuleKey):
            place = f"{variant} {family.value} {key.table}"
            words.append(f"{place}: jump in {key.chain}" if key.chain in names.BUILTIN else f"{place}: chain {key.chain}")
        elif isinstance(key, SetKey):
            name = f"ipset {key.name}"
            counts[name] = counts.get(name, 0) + bool(key.element)
        elif isinstance(key, AddressKey):
            counts[f"addresses on {names.DEVICE}, {family.value}"] = counts.get(f"addresses on {names.DEVICE}, {family.value}", 0) + 1
        else:
            name = f"virtual server {key.virtual if isinstance(key, RealKey) else key}"
            counts[name] = counts.get(name, 0) + isinstance(key, RealKey)
    return (*words, *(f"{name} ({count})" for name, count in counts.items()))
