import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.parse import inherited_frontends, observed, observed_sets
from pointsman.ipvs.render import stages
from pointsman.routing.route import Family, Protocol


def saved(steps):
    """Return restore scripts as iptables-save would print the result, and ipset restore as ipset save would."""
    rules, sets = [], []
    for step in steps:
        for text in step.text.splitlines():
            if step.tool == "ipset":
                sets.append(text.removesuffix(" -exist"))
            elif not text.startswith("-D "):
                rules.append(text.replace("-I ", "-A ", 1))
    return rules, sets


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_what_is_written_is_read_back(family, data):
    node = data.draw(make.nodes(family))
    wanted = desired(family, data.draw(make.routes(family, 1)), node=node)
    steps = [step for stage in stages(difference(family, wanted, {}), family) for step in stage.steps]
    rules, sets = saved(steps)
    seen = dict(observed(rules)) | dict(observed_sets(sets, family))
    assert seen == {key: value for key, value in wanted.items() if isinstance(key, RuleKey | SetKey)}


def test_what_is_not_ours_is_not_seen():
    lines = ["*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]", "-A PREROUTING -j KUBE-SERVICES", "-A KUBE-SERVICES -j RETURN",
             "COMMIT"]
    assert dict(observed(lines)) == {}
    assert dict(observed_sets(["create KUBE-CLUSTER-IPS hash:ip family inet", "add KUBE-CLUSTER-IPS 10.0.0.1"], Family.IPV4)) == {}


def test_a_hook_that_stands_twice_is_seen():
    hook = names.HOOKS[0]
    line = f"-A {hook.chain} {hook.rule}"
    assert dict(observed([f"*{hook.table}", line, line, "COMMIT"])) == {hook: "2"}


def test_half_a_table_is_no_table():
    with pytest.raises(ValueError, match="ends within table nat"):
        dict(observed(["*nat", ":KUBE-IPVS-SERVICES - [0:0]"]))


def test_elements_of_a_set_of_another_type_are_left_out():
    found = dict(observed_sets(["create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 64 maxelem 65536 bucketsize 12 initval 0x1",
                                "add KUBE-CLUSTER-IP 10.0.0.1,tcp:80"], Family.IPV4))
    assert found == {SetKey("KUBE-CLUSTER-IP"): "hash:ip,port family inet maxelem 65536"}


KUBE_PROXYS = ["*filter", ":INPUT ACCEPT [0:0]", ":KUBE-NODE-PORT - [0:0]", ":KUBE-PROXY-FIREWALL - [0:0]",
               '-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT', "-A INPUT -j KUBE-PROXY-FIREWALL",
               "-A KUBE-NODE-PORT -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT", "COMMIT"]
"""A part of what kube-proxy's ipvs mode writes."""


def test_ipvs_21_what_kube_proxy_alone_has_is_seen_by_who_asks_for_it():
    assert dict(observed(KUBE_PROXYS)) == {}
    seen = dict(observed(KUBE_PROXYS, inherited=True))
    hook = RuleKey("filter", "INPUT", '-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT')
    assert seen.keys() == {hook, RuleKey("filter", "KUBE-NODE-PORT")}, "KUBE-PROXY-FIREWALL is the iptables mode's"


@pytest.mark.parametrize(("family", "prefix"), [(Family.IPV4, "KUBE-"), (Family.IPV6, "KUBE-6-")])
def test_ipvs_20_kube_proxys_sets_tell_whose_virtual_servers_are(family, prefix):
    hashed, cut = f"{prefix}NODE-PORT-LOCAL-SCTP-HASH"[:31], f"{prefix}LOAD-BALANCER-LOCAL"
    lines = [f"create {prefix}NODE-PORT-TCP bitmap:port range 0-65535\n", f"add {prefix}NODE-PORT-TCP 30080\n",
             f"add {prefix}NODE-PORT-LOCAL-UDP 30053\n", f"add {hashed} 192.0.2.1,sctp:30132\n", f"add {cut} 203.0.113.1,tcp:80\n",
             f"add {prefix}CLUSTER-IP 10.96.0.1,tcp:443\n", "add KUBE-SOMEBODYS 7\n"]
    node_ports, frontends = inherited_frontends(lines, family)
    assert node_ports == {(Protocol.TCP, 30080), (Protocol.UDP, 30053), (Protocol.SCTP, 30132)}
    assert frontends == {"203.0.113.1,tcp:80", "10.96.0.1,tcp:443"}
    assert [key for key, _ in observed_sets(lines, family)] == []
    assert [key for key, _ in observed_sets(lines, family, inherited=True)] == [SetKey(f"{prefix}NODE-PORT-TCP")]
