import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from hypothesis import given
from hypothesis import strategies as st
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.parse import observed, observed_sets
from pointsman.ipvs.render import stages
from pointsman.routing.route import Family


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
