"""Whose rules are, by what they do: names are shared with kube-proxy."""

import pytest
from pointsman.iptables import names
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.whose import Owner, owner, without_kube_proxys

LAST = '-m comment --comment "NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
PROXYS = {
    RuleKey("nat", names.SERVICES): f'-d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y\n{LAST}',
    RuleKey("nat", names.NODE_PORTS): "",
    RuleKey("nat", names.CANARY): "",
    RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES"): "",
    RuleKey("nat", "KUBE-SVC-NPX46M4PTMTKRN6Y"): "-j KUBE-SEP-A",
    RuleKey("filter", names.SERVICES): "",
    RuleKey("filter", names.FORWARD): "-m conntrack --ctstate INVALID -j DROP",
    RuleKey("filter", names.PROXY_FIREWALL): "",
    RuleKey("mangle", names.CANARY): "",
}
OURS = {
    RuleKey("nat", names.SERVICES): f"-j KUBE-DST\n{LAST}",
    RuleKey("nat", names.DESTINATIONS): "",
    RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES"): "",
    RuleKey("filter", names.SERVICES): "-m set --match-set POINTSMAN-CLUSTER-IP dst -j REJECT",
    RuleKey("filter", names.FORWARD): "-m conntrack --ctstate INVALID -j DROP",
    RuleKey("mangle", names.CANARY): "",
    SetKey("POINTSMAN-CLUSTER-IP"): "hash:ip",
}
BUCKETS = {
    RuleKey("nat", names.DESTINATIONS): "",
    RuleKey("nat", names.DESTINATIONS, "-d 0.0.0.1/0.0.0.15 -j KUBE-DST-1"): "",
    RuleKey("nat", "KUBE-DST-1", "-d 10.96.0.1/32 -j KUBE-SVC-NPX46M4PTMTKRN6Y"): "",
    RuleKey("filter", "KUBE-NP"): "",
    RuleKey("filter", "KUBE-NP-TCP-0", "-j REJECT"): "",
    SetKey("POINTSMAN-CLUSTER-IP"): "hash:ip",
}


@pytest.mark.parametrize("table", names.TABLES)
@pytest.mark.parametrize(("seen", "whose"), [(PROXYS, Owner.KUBE_PROXY), (OURS, Owner.OURS), ({}, Owner.NOBODY)])
def test_what_a_table_does_tells_whose_it_is(table, seen, whose):
    assert owner(table, seen) is whose


def test_an_empty_chain_says_nothing():
    seen = {RuleKey("nat", names.SERVICES): "", RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES"): ""}
    assert owner("nat", seen) is Owner.NOBODY
    assert without_kube_proxys(seen) == seen


def test_ours_goes_whole():
    assert without_kube_proxys(OURS) == OURS


def test_of_kube_proxys_tables_only_our_buckets_and_sets_are_ours():
    assert without_kube_proxys(PROXYS | BUCKETS) == BUCKETS


def test_each_table_is_judged_by_itself():
    """A restore that took only one of two tables: what is ours of the other goes."""
    mixed = {key: value for key, value in PROXYS.items() if key.table == "filter"}
    mixed |= {key: value for key, value in OURS.items() if isinstance(key, SetKey) or key.table != "filter"}
    left = without_kube_proxys(mixed)
    assert {key.table for key in left if isinstance(key, RuleKey)} == {"nat", "mangle"}


ITS_IPVS = {
    RuleKey("nat", names.SERVICES): "-s 127.0.0.0/8 -j RETURN\n-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
    RuleKey("nat", names.POSTROUTING): "-j RETURN",
    RuleKey("nat", names.MARK_MASQ): "-j MARK --set-xmark 0x4000/0x4000",
    RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES"): "",
    RuleKey("filter", names.FORWARD): "-j ACCEPT",
    RuleKey("filter", names.PROXY_FIREWALL): "",
    RuleKey("filter", "INPUT", "-j KUBE-PROXY-FIREWALL"): "",
}
LEFT_BY_US = {
    RuleKey("nat", "KUBE-SVC-NPX46M4PTMTKRN6Y"): "-j DNAT --to-destination 10.244.1.1:8080",
    RuleKey("nat", names.NODE_PORTS): "",
    RuleKey("filter", "INPUT", "-m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"): "",
    RuleKey("filter", "OUTPUT", "-m conntrack --ctstate NEW -j KUBE-SERVICES"): "",
    RuleKey("filter", names.SERVICES): "-m set --match-set POINTSMAN-CLUSTER-IP dst -j REJECT",
    RuleKey("mangle", names.CANARY): "",
} | BUCKETS


def test_ipvs_21_beside_its_ipvs_mode_all_is_ours_that_this_does_not_know():
    """It never removes what the iptables mode left, so whoever goes has to."""
    assert owner("nat", ITS_IPVS | LEFT_BY_US) is Owner.KUBE_PROXY
    assert without_kube_proxys(ITS_IPVS | LEFT_BY_US) == LEFT_BY_US
    by_set = {**ITS_IPVS, RuleKey("nat", names.SERVICES): "-m set --match-set KUBE-6-CLUSTER-IP dst,dst -j ACCEPT"}
    assert without_kube_proxys(by_set | LEFT_BY_US) == LEFT_BY_US
