"""One route in nat. Outcomes are proven in test_compile; here stands what people read on a node."""

from fractions import Fraction

import pytest
from fakes import routes as make
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables import names, rule
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.service import nat
from pointsman.routing.route import Backend, Family, ServicePortName

V4, V6 = Family.IPV4, Family.IPV6
HASH = "67NZLRHBNDSAWJRO"  # shop/web:http over TCP


def chains(route, node=None):
    found = nat(route, node or make.node(route.family))
    return {key.chain: value for key, value in found.items() if isinstance(key, RuleKey) and not key.rule}


def leaf_rules(route):
    return sorted(key.rule for key in nat(route, make.node(route.family)) if isinstance(key, RuleKey) and "--comment" in key.rule)


def backends(family, count, local=0):
    return [make.backend(family, n, n <= local) for n in range(1, count + 1)]


def test_a_service_is_one_dispatch_rule_and_one_rule_per_backend():
    route = make.route(backends=backends(V4, 3))
    note = '-m comment --comment "shop/web:http cluster IP"'
    assert leaf_rules(route) == [f"-d 10.96.0.58/32 -p tcp {note} -m tcp --dport 80 -j KUBE-SVC-{HASH}"]
    named, once = '-p tcp -m comment --comment "shop/web:http"', "-m statistic --mode random --probability"
    assert chains(route)[f"KUBE-SVC-{HASH}"].split("\n") == [
        f"{named} {once} 0.33333333349 -j DNAT --to-destination 10.244.0.1:8080",
        f"-p tcp {once} 0.50000000000 -j DNAT --to-destination 10.244.0.2:8080",
        "-p tcp -j DNAT --to-destination 10.244.0.3:8080",
    ]


def test_ipv6_backends_stand_in_brackets():
    route = make.route(V6, backends=backends(V6, 1))
    body = '-p tcp -m comment --comment "shop/web:http" -j DNAT --to-destination [fd00:244::1]:8080'
    assert chains(route) == {f"KUBE-SVC-{HASH}": body}


@given(st.integers(1, 200))
def test_sem_26_every_backend_is_equally_likely(count):
    left, shares = Fraction(1), []
    for line in chains(make.route(backends=backends(V4, count)))[f"KUBE-SVC-{HASH}"].split("\n"):
        chance = [Fraction(m.options[-1]) for m in rule.parse(line).matches if m.name == "statistic"]
        shares.append(left * (chance[0] if chance else 1))
        left -= shares[-1]
    assert left == 0
    assert all(abs(share * count - 1) < Fraction(1, 100_000) for share in shares)


def test_sem_25_affinity_asks_every_endpoint_chain_first_and_each_remembers():
    route = make.route(backends=backends(V4, 2), affinity_seconds=600)
    found = chains(route)
    sep = [names.endpoint_chain(route.port_name, backend) for backend in route.cluster]
    asks, rest = found[f"KUBE-SVC-{HASH}"].split("\n")[:2], found[f"KUBE-SVC-{HASH}"].split("\n")[2:]
    assert [line.partition("-m recent ")[2] for line in asks] == [
        f"--rcheck --seconds 600 --reap --name {chain} --mask 255.255.255.255 --rsource -j {chain}" for chain in sep
    ]
    assert [line.rpartition(" ")[2] for line in rest] == sep
    remember = f"-m recent --set --name {sep[0]} --mask 255.255.255.255 --rsource"
    assert found[sep[0]].endswith(f"{remember} -j DNAT --to-destination 10.244.0.1:8080")


def test_sem_25_local_and_cluster_chains_share_the_lists():
    route = make.route(backends=backends(V4, 3, local=2), affinity_seconds=600, external_local=True, node_port=30000)
    found = chains(route)
    assert len([chain for chain in found if chain.startswith("KUBE-SEP-")]) == 3
    assert f"-j {names.endpoint_chain(route.port_name, route.local[0])}" in found[f"KUBE-SVL-{HASH}"]
    assert f"-j {names.endpoint_chain(route.port_name, route.local[0])}" in found[f"KUBE-SVC-{HASH}"]


