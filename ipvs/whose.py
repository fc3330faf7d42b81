"""Whose the ipvs mode's state is, where pointsman and kube-proxy use the same names. Pure.

The device and most sets have the same names with both, and one chain. What only one of the two makes tells which was here: ours are the
chains `KUBE-IPVS-...` but for two, sets of our own size and virtual servers by our marks; kube-proxy's are its other chains and sets, and
sets of its size. We program all of ours or nothing and the kernel holds one device and one set of a name, so what they share is ours
wherever anything of ours is, and kube-proxy's where there is nothing but its own.

`cleanup` and `retirement` ask when what is kube-proxy's has to stay.
"""

from collections.abc import Collection
from typing import Final

from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.keys import Key
from pointsman.ipvs.objects import VirtualKey
from pointsman.ipvs.removal import Seen
from pointsman.routing.route import Family

_SHARED_CHAINS: Final = frozenset({names.FILTER, "KUBE-IPVS-OUT-FILTER"})


def is_kube_proxys(seen: Collection[Seen], family: Family) -> bool:
    """Return whether what was seen in a family, by all variants of the tools, is kube-proxy's alone; `seen` has its state too."""
    everything = [item for found in seen for item in found.items()]
    return any(_tells_kube_proxy(key, value, family) for key, value in everything) and not any(
        _tells_us(key, value, family) for key, value in everything
    )


def without_kube_proxys(seen: Seen, family: Family) -> Seen:
    """Return what was seen where ours is, without what only kube-proxy has."""
    return {key: value for key, value in seen.items() if not _only_kube_proxys(key, family)}


def _tells_us(key: Key, value: object, family: Family) -> bool:
    if isinstance(key, VirtualKey):
        return key.protocol is None
    if isinstance(key, RuleKey):
        return not key.rule and names.is_our_chain(key.table, key.chain) and key.chain not in _SHARED_CHAINS
    return isinstance(key, SetKey) and _is_our_set(key, value, family)


def _is_our_set(key: SetKey, value: object, family: Family) -> bool:
    """Return whether a set is as only we make it; that of health-check ports is the same with both."""
    if key.element or not names.is_our_set(key.name, family) or key.name == names.SETS[family].health_checks:
        return False
    kind = names.set_types(family).get(key.name)
    return kind is None or value == kind


def _tells_kube_proxy(key: Key, value: object, family: Family) -> bool:
    if _only_kube_proxys(key, family):
        return True
    return isinstance(key, SetKey) and not key.element and value != names.set_types(family).get(key.name, value)


def _only_kube_proxys(key: Key, family: Family) -> bool:
    if isinstance(key, RuleKey):
        return names.is_inherited_hook(key.rule) if key.rule else names.is_inherited_chain(key.table, key.chain)
    return isinstance(key, SetKey) and names.is_inherited_set(key.name, family)
