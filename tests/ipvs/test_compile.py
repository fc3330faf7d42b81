import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.routing.route import Family, HealthCheck, Routing

V4 = Family.IPV4
LOCAL = make.backend(V4, 1, local=True)


def kinds(changes):
    return [type(change.key) for change in changes]


def test_additions_lead_packets_in_last_and_deletions_lead_them_away_first():
    route = make.route(external_ips=("198.51.100.1",), external_local=True, node_port=30080, backends=[LOCAL])
    wanted = desired(V4, route)
    added = kinds(difference(V4, wanted, {}).changes)
    assert added.index(RuleKey) > added.index(SetKey)
    assert added.index(VirtualKey) > max(place for place, kind in enumerate(added) if kind is RuleKey)
    assert added.index(RealKey) > max(place for place, kind in enumerate(added) if kind is VirtualKey)
    assert added[-1] is AddressKey
    deleted = kinds(difference(V4, {}, wanted).changes)
    assert deleted[0] is AddressKey
    assert deleted.index(RealKey) < deleted.index(VirtualKey) < deleted.index(RuleKey)


def test_pain_32_sources_are_admitted_before_others_are_kept_out():
    route = make.route(load_balancer_ips=("198.51.100.2",), source_ranges=("203.0.113.0/24",), backends=[LOCAL])
    keys = [change.key for change in difference(V4, desired(V4, route), {}).changes]
    places = {key.name: place for place, key in enumerate(keys) if isinstance(key, SetKey) and key.element}
    assert places["KUBE-LOAD-BALANCER-SOURCE-CIDR"] < places["KUBE-LOAD-BALANCER-FW"]


def test_a_change_of_endpoints_touches_servers_only():
    before = desired(V4, make.route(backends=[LOCAL]))
    after = desired(V4, make.route(backends=[LOCAL, make.backend(V4, 2)]))
    plan = difference(V4, after, before)
    assert kinds(plan.changes) == [RealKey]
    assert not plan.groups


def test_hooks_are_grouped_and_chains_stand_alone():
    compiler = IpvsCompiler(V4, Options())
    assert {compiler.group(hook) for hook in names.HOOKS} == {(hook.table, hook.chain) for hook in names.HOOKS}
    assert compiler.group(RuleKey("nat", names.SERVICES)) is None
    assert compiler.group(AddressKey("10.96.0.1")) is None


def test_health_checks_are_admitted_by_set():
    checks = (HealthCheck("shop", "web", 32443, 1),)
    found = IpvsCompiler(V4, Options()).static(make.node(), Routing(1, {}, {}, {}, (), checks))
    assert SetKey("KUBE-HEALTH-CHECK-NODE-PORT", "32443") in found


@pytest.mark.parametrize("words", ["-A -t 10.96.0.58:80 -s rr", "-a -t 10.96.0.58:80 -r 10.244.0.1:8080 -m -w 1",
                                   "addr add 10.96.0.58/32 dev kube-ipvs0", "# ipset restore", "*nat"])
def test_a_plan_reads_like_the_tools_input(words):
    wanted = desired(V4, make.route(backends=[LOCAL]))
    assert words in IpvsCompiler(V4, Options()).render(difference(V4, wanted, {}))


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_deleting_is_the_reverse_of_adding(family, data):
    route, node = data.draw(make.routes(family, 1)), data.draw(make.nodes(family))
    wanted = desired(route.family, route, node=node)
    gone = difference(route.family, {}, wanted)
    assert {change.key for change in gone.changes} == set(wanted)
    assert all(change.after is ABSENT for change in gone.changes)


def test_the_census_counts_servers_addresses_rules_and_elements():
    found = IpvsCompiler(V4, Options()).census(desired(V4, make.route(backends=[LOCAL])).items())
    assert (found["virtual servers"], found["real servers"], found["addresses"]) == (1, 1, 1)
    assert found["nat"] > 0
    assert found["set elements"] > 0
