import pytest
from fakes import routes as make
from pointsman.iptables import names as iptables
from pointsman.ipvs import names
from pointsman.routing.route import Family, Protocol

LONGEST_SET = 31
LONGEST_CHAIN = 28


@pytest.mark.parametrize("family", Family)
def test_names_fit_the_kernel_and_are_distinct(family):
    found = names.set_types(family)
    assert len(found) == 13
    assert all(len(name) <= LONGEST_SET for one in found for name in (one, names.spare(one)))
    assert len({names.spare(one) for one in found}) == 13
    assert all(len(hook.rule.rpartition(" ")[2]) <= LONGEST_CHAIN for hook in names.HOOKS)


def test_no_name_is_shared_with_the_iptables_mode():
    """Both modes can be in the kernel at once; neither takes the other's objects for its own."""
    chains = {hook.rule.rpartition(" ")[2] for hook in names.HOOKS} | {names.FILTER, names.FIREWALL}
    assert all(iptables.role(table, chain) is None for table in names.TABLES for chain in chains)
    assert not any(iptables.is_hook(hook.table, hook.rule) for hook in names.HOOKS)
    assert not any(names.is_hook(hook.rule) for hook in iptables.HOOKS)
    for family in Family:
        assert not any(iptables.is_our_set(name, family) for name in names.ALL_SETS[family])
        assert not any(names.is_our_set(name, family) for name in iptables.set_types(family))


def test_a_set_is_of_one_family_and_an_interrupted_exchange_is_found():
    assert names.is_our_set("KUBE-CLUSTER-IP", Family.IPV4)
    assert not names.is_our_set("KUBE-CLUSTER-IP", Family.IPV6)
    assert names.is_our_set(names.spare("KUBE-6-CLUSTER-IP"), Family.IPV6)
    assert not names.is_our_set("KUBE-SOMETHING-ELSE", Family.IPV4)


def test_a_mark_names_a_route_and_its_protocol():
    marks = {}
    for protocol in Protocol:
        for node_port in (0, 30000, 32767):
            route = make.route(protocol=protocol, node_port=node_port)
            mark = names.mark(route)
            assert names.is_our_mark(mark)
            assert names.mark_protocol(mark) is protocol
            assert names.mark_node_port(mark) == node_port
            marks[mark] = route
    assert len(marks) == 9
    assert names.mark(make.route(name="a")) != names.mark(make.route(name="b"))


def test_marks_of_others_are_not_ours():
    for mark in (1, 0x4000, 0x70000000, 0xE0000001):
        assert not names.is_our_mark(mark)
        assert names.mark_protocol(mark) is None
        assert names.mark_node_port(mark) == 0


@pytest.mark.parametrize("family", Family)
def test_ipvs_20_what_kube_proxy_alone_has_is_no_name_of_ours(family):
    inherited = names._INHERITED_SETS[family]
    assert len(inherited) == 8
    assert all(len(name) <= LONGEST_SET for name in inherited)
    assert not any(names.is_our_set(name, family) for name in inherited)
    assert not any(names.is_our_chain(*one) or iptables.role(*one) for one in names._INHERITED_CHAINS)


def test_service_ports_of_one_mark_are_told_apart():
    """Marks of names have 25 bits: among 20,000 Service ports some must meet. Their identity differs, and fits the kernel's clock."""
    routes = [make.route(name=f"s{number}") for number in range(20_000)]
    marks, pairs = {}, []
    for route in routes:
        other = marks.setdefault(names.mark(route), route)
        if other is not route:
            pairs.append((other, route))
    assert pairs
    assert all(names.identity(one) != names.identity(other) for one, other in pairs)
    assert all(names.identity(route) * 1000 < 1 << 32 for route in routes)
