"""What is wanted: compiled lazily, each change once, and the same as from scratch whatever the way there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT
from pointsman.dataplane.fragment import OwnersDisagreeError
from pointsman.dataplane.plan import STATIC
from pointsman.dataplane.wanted import Wanted, visible
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Family, HealthCheck, Protocol, RouteKey, Routing, ServicePortName, ServiceRoute

V4, V6 = Family.IPV4, Family.IPV6
NODE = NodeFacts(name="n1", node_ips={V4: "192.168.7.1", V6: "fd00:7::1"})


class Compiler:
    """Makes one key per backend, of which the node's masquerade bit is part, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def static(self, node, routing):
        self.asked.append("static")
        return {("static", *routing.service_cidrs.get(V4, ())): str(node.masquerade_bit)}

    def compile(self, route, node):
        self.asked.append(route.port_name.name)
        return {(route.port_name.name, backend.address): str(node.masquerade_bit) for backend in route.cluster}


def route(name, *addresses, family=V4):
    backends = tuple(Backend(address, 80, False, False) for address in addresses)
    return ServiceRoute(ServicePortName("shop", name, "", Protocol.TCP), family, "10.96.0.1", 80, cluster=backends)


def routing(*routes, cidrs=(), health_checks=()):
    return Routing(1, {one.key: one for one in routes}, {}, {V4: cidrs}, (), health_checks)


def change(whole, *changed, gone=()):
    return RoutingChange(whole, {**{one.key: one for one in changed}, **dict.fromkeys(gone)})


def enter(wanted):
    """Compile and enter; return the keys that changed, each with what was wanted before."""
    return dict(wanted.enter(dict(wanted.compiled())))


def wanted_with(*routes):
    compiler = Compiler()
    wanted = Wanted(V4, compiler)
    wanted.offer(change(routing(*routes), *routes), NODE)
    enter(wanted)
    compiler.asked.clear()
    return wanted, compiler


def test_nothing_is_wanted_before_the_first_offer():
    wanted = Wanted(V4, Compiler())
    assert not wanted.offered
    assert list(wanted.compiled()) == []


def test_the_first_offer_compiles_every_route_whatever_it_calls_changed():
    compiler = Compiler()
    wanted = Wanted(V4, compiler)
    wanted.offer(change(routing(route("a", "10.0.0.1"), route("b", "10.0.0.2"))), NODE)
    assert wanted.offered
    enter(wanted)
    assert sorted(compiler.asked) == ["a", "b", "static"]
    assert set(wanted.desired.values) == {("static",), ("a", "10.0.0.1"), ("b", "10.0.0.2")}


def test_one_change_costs_one_route():
    a, b = route("a", "10.0.0.1"), route("b", "10.0.0.2")
    wanted, compiler = wanted_with(a, b)
    new = route("b", "10.0.0.3")
    wanted.offer(change(routing(a, new), new), NODE)
    assert enter(wanted) == {("b", "10.0.0.2"): "14", ("b", "10.0.0.3"): ABSENT}
    assert compiler.asked == ["b"]


def test_many_changes_of_a_route_cost_one_compilation():
    wanted, compiler = wanted_with(route("a", "10.0.0.1"))
    for last in range(2, 12):
        new = route("a", f"10.0.0.{last}")
        wanted.offer(change(routing(new), new), NODE)
    enter(wanted)
    assert compiler.asked == ["a"]
    assert ("a", "10.0.0.11") in wanted.desired.values


def test_a_route_that_is_gone_takes_its_keys_along():
    a = route("a", "10.0.0.1")
    wanted, compiler = wanted_with(a)
    wanted.offer(change(routing(), gone=[a.key]), NODE)
    assert enter(wanted) == {("a", "10.0.0.1"): "14"}
    assert wanted.desired.values == {("static",): "14"}
    assert compiler.asked == []


def test_the_other_family_is_none_of_its_business():
    wanted, compiler = wanted_with()
    other = route("six", "fd00::1", family=V6)
    wanted.offer(change(routing(other), other), NODE)
    assert enter(wanted) == {}
    assert compiler.asked == []


