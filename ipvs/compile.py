"""The pure half of the ipvs mode, as the reconcile loop sees it: one compiler per family.

It only gathers: `frontends` makes what one route needs, `filter` the rules over all routes. Ranks follow the order of programming, which
makes each step harmless by itself: sets and rules, which refuse and mark what is not served yet; then virtual servers and their real
servers; then the addresses, which lead packets to them. What goes, goes the other way. Every virtual server is thus in a set as long as it
exists, by which a process without memory knows it (`ownership`); a mark whose virtual server is not there yet changes nothing.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping

from pointsman.dataplane.contract import Fragment, Plan
from pointsman.iptables.objects import SET_ELEMENTS, RuleKey, SetKey, rules_of
from pointsman.ipvs import filter as companion
from pointsman.ipvs import frontends, names, render
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey, Key, Value
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing, ServiceRoute

_TABLE_RANK = {"filter": 20, "nat": 22, "mangle": 24, "raw": 26}
_KINDS: Mapping[type, str] = {VirtualKey: "virtual servers", RealKey: "real servers", AddressKey: "addresses"}
VIRTUAL_RANK, REAL_RANK, ADDRESS_RANK = 40, 41, 60


class IpvsCompiler:
    """Turns routes and facts into keys and values of the ipvs mode (`dataplane.contract.Compiler`)."""

    def __init__(self, family: Family, options: Options) -> None:
        self.family = family
        self.options = options
        sets = names.SETS[family]
        self._element_ranks = {sets.restricted: 11}

    def static(self, node: NodeFacts, routing: Routing) -> Fragment[Key, Value]:
        """Return what does not belong to one Service: sets, chains, hooks, health-check ports."""
        found: dict[Key, Value] = {SetKey(name): kind for name, kind in names.set_types(self.family).items()}
        found |= dict[Key, Value](companion.rules(self.family, node, routing).items())
        found.update((SetKey(names.SETS[self.family].health_checks, str(check.port)), "") for check in routing.health_checks)
        return found

    def compile(self, route: ServiceRoute, node: NodeFacts) -> Fragment[Key, Value]:
        """Return what one route needs."""
        return frontends.fragment(route, node, self.options)

    def rank(self, key: Key) -> int:
        """Return the place of a key in the order of additions."""
        if isinstance(key, RealKey):
            return REAL_RANK
        if isinstance(key, SetKey):
            return self._element_ranks.get(key.name, 10) if key.element else 0
        if isinstance(key, VirtualKey):
            return VIRTUAL_RANK
        if isinstance(key, AddressKey):
            return ADDRESS_RANK
        return _TABLE_RANK[key.table] + (key.chain in names.BUILTIN)

    def group(self, key: Key) -> Hashable:
        """Return the built-in or shared chain whose rules must be written together with a key; None if the key stands alone."""
        return (key.table, key.chain) if isinstance(key, RuleKey) and (key.rule or names.is_shared(key.table, key.chain)) else None

    def census(self, contents: Iterable[tuple[Key, Value]]) -> Mapping[str, int]:
        """Return how many servers and addresses there are, how many rules each table has, and how many elements all sets."""
        found = dict.fromkeys((*_KINDS.values(), *_TABLE_RANK, SET_ELEMENTS), 0)
        for key, value in contents:
            if isinstance(key, SetKey):
                found[SET_ELEMENTS] += bool(key.element)
            elif isinstance(key, RuleKey):
                found[key.table] += rules_of(key, str(value))
            else:
                found[_KINDS[type(key)]] += 1
        return found

    def render(self, plan: Plan[Key, Value]) -> str:
        """Return the input of each tool call; virtual and real servers in ipvsadm's words."""
        return "".join(self._texts(plan))

    def _texts(self, plan: Plan[Key, Value]) -> Iterator[str]:
        for stage in render.stages(plan, self.family):
            yield render.text(stage, self.family)
