"""The pure half of the iptables mode, as the reconcile loop sees it: one compiler per family.

It only gathers: `static` and, per route, `service` (nat) and `firewall` (filter) give the fragments, `render` gives groups and text.
Ranks follow the order of programming: sets, elements, filter, nat, and hooks last, because a hook lets traffic into what must be complete
by then.
"""

from collections.abc import Hashable, Iterable, Mapping

from pointsman.dataplane.contract import Fragment, Plan
from pointsman.iptables import firewall, names, render, service, static
from pointsman.iptables.names import Role
from pointsman.iptables.objects import SET_ELEMENTS, Key, SetKey, Value, rules_of
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing, ServiceRoute

_TABLE_RANK = {"filter": 100, "nat": 200, "mangle": 300, "raw": 400}
_HOOK_RANK = 50
_TOOLS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}


class IptablesCompiler:
    """Turns routes and facts into keys and values of the iptables mode (`dataplane.contract.Compiler`)."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def static(self, node: NodeFacts, routing: Routing) -> Fragment[Key, Value]:
        """Return what does not belong to one Service."""
        return static.static(self.family, node, routing)

    def compile(self, route: ServiceRoute, node: NodeFacts) -> Fragment[Key, Value]:
        """Return what one route needs."""
        found = service.nat(route, node)
        found.update(firewall.refusals(route))
        return found

    def rank(self, key: Key) -> int:
        """Return the place of a key in the order of additions."""
        if isinstance(key, SetKey):
            return 1 if key.element else 0
        rank = _TABLE_RANK[key.table]
        if names.role(key.table, key.chain) is not Role.BUILTIN:
            return rank + (1 if key.rule else 0)
        return rank + _HOOK_RANK + names.HOOK_PLACE.get(key, 0)

    def group(self, key: Key) -> Hashable:
        """Return the chain that must be written as a whole with a key; None if the key stands alone."""
        return render.group(key)

    def census(self, contents: Iterable[tuple[Key, Value]]) -> Mapping[str, int]:
        """Return how many rules each table has, and how many elements all sets."""
        found = dict.fromkeys((*_TABLE_RANK, SET_ELEMENTS), 0)
        for key, value in contents:
            if isinstance(key, SetKey):
                found[SET_ELEMENTS] += bool(key.element)
            else:
                found[key.table] += rules_of(key, value)
        return found

    def render(self, plan: Plan[Key, Value]) -> str:
        """Return the input of each tool call, under a comment that names the call."""
        calls = {"restore": f"{_TOOLS[self.family]}-restore --noflush", "ipset": "ipset restore"}
        return "".join(f"# {calls[step.tool]}\n{step.text}" for step in render.script(plan, self.family))