def test_the_static_part_follows_what_it_may_depend_on():
    a = route("a", "10.0.0.1")
    wanted, compiler = wanted_with(a)
    wanted.offer(change(routing(a, cidrs=("10.96.0.0/16",))), NODE)
    assert enter(wanted) == {("static",): "14", ("static", "10.96.0.0/16"): ABSENT}
    wanted.offer(change(routing(a, cidrs=("10.96.0.0/16",), health_checks=(HealthCheck("shop", "a", 30000, 1),))), NODE)
    enter(wanted)
    assert compiler.asked == ["static", "static"]


def test_a_change_of_the_node_compiles_everything():
    a = route("a", "10.0.0.1")
    wanted, compiler = wanted_with(a)
    wanted.offer(change(routing(a)), NodeFacts(name="n1", node_ips=NODE.node_ips, masquerade_bit=3))
    enter(wanted)
    assert sorted(compiler.asked) == ["a", "static"]
    assert wanted.desired.values == {("static",): "3", ("a", "10.0.0.1"): "3"}


def test_facts_that_no_compiler_sees_compile_nothing():
    a = route("a", "10.0.0.1")
    wanted, compiler = wanted_with(a)
    elsewhere = NodeFacts(name="n1", node_ips={V4: "192.168.7.1", V6: "fd00:7::2"}, all_node_addresses=frozenset({"192.168.8.1"}))
    wanted.offer(change(routing(a)), elsewhere)
    assert enter(wanted) == {}
    assert compiler.asked == []
    assert visible(elsewhere, V4) == visible(NODE, V4)


def test_offers_that_come_while_compiling_wait_for_the_next_call():
    a, b = route("a", "10.0.0.1"), route("b", "10.0.0.2")
    wanted, compiler = wanted_with()
    wanted.offer(change(routing(a), a), NODE)
    compiling = wanted.compiled()
    wanted.offer(change(routing(a, b), b), NODE)
    wanted.enter(dict(compiling))
    assert compiler.asked == ["a"]
    enter(wanted)
    assert compiler.asked == ["a", "b"]


STATES = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3), min_size=1, max_size=8)


@given(STATES, st.data())
def test_any_way_there_ends_where_starting_there_would(states, data):
    """Any sequence of changes, entered at any moments, gives what the last routing gives from scratch."""
    wanted = Wanted(V4, Compiler())
    before: dict[RouteKey, ServiceRoute] = {}
    for state in states:
        routes = [route(name, f"10.0.0.{number}") for name, number in state.items()]
        now = {one.key: one for one in routes}
        differs = [one for one in routes if before.get(one.key) != one]
        wanted.offer(change(routing(*routes), *differs, gone=before.keys() - now.keys()), NODE)
        before = now
        if data.draw(st.booleans()):
            enter(wanted)
    enter(wanted)
    scratch = Wanted(V4, Compiler())
    scratch.offer(change(routing(*before.values())), NODE)
    enter(scratch)
    assert wanted.desired.values == scratch.desired.values


def test_a_route_that_contradicts_another_is_left_out_until_it_can_come_in():
    wanted = Wanted(V4, Compiler())
    assert wanted.enter({"a": {"k": 1, "a": 1}, "b": {"k": 2, "b": 1}, "c": {"c": 1}}) == {"k": ABSENT, "a": ABSENT, "c": ABSENT}
    assert list(wanted.refused) == ["b"]
    assert "'k'" in str(wanted.refused["b"])
    assert wanted.enter({"a": {"k": 3, "a": 1}}) == {"k": 1}
    assert list(wanted.refused) == ["b"]
    assert wanted.enter({"a": None}) == {"k": 3, "a": 1, "b": ABSENT}
    assert wanted.desired.values == {"k": 2, "b": 1, "c": 1}
    assert not wanted.refused


def test_what_is_left_out_and_then_gone_does_not_come_back():
    wanted = Wanted(V4, Compiler())
    wanted.enter({"a": {"k": 1}})
    wanted.enter({"b": {"k": 2}})
    wanted.enter({"b": None})
    assert not wanted.refused
    assert wanted.enter({"a": None}) == {"k": 1}
    assert not wanted.desired.values


def test_the_static_part_is_nobodys_rival():
    wanted = Wanted(V4, Compiler())
    wanted.enter({"a": {"k": 1}})
    with pytest.raises(OwnersDisagreeError):
        wanted.enter({STATIC: {"k": 2}})
