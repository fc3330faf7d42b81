"""Whose the rules are, where pointsman and kube-proxy use the same names. Pure.

Chains that people know have kube-proxy's names (`names`), so a name alone does not tell which of the two wrote them. What a table's
KUBE-SERVICES does tells: ours looks destinations up in our buckets and refuses by our sets, kube-proxy's holds one rule per Service. Each
of the two rewrites a table as a whole, so that one chain speaks for the table. Of a table that is kube-proxy's only our buckets are ours,
which kube-proxy does not know and so leaves behind: nothing leads to them any more. kube-proxy's ipvs mode shows by its sets and by
KUBE-NODE-PORT. It has few of these chains and leaves all others alone, so those, and hooks that are not as it makes them, are ours.

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
_OF_ITS_IPVS_MODE = {
    "nat": frozenset({names.SERVICES, names.POSTROUTING, names.MARK_MASQ}),
    "filter": frozenset({names.FORWARD, names.PROXY_FIREWALL}),
}
"""The chains that kube-proxy's ipvs mode shares with the iptables mode (IPVS-21)."""


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
    if _is_by_ipvs(seen):
        return {key: value for key, value in seen.items() if isinstance(key, SetKey) or not _is_its_ipvs_modes(key)}
    spared = {table for table in names.TABLES if owner(table, seen) is Owner.KUBE_PROXY}
    return {key: value for key, value in seen.items() if isinstance(key, SetKey) or key.table not in spared or _in_our_bucket(key)}


def _in_our_bucket(key: RuleKey) -> bool:
    return names.is_bucket(key.chain)


def _is_by_ipvs(seen: Seen) -> bool:
    """Return whether kube-proxy's ipvs mode wrote last (IPVS-23)."""
    rules = _body(seen, "nat", names.SERVICES)
    return any("--match-set KUBE-" in rule or names.jump_target(rule) == "KUBE-NODE-PORT" for rule in rules)


def _is_its_ipvs_modes(key: RuleKey) -> bool:
    """Return whether a chain or rule is of kube-proxy's ipvs mode; its hooks match no state of connections (IPVS-22)."""
    chains = _OF_ITS_IPVS_MODE.get(key.table, frozenset())
    if names.role(key.table, key.chain) is names.Role.BUILTIN:
        return names.jump_target(key.rule) in chains and "--ctstate" not in key.rule
    return key.chain in chains


def _body(seen: Seen, table: str, chain: str) -> list[str]:
    body = seen.get(RuleKey(table, chain), "")
    return [] if isinstance(body, Mark) or not body else body.split("\n")


def _names_our_set(rule: str) -> bool:
    return any(f"--match-set {prefix}" in rule for prefix in _OUR_SETS)