@pytest.mark.parametrize(("changes", "count", "local", "expected"), [
    ({}, 2, 1, {"SVC"}),
    ({}, 0, 0, set()),
    ({"internal_local": True}, 2, 1, {"SVL"}),
    ({"internal_local": True}, 2, 0, set()),
    ({"node_port": 30000}, 2, 1, {"SVC", "EXT"}),
    ({"node_port": 30000, "external_local": True}, 2, 1, {"SVC", "SVL", "EXT"}),
    ({"node_port": 30000, "external_local": True}, 2, 0, {"SVC", "EXT"}),
    ({"external_local": True}, 2, 1, {"SVC"}),
    ({"source_ranges": ("10.0.0.0/8",), "node_port": 30000}, 2, 1, {"SVC", "EXT"}),
    ({"source_ranges": ("10.0.0.0/8",), "load_balancer_ips": ("10.98.0.1",)}, 2, 1, {"SVC", "EXT", "FW"}),
    ({"source_ranges": ("10.0.0.0/8",), "load_balancer_ips": ("10.98.0.1",)}, 0, 0, set()),
    ({"cluster_ip": ""}, 2, 1, set()),
])
def test_ipt_24_a_chain_exists_exactly_if_something_leads_to_it(changes, count, local, expected):
    assert {chain.split("-")[1] for chain in chains(make.route(backends=backends(V4, count, local), **changes))} == expected


def test_ipt_21_pods_and_this_node_take_the_short_way_to_all_backends():
    route = make.route(backends=backends(V4, 2, 1), node_port=30000, external_local=True)
    where, here = "for shop/web:http external destinations", "-m addrtype --src-type LOCAL"
    assert chains(route)[f"KUBE-EXT-{HASH}"].split("\n") == [
        f'-s 10.244.0.0/16 -m comment --comment "pod traffic {where}" -j KUBE-SVC-{HASH}',
        f'-m comment --comment "masquerade LOCAL traffic {where}" {here} -j KUBE-MARK-MASQ',
        f'-m comment --comment "route LOCAL traffic {where}" {here} -j KUBE-SVC-{HASH}',
        f"-j KUBE-SVL-{HASH}",
    ]


def test_ipt_22_source_ranges_admit_and_the_rest_is_said_to_be_dropped():
    route = make.route(backends=backends(V4, 1), load_balancer_ips=("10.98.0.1",), source_ranges=("10.1.2.3/8",), vip_is_source=True)
    note = '-m comment --comment "shop/web:http loadbalancer IP"'
    assert chains(route)[f"KUBE-FW-{HASH}"].split("\n") == [
        f"-s 10.0.0.0/8 {note} -j KUBE-EXT-{HASH}",
        f"-s 10.98.0.1/32 {note} -j KUBE-EXT-{HASH}",
        '-m comment --comment "other traffic to shop/web:http will be dropped by KUBE-PROXY-FIREWALL"',
    ]


def test_sem_20_only_backends_that_can_meet_themselves_here_are_registered():
    route = make.route(backends=backends(V4, 3, local=1))
    elements = {key for key in nat(route, make.node()) if isinstance(key, SetKey)}
    assert elements == {SetKey("POINTSMAN-CLUSTER-IP", "10.96.0.58"), SetKey("POINTSMAN-HAIRPIN", "10.244.0.1,tcp:8080,10.244.0.1")}


def test_a_cluster_ip_without_endpoints_is_still_known():
    assert set(nat(make.route(), make.node())) == {SetKey("POINTSMAN-CLUSTER-IP", "10.96.0.58")}


def test_names_nobody_should_have_chosen_cannot_write_rules():
    port_name = ServicePortName("shop", 'x" -j DROP\n-A INPUT', "http", make.route().protocol)
    backend = Backend("10.244.0.1", 80, True, True)
    route = type(make.route())(port_name, V4, "10.96.0.58", 80, cluster=(backend,), reachable=(backend,), any_endpoint=True)
    for key, value in nat(route, make.node()).items():
        for line in (f"{value}\n{key.rule}" if isinstance(key, RuleKey) else value).split("\n"):
            assert not line or rule.parse(line).target in {"DNAT", ""} or rule.parse(line).target.startswith("KUBE-")
