"""Names: what people grep for, and what a process without memory recognises as its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables import names
from pointsman.iptables.names import Role, role
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.routing.route import Backend, Family, Protocol, ServicePortName

WEB = ServicePortName("shop", "web", "http", Protocol.TCP)


def test_ipt_04_worked_examples():
    assert names.service_chains(WEB).cluster == "KUBE-SVC-67NZLRHBNDSAWJRO"
    assert names.service_chains(ServicePortName("shop", "dns", "", Protocol.UDP)).cluster == "KUBE-SVC-UUCMI6NRQAAWNJTH"
    assert names.endpoint_chain(WEB, Backend("10.9.0.5", 8080, True, True)) == "KUBE-SEP-QMF4YXF5NKTU4GUV"
    assert names.endpoint_chain(WEB, Backend("fd00:9::5", 8080, True, True)) == "KUBE-SEP-3V2LKWTF4NCV63G5"


def test_ipt_04_all_chains_of_a_service_port_share_their_hash():
    chains = names.service_chains(WEB)
    assert [chain[:9] for chain in (chains.cluster, chains.local, chains.external)] == ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-"]
    assert {chain.rpartition("-")[2] for chain in (chains.cluster, chains.local, chains.external, chains.firewall)} == {"67NZLRHBNDSAWJRO"}


@pytest.mark.parametrize(("table", "chain", "expected"), [
    ("nat", "KUBE-SERVICES", Role.WHOLE),
    ("filter", "KUBE-PROXY-CANARY", Role.WHOLE),
    ("mangle", "KUBE-PROXY-CANARY", Role.WHOLE),
    ("nat", "KUBE-SEP-QMF4YXF5NKTU4GUV", Role.WHOLE),
    ("filter", "KUBE-FW-67NZLRHBNDSAWJRO", Role.WHOLE),
    ("nat", "KUBE-NODEPORTS", Role.SHARED),
    ("filter", "KUBE-NODEPORTS", Role.WHOLE),
    ("filter", "KUBE-PROXY-FIREWALL", Role.SHARED),
    ("nat", "KUBE-DST", Role.SHARED),
    ("nat", "KUBE-DST-3A", Role.SHARED),
    ("filter", "KUBE-NP-SCTP-30016", Role.SHARED),
    ("filter", "KUBE-FIREWALL", Role.GUEST),
    ("nat", "PREROUTING", Role.BUILTIN),
    # IPT-45 and others' chains
    ("mangle", "KUBE-IPTABLES-HINT", None),
    ("mangle", "KUBE-KUBELET-CANARY", None),
    ("nat", "KUBE-KUBELET-CANARY", None),
    ("nat", "KUBE-MARK-DROP", None),
    ("nat", "KUBE-FIREWALL", None),
    ("raw", "KUBE-SERVICES", None),
    ("nat", "KUBE-DST-3a", None),
    ("nat", "KUBE-DST-3AB", None),
    ("nat", "CNI-HOSTPORT-DNAT", None),
])
def test_ipt_01_to_03_and_45_whose_chain_it_is(table, chain, expected):
    assert role(table, chain) is expected


def test_ipt_05_hooks_are_recognised_by_what_they_lead_to():
    assert all(names.is_hook(hook.table, hook.rule) for hook in names.HOOKS)
    assert names.is_hook("nat", "-p tcp -j KUBE-SERVICES")
    assert not names.is_hook("nat", "-j CNI-HOSTPORT-DNAT")
    assert not names.is_hook("nat", '-m comment --comment "not -j KUBE-SERVICES"')
    assert not names.is_hook("filter", "-j REJECT --reject-with icmp-port-unreachable")


def test_ipt_12_what_is_kubelets_as_well_is_kept():
    assert names.is_kept(RuleKey("filter", "INPUT", "-j KUBE-FIREWALL"))
    assert names.is_kept(RuleKey("filter", "KUBE-FIREWALL", names.LOCALNET_RULE))
    assert names.is_kept(RuleKey("filter", "KUBE-FIREWALL"))
    assert not names.is_kept(RuleKey("filter", "INPUT", "-j KUBE-NODEPORTS"))
    assert not names.is_kept(SetKey("POINTSMAN-HAIRPIN"))


def test_sets_of_one_family_are_not_taken_for_the_others():
    for family, other in ((Family.IPV4, Family.IPV6), (Family.IPV6, Family.IPV4)):
        for name in names.set_types(family):
            assert len(f"{name}-NEW") <= 31
            assert names.is_our_set(name, family)
            assert not names.is_our_set(name, other)
    assert not names.is_our_set("KUBE-CLUSTER-IP", Family.IPV4)


@given(st.text(min_size=1, max_size=63), st.text(max_size=15), st.sampled_from(list(Protocol)))
def test_chain_names_fit_into_the_kernels_28_characters(name, port, protocol):
    chains = names.service_chains(ServicePortName("n", name, port, protocol))
    assert {len(chain) for chain in (chains.cluster, chains.local, chains.external)} == {25}
    assert role("nat", chains.firewall) is Role.WHOLE
