"""What is left of our state when it goes, all at once or bit by bit, and its description in words. Pure.

What is there is observed, not remembered, so a half-written state is removed like any other. Traffic is led away first: addresses, virtual
servers, and then what they stood on. `kernel` applies the plans; `cleanup` wants nothing to be left, `retirement` for some time what
connections need that are let end (`remainder`).
"""

from collections.abc import Collection, Hashable, Mapping

from pointsman.dataplane.contract import ABSENT, Change, Mark, Plan
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.plan import make
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.rule import canonical
from pointsman.ipvs import filter as companion
from pointsman.ipvs import names
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options, frontend
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.routing.route import Family

Seen = Mapping[Key, Value | Mark]


def removal(seen: Seen) -> Plan[Key, Value]:
    """Return the plan that removes what was seen."""
    compiler = IpvsCompiler(Family.IPV4, Options())
    keys = sorted(seen, key=lambda key: (compiler.rank(key), repr(key)), reverse=True)
    groups: dict[Hashable, Mapping[Key, Value]] = {group: {} for group in map(compiler.group, keys) if group is not None}
    return Plan(tuple(Change[Key, Value](key, seen[key], ABSENT) for key in keys), groups)


def reduction(seen: Seen, wanted: Mapping[Key, Value]) -> Plan[Key, Value]:
    """Return the plan that leaves only what is wanted."""
    compiler = IpvsCompiler(Family.IPV4, Options())
    delta = Delta[Key, Value](wanted, compiler.group)
    delta.observe(seen)
    return make(delta, compiler.rank, compiler.group)


def remainder(
    seen: Seen, virtuals: Collection[VirtualKey], lingering: Collection[AddressKey], family: Family, masquerade_bit: int
) -> dict[Key, Value]:
    """Return what must stay, beside servers, while connections through these virtual servers end.

    Their addresses and those that linger, so that packets meet IPVS; the rules that guard them; and the elements of sets by which a process
    that remembers nothing knows whose the virtual servers are (`ownership`).
    """
    sets, types = names.SETS[family], names.set_types(family)
    marks = {f"skbmark {key.mark:#x}" for key in virtuals if key.protocol is None}
    frontends = {frontend(key.address, key.port, key.protocol) for key in virtuals if key.protocol is not None}
    elements = {
        key: value
        for key, value in seen.items()
        if isinstance(key, SetKey) and key.name in sets.forwarded and (key.element in frontends or value in marks)
    }
    needed = {key.address for key in virtuals if key.protocol is not None} | {key.address for key in lingering}
    canonicals = {canonical(address) for address in needed} | {_address(key.element) for key in elements}
    bound = [key for key in seen if isinstance(key, AddressKey) and canonical(key.address) in canonicals]
    found: dict[Key, Value] = {key: value for key, value in elements.items() if isinstance(value, str)}
    found |= dict.fromkeys(bound, "")
    found.update((SetKey(sets.addresses, canonical(key.address)), "") for key in bound)
    for name in {key.name for key in found if isinstance(key, SetKey)}:
        there = seen.get(SetKey(name), ABSENT)
        found[SetKey(name)] = there if isinstance(there, str) else types[name]
    if any(key.protocol is not None and AddressKey(key.address) not in seen for key in virtuals):
        found |= _kube_proxys_proofs(seen, family)
    return found | dict[Key, Value](companion.retired(family, masquerade_bit).items()) if bound else found


def _kube_proxys_proofs(seen: Seen, family: Family) -> dict[Key, Value]:
    """Return kube-proxy's sets of frontends, whole: only they tell whose virtual servers are at addresses that the device lacks."""
    types, forwarded = names.set_types(family), names.SETS[family].forwarded
    return {
        key: value
        for key, value in seen.items()
        if isinstance(key, SetKey) and not key.element and isinstance(value, str)
        and (names.inherited_node_ports(key.name) if key.name not in types else key.name in forwarded and value != types[key.name])
    }  # fmt: skip


def _address(element: str) -> str:
    """Return the address of an element `address,protocol:port`."""
    return element.partition(",")[0]


def describe(seen: Seen, family: Family, variant: str) -> tuple[str, ...]:
    """Return in words what goes: chains, sets with their number of elements, virtual servers with that of what is behind them."""
    words: list[str] = []
    counts: dict[str, int] = {}
    for key in sorted(seen, key=repr):
        if isinstance(key, RuleKey):
            place = f"{variant} {family.value} {key.table}"
            if key.rule and key.chain not in names.BUILTIN:
                continue  # goes with its chain
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
