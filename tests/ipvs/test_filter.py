"""The companion rules are the same for every number of Services, and say what they must (IPVS-23 to IPVS-26)."""

import pytest
from fakes import routes as make
from msgspec import structs
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.rule import parse
from pointsman.ipvs import names
from pointsman.ipvs.filter import retired, rules
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family


def body(found, table, chain):
    return found[RuleKey(table, chain)].split("\n")


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("detector", ["source", "bridge", "prefix", None])
def test_every_rule_is_in_the_notation_of_iptables_save(family, detector):
    found = rules(family, make.node(family, detector=detector), make.routing())
    for key, text in found.items():
        lines = [key.rule] if key.rule else text.split("\n")
        assert all(str(parse(line)) == line for line in lines)


@pytest.mark.parametrize("family", Family)
def test_services_add_no_rule(family):
    node = make.node(family)
    many = [make.route(family, name=f"s{n}", cluster_ip=make.vip(family, 96, n)) for n in range(50)]
    assert rules(family, node, make.routing(*many)) == rules(family, node, make.routing(make.route(family)))


def test_every_jump_leads_to_a_chain_of_ours():
    found = rules(Family.IPV4, make.node(), make.routing())
    chains = {(key.table, key.chain) for key in found if not key.rule}
    targets = {(key.table, parse(line).target) for key, text in found.items() for line in (key.rule or text).split("\n")}
    assert {(table, target) for table, target in targets if target.startswith(names.PREFIX)} <= chains


def test_sem_04_to_sem_06_what_is_masqueraded():
    cluster_ips = "-m set --match-set KUBE-CLUSTER-IP dst,dst"
    by_pods = body(rules(Family.IPV4, make.node(), make.routing()), "nat", names.SERVICES)[0]
    assert by_pods == f"! -s {make.POD_RANGE[Family.IPV4]} {cluster_ips} -j MARK --set-xmark 0x4000/0x4000"
    everything = body(rules(Family.IPV4, make.node(masquerade_all=True), make.routing()), "nat", names.SERVICES)[0]
    assert everything.startswith(cluster_ips)
    nobody = body(rules(Family.IPV4, make.node(detector=None), make.routing()), "nat", names.SERVICES)[0]
    assert "--match-set KUBE-IPVS-IPS src" in nobody


def test_sem_12_pods_of_a_range_keep_their_address_and_others_of_this_node_do_not():
    lines = body(rules(Family.IPV4, make.node(), make.routing()), "nat", names.POSTROUTING)
    kept = next(place for place, line in enumerate(lines) if line.startswith(f"-s {make.POD_RANGE[Family.IPV4]}"))
    masqueraded = next(place for place, line in enumerate(lines) if "--src-type LOCAL" in line)
    assert kept < masqueraded


def test_sem_66_and_pain_24_what_is_no_service_is_rejected_last():
    """Host daemons do not answer at Services' addresses."""
    lines = body(rules(Family.IPV4, make.node(), make.routing()), "filter", names.FILTER)
    assert lines[-1] == "-m set --match-set KUBE-IPVS-IPS dst -j REJECT --reject-with icmp-port-unreachable"
    assert lines[0] == "-m conntrack ! --ctstate NEW -j RETURN"


def test_sem_28_unallocated_addresses_are_dropped():
    lines = body(rules(Family.IPV4, make.node(), make.routing()), "filter", names.FORWARD)
    assert lines[0].startswith(f"-d {make.SERVICE_RANGE[Family.IPV4]} ")
    assert lines[0].endswith("-j DROP")


def test_the_masquerade_bit_is_the_configured_one():
    node = NodeFacts("n1", masquerade_bit=20, masquerade_all=True)
    text = "\n".join(rules(Family.IPV4, node, make.routing()).values())
    assert "0x100000/0x100000" in text
    assert "0x4000" not in text


@pytest.mark.parametrize("family", Family)
def test_what_stays_while_connections_end_touches_none_of_them(family):
    """Every rule is for new packets only, and none leads to IPVS; hooks and chains are some of those that the mode has."""
    found = retired(family, 14)
    whole = rules(family, make.node(family), make.routing())
    assert found.keys() < whole.keys()
    for text in found.values():
        for line in filter(None, text.split("\n")):
            assert str(parse(line)) == line
    mark = body(found, "mangle", names.SOURCES)
    assert mark == [f"-m set --match-set {names.SETS[family].addresses} src -m conntrack --ctstate NEW -j MARK --set-xmark 0x4000/0x4000"]
    judged = body(found, "filter", names.FILTER)
    assert judged[0] == "-m conntrack ! --ctstate NEW -j RETURN"
    assert judged[1:] == body(whole, "filter", names.FILTER)[-1:]


def test_nld_45_a_node_with_a_resolver_takes_its_queries_aside_before_everything_else():
    node = structs.replace(make.node(), local_dns={Family.IPV4: ("10.96.0.10",)})
    found, before = rules(Family.IPV4, node, make.routing()), rules(Family.IPV4, make.node(), make.routing())
    assert found.keys() - before.keys() == {*names.DNS_HOOKS, *(RuleKey(table, names.LOCAL_DNS) for table in ("raw", "nat", "filter"))}
    assert body(found, "nat", names.SERVICES) == [*body(before, "nat", names.SERVICES), f"-j {names.LOCAL_DNS}"]
    assert {body(found, "filter", chain)[0] for chain in (names.INPUT, names.OUTPUT)} == {f"-j {names.LOCAL_DNS}"}
    assert all(names.is_our_chain(table, names.LOCAL_DNS) for table in ("raw", "filter"))
