"""Whose the rules are, where pointsman and kube-proxy use the same names. Pure.

Chains that people know have kube-proxy's names (`names`), so a name alone does not tell which of the two wrote them. What a table's
KUBE-SERVICES does tells: ours looks destinations up in our buckets and refuses by our sets, kube-proxy's holds one rule per Service. Each
of the two rewrites a table as a whole, so that one chain speaks for the table. Of a table that is kube-proxy's only our buckets are ours,
which kube-proxy does not know and so leaves behind: nothing leads to them any more.

`removal` asks when `pointsman cleanup` runs beside a kube-proxy that has taken over again, and when the agent must leave what it replaced.
"""

from collections.abc import Mapping
from enum import Enum

from pointsman.dataplane.contract import Mark
from pointsman.iptables import names
from pointsman.iptables.objects import Key, RuleKey, SetKey, Value
from pointsman.routing.route import Family

Seen = Mapping[Key, Value | Mark]

_OUR_SETS = tuple(names.SET_PREFIX[family] for family in Family)


class Owner(Enum):
    """Who wrote a table's chains last."""

    OURS = "pointsman"
    KUBE_PROXY = "kube-proxy"
    NOBODY = "nobody"  # no whole set of rules: what an interrupted start or removal left


def owner(table: str, seen: Seen) -> Owner:
    """Return who wrote a table's chains last; table mangle, where both have only a canary, goes with nat."""
    dispatch = _body(seen, "filter" if table == "filter" else "nat", names.SERVICES)
    if any(names.jump_target(rule) == names.DESTINATIONS or _names_our_set(rule) for rule in dispatch):
        return Owner.OURS
    if dispatch or (table == "filter" and _body(seen, "filter", names.FORWARD)):
        return Owner.KUBE_PROXY
    return Owner.NOBODY


def without_kube_proxys(seen: Seen) -> dict[Key, Value | Mark]:
    """Return what was seen without what is kube-proxy's."""
    spared = {table for table in names.TABLES if owner(table, seen) is Owner.KUBE_PROXY}
    return {key: value for key, value in seen.items() if isinstance(key, SetKey) or key.table not in spared or _in_our_bucket(key)}


def _in_our_bucket(key: RuleKey) -> bool:
    return names.is_bucket(key.chain)


def _body(seen: Seen, table: str, chain: str) -> list[str]:
    body = seen.get(RuleKey(table, chain), "")
    return [] if isinstance(body, Mark) or not body else body.split("\n")


def _names_our_set(rule: str) -> bool:
    return any(f"--match-set {prefix}" in rule for prefix in _OUR_SETS)
