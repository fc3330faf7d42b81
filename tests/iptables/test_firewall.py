"""One route in filter: who is refused, and how."""

import pytest
from fakes import routes as make
from pointsman.iptables import dispatch, names
from pointsman.iptables.firewall import refusals
from pointsman.iptables.objects import RuleKey
from pointsman.routing.route import Family

V4, V6 = Family.IPV4, Family.IPV6
FIREWALL = "KUBE-FW-67NZLRHBNDSAWJRO"
OUTSIDE = {"external_ips": ("10.97.0.1",), "load_balancer_ips": ("10.98.0.1",), "node_port": 30000}


def rules(route):
    """Return the leaf rules as (destination or node port, target, comment)."""
    found = set()
    for key in refusals(route):
        if "--comment" in key.rule:
            words, comment = key.rule.partition(" -m ")[0].split(), key.rule.split('"')[1]
            place = words[1] if words[0] == "-d" else key.rule.split("--dport ")[1].split()[0]
            found.add((place, key.rule.partition(" -j ")[2], comment))
    return found


def test_most_routes_need_nothing():
    assert refusals(make.route(backends=[make.backend(V4, 1)], **OUTSIDE)) == {}


@pytest.mark.parametrize(("family", "answer"), [(V4, "icmp-port-unreachable"), (V6, "icmp6-port-unreachable")])
@pytest.mark.parametrize("internal_local", [False, True])
def test_sem_01_without_endpoints_a_cluster_ip_rejects_and_is_named(family, answer, internal_local):
    address = "10.96.0.58/32" if family is V4 else "fd00:96::3a/128"
    expected = {(address, f"REJECT --reject-with {answer}", "shop/web:http has no endpoints")}
    assert rules(make.route(family, internal_local=internal_local)) == expected


def test_sem_10_without_endpoints_every_external_frontend_rejects():
    reject, why = "REJECT --reject-with icmp-port-unreachable", "shop/web:http has no endpoints"
    places = {"10.96.0.58/32", "10.97.0.1/32", "10.98.0.1/32", "30000"}
    assert rules(make.route(**OUTSIDE)) == {(place, reject, why) for place in places}


def test_sem_15_without_local_endpoints_every_external_frontend_drops():
    route = make.route(backends=[make.backend(V4, 1)], external_local=True, **OUTSIDE)
    assert {target for _, target, _ in rules(route)} == {"DROP"}
    assert {place for place, _, _ in rules(route)} == {"10.97.0.1/32", "10.98.0.1/32", "30000"}


def test_sem_02_without_local_endpoints_an_internal_local_cluster_ip_drops():
    route = make.route(backends=[make.backend(V4, 1)], internal_local=True)
    assert rules(route) == {("10.96.0.58/32", "DROP", "shop/web:http has no local endpoints")}


def test_sem_30_a_restricted_load_balancer_drops_what_nat_did_not_admit_and_nothing_else_is_restricted():
    route = make.route(backends=[make.backend(V4, 1)], source_ranges=("203.0.113.0/24",), **OUTSIDE)
    assert rules(route) == {("10.98.0.1/32", "DROP", f"shop/web:http traffic not accepted by {FIREWALL}")}


def test_sem_33_without_endpoints_the_admitted_are_rejected_and_others_dropped():
    route = make.route(source_ranges=("203.0.113.0/24",), vip_is_source=True, **OUTSIDE)
    assert ("10.98.0.1/32", FIREWALL, "shop/web:http is restricted to source ranges") in rules(route)
    note = '-m comment --comment "shop/web:http has no endpoints" -j REJECT --reject-with icmp-port-unreachable'
    assert refusals(route)[RuleKey("filter", FIREWALL)].split("\n") == [f"-s 203.0.113.0/24 {note}", f"-s 10.98.0.1/32 {note}", "-j DROP"]


@pytest.mark.parametrize("family", list(Family))
def test_refusals_hang_below_the_firewall_and_the_node_port_roots(family):
    found = refusals(make.route(family, cluster_ip="", node_port=30000, external_ips=(make.vip(family, 97, 1),)))
    leaf, jumps = dispatch.by_address("filter", names.PROXY_FIREWALL, family, make.vip(family, 97, 1))
    block, ports = dispatch.by_node_port("filter", names.NODE_PORT_BUCKETS, make.route().protocol, 30000)
    assert {*jumps, *ports} <= set(found)
    assert {key.chain for key in found} == {jumps[0].chain, jumps[1].chain, leaf, names.NODE_PORT_BUCKETS, block}
