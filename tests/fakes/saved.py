"""What iptables-save and ipset save would print if the kernel held just what a compiler wants: for tests without a kernel."""

from collections.abc import Mapping

from pointsman.dataplane import plan as planning
from pointsman.iptables import names
from pointsman.iptables.objects import RuleKey, SetKey

BUILTIN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}


def wanted(compiler, family, routing, node):
    """Everything that one family's compiler wants, by key."""
    found = dict(compiler.static(node, routing))
    for key, route in routing.routes.items():
        if key.family is family:
            found |= compiler.compile(route, node)
    return found


def rules_text(values: Mapping) -> list[str]:
    """The rules as `iptables-save` prints them; hooks stand as they are inserted, the last one on top."""
    lines = []
    for table, builtin in BUILTIN.items():
        keys = [key for key in values if isinstance(key, RuleKey) and key.table == table]
        lines.append(f"*{table}")
        lines += [f":{chain} ACCEPT [0:0]" for chain in builtin]
        chains = dict.fromkeys(key.chain for key in keys if key.chain not in builtin)
        lines += [f":{chain} - [0:0]" for chain in chains]
        place = {key: number for number, key in enumerate(hook.key for hook in names.HOOKS)}
        hooks = sorted((key for key in keys if key.chain in builtin), key=lambda key: -place.get(key, 0))
        lines += [f"[1:60] -A {key.chain} {key.rule}" for key in hooks]
        for key in sorted(key for key in keys if key.chain in chains):
            body = [key.rule] if key.rule else str(values[key]).split("\n")
            lines += [f"[1:60] -A {key.chain} {rule}" for rule in body if rule]
        lines.append("COMMIT")
    return lines


def sets_text(values: Mapping) -> list[str]:
    """The sets as `ipset save` prints them."""
    keys = sorted(key for key in values if isinstance(key, SetKey))
    lines = [f"create {key.name} {values[key]}" for key in keys if not key.element]
    return lines + [f"add {key.name} {key.element} {values[key]}".rstrip() for key in keys if key.element]


STATIC = planning.STATIC
