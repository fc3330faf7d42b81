"""What belongs to no Service: fixed chains, exactly as they are written."""

import pytest
from fakes import routes as make
from pointsman.iptables import names
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.static import static
from pointsman.routing.node import DetectLocal, LocalDetector, NodePortAddresses
from pointsman.routing.route import Family, HealthCheck, Routing

V4, V6 = Family.IPV4, Family.IPV6
REFUSED = '-m comment --comment "node ports without endpoints"'
LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'


def body(table, chain, family=V4, node=None, routing=None):
    found = static(family, node or make.node(family), routing or make.routing())
    return found[RuleKey(table, chain)].split("\n")


def test_ipt_10_postrouting_clears_the_mark_before_it_masquerades():
    assert body("nat", "KUBE-POSTROUTING") == [
        "-m set --match-set POINTSMAN-HAIRPIN dst,dst,src -m conntrack --ctstate DNAT -j KUBE-MARK-MASQ",
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-j MARK --set-xmark 0x4000/0x0",
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ]


@pytest.mark.parametrize(("bit", "mark"), [(0, "0x1"), (14, "0x4000"), (31, "0x80000000")])
def test_ipt_11_sem_21_only_our_bit_of_the_mark_is_touched(bit, mark):
    node = make.node(masquerade_bit=bit)
    assert body("nat", "KUBE-MARK-MASQ", node=node) == [f"-j MARK --set-xmark {mark}/{mark}"]
    assert f"-m mark ! --mark {mark}/{mark} -j RETURN" in body("nat", "KUBE-POSTROUTING", node=node)
    assert any(f"--mark {mark}/{mark} -j ACCEPT" in rule for rule in body("filter", "KUBE-FORWARD", node=node))


def test_ipt_13_sem_70_invalid_packets_are_dropped_unless_conntrack_is_liberal():
    strict, liberal = body("filter", "KUBE-FORWARD"), body("filter", "KUBE-FORWARD", node=make.node(tcp_be_liberal=True))
    assert strict == ["-m conntrack --ctstate INVALID -j DROP", *liberal]
    assert liberal == [
        '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ]


@pytest.mark.parametrize(("node", "rule"), [
    (make.node(), "! -s 10.244.0.0/16 -m set --match-set POINTSMAN-CLUSTER-IP dst -j KUBE-MARK-MASQ"),
    (make.node(detector="bridge"), "! -i cbr0 -m set --match-set POINTSMAN-CLUSTER-IP dst -j KUBE-MARK-MASQ"),
    (make.node(detector="prefix"), "! -i cbr+ -m set --match-set POINTSMAN-CLUSTER-IP dst -j KUBE-MARK-MASQ"),
    (make.node(masquerade_all=True), "-m set --match-set POINTSMAN-CLUSTER-IP dst -j KUBE-MARK-MASQ"),
])
def test_sem_04_and_06_what_is_masqueraded_on_its_way_to_a_cluster_ip(node, rule):
    marked, dispatched, cleared, _ = body("nat", "KUBE-SERVICES", node=node)
    assert marked == rule
    assert dispatched == "-j KUBE-DST"
    assert cleared.endswith("-j MARK --set-xmark 0x0/0x4000")


@pytest.mark.parametrize("detectors", [{}, {V4: LocalDetector(DetectLocal.CLUSTER_CIDR, "0.0.0.0/0")}])
def test_sem_05_nothing_is_marked_where_nothing_is_or_all_is_a_pod(detectors):
    node = type(make.node())(name="n1", detectors=detectors)
    assert [rule for rule in body("nat", "KUBE-SERVICES", node=node) if "MARK" in rule] == []


@pytest.mark.parametrize(("family", "accepted", "jumps"), [
    (V4, NodePortAddresses(), [f"! -d 127.0.0.0/8 {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
    (V4, NodePortAddresses(loopback=True), [f"{LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
    (V6, NodePortAddresses(loopback=True), [f"! -d ::1/128 {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
    (V4, NodePortAddresses(match_all=False, addresses=("192.168.7.1", "127.0.0.1")),
     [f"-d 192.168.7.1/32 {LAST} -j KUBE-NODEPORTS", f"-d 127.0.0.1/32 {LAST} -j KUBE-NODEPORTS"]),
    (V4, NodePortAddresses(match_all=False), []),
])
def test_sem_41_and_42_node_ports_come_last_and_only_on_accepted_addresses(family, accepted, jumps):
    node = make.node(family, node_ports=accepted)
    rules = body("nat", "KUBE-SERVICES", family, node)
    assert rules[len(rules) - len(jumps):] == jumps
    assert [rule for rule in rules if rule.endswith("-j KUBE-NODEPORTS")] == jumps
    refused = [rule for rule in body("filter", "KUBE-EXTERNAL-SERVICES", family, node) if rule]
    assert refused == [jump.replace(LAST, REFUSED).replace("KUBE-NODEPORTS", "KUBE-NP") for jump in jumps]


@pytest.mark.parametrize(("family", "set_name", "answer"), [
    (V4, "POINTSMAN-CLUSTER-IP", "icmp-port-unreachable"), (V6, "POINTSMAN-6-CLUSTER-IP", "icmp6-port-unreachable"),
])
def test_sem_27_and_28_cluster_ips_are_rejected_before_the_rest_of_the_range_is_dropped(family, set_name, answer):
    rejected, dropped = body("filter", "KUBE-SERVICES", family, routing=make.routing(make.route(family)))
    assert rejected.startswith(f"-m set --match-set {set_name} dst ")
    assert rejected.endswith(f"-j REJECT --reject-with {answer}")
    assert dropped.startswith(f"-d {make.SERVICE_RANGE[family]} ")
    assert dropped.endswith("-j DROP")


def test_ipt_18_health_checks_are_admitted():
    routing = Routing(1, {}, {}, {}, (), (HealthCheck("shop", "web", 32000, 0),))
    expected = '-p tcp -m comment --comment "shop/web health check node port" -m tcp --dport 32000 -j ACCEPT'
    assert body("filter", "KUBE-NODEPORTS", routing=routing) == [expected]


def test_ipt_12_the_localnet_rule_is_for_ipv4():
    key = RuleKey("filter", "KUBE-FIREWALL", names.LOCALNET_RULE)
    assert key in static(V4, make.node(V4), make.routing())
    assert key not in static(V6, make.node(V6), make.routing())


@pytest.mark.parametrize("family", list(Family))
def test_hooks_roots_canaries_and_sets_are_always_wanted(family):
    found = static(family, make.node(family), make.routing())
    assert {hook.key for hook in names.HOOKS} <= set(found)
    assert {RuleKey(table, "KUBE-PROXY-CANARY") for table in ("filter", "nat", "mangle")} <= set(found)
    assert {RuleKey(table, root) for table, roots in names.ROOTS.items() for root in roots} <= set(found)
    assert {key.name: value for key, value in found.items() if isinstance(key, SetKey)} == names.set_types(family)
