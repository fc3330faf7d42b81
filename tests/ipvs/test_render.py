import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, Plan
from pointsman.iptables.objects import SetKey
from pointsman.ipvs import names
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, RealServer, ServerFlag, VirtualKey, VirtualServer
from pointsman.ipvs.render import line, set_lines, stages
from pointsman.routing.route import Family, Protocol

V4 = Family.IPV4
WEB = VirtualKey(V4, Protocol.TCP, "10.96.0.1", 80)
LOCAL = make.backend(V4, 1, local=True)
KIND = names.set_types(V4)["KUBE-CLUSTER-IP"]


def texts(*changes):
    return [block.body for block in set_lines(changes)]


def test_stages_keep_the_order_and_each_has_one_means():
    route = make.route(node_port=30080, external_local=True, backends=[LOCAL])
    found = list(stages(difference(V4, desired(V4, route), {}), V4))
    assert [stage.means for stage in found] == ["tools", "servers", "addresses"]
    assert [step.tool for step in found[0].steps] == ["ipset", "restore", "restore", "restore"]
    assert "KUBE-SHORT-CIRCUIT" in found[0].steps[0].text
    gone = list(stages(difference(V4, {}, desired(V4, route)), V4))
    assert [(stage.means, stage.deletes) for stage in gone] == [("addresses", True), ("servers", True), ("tools", True)]
    assert gone[-1].steps[-1].tool == "ipset"


def test_a_change_of_endpoints_runs_no_tool():
    before, after = desired(V4, make.route(backends=[LOCAL])), desired(V4, make.route(backends=[make.backend(V4, 9)]))
    assert not any(stage.steps for stage in stages(difference(V4, after, before), V4) if stage.means == "servers")


def test_all_hooks_of_a_touched_chain_are_written():
    wanted = desired(V4)
    hook = names.HOOKS[0]
    seen = {key: value for key, value in wanted.items() if key != hook}
    [stage] = stages(difference(V4, wanted, seen), V4)
    assert f"-I {hook.chain} {hook.rule}" in stage.steps[0].text


def test_an_element_carries_its_value_and_is_deleted_without():
    key = SetKey("KUBE-SHORT-CIRCUIT", "198.51.100.1,tcp:80")
    mark = "skbmark 0x60007530"
    assert texts(Change(key, ABSENT, mark)) == [f"add KUBE-SHORT-CIRCUIT 198.51.100.1,tcp:80 {mark} -exist"]
    assert texts(Change(key, mark, ABSENT)) == ["del KUBE-SHORT-CIRCUIT 198.51.100.1,tcp:80 -exist"]


def test_a_set_with_other_options_is_exchanged_under_the_rules_that_use_it():
    """kube-proxy's sets hold 65,536 elements; ours take their place without a moment in which they are empty."""
    key, spare = SetKey("KUBE-CLUSTER-IP"), names.spare("KUBE-CLUSTER-IP")
    element = Change(SetKey("KUBE-CLUSTER-IP", "10.96.0.1,tcp:80"), ABSENT, "")
    assert texts(Change(key, "hash:ip,port family inet maxelem 65536", KIND), element) == [
        f"create {spare} {KIND} -exist", f"add {spare} 10.96.0.1,tcp:80 -exist", f"swap {spare} KUBE-CLUSTER-IP", f"destroy {spare}",
    ]


@pytest.mark.parametrize("before", [ABSENT, UNKNOWN])
def test_a_new_set_is_created(before):
    assert texts(Change(SetKey("KUBE-CLUSTER-IP"), before, KIND)) == [f"create KUBE-CLUSTER-IP {KIND} -exist"]


def test_a_set_of_another_type_is_made_anew():
    found = texts(Change(SetKey("KUBE-CLUSTER-IP"), "list:set size 8", KIND))
    assert found == ["destroy KUBE-CLUSTER-IP", f"create KUBE-CLUSTER-IP {KIND}"]


def test_the_elements_of_a_set_that_goes_need_not_go_first():
    changes = [Change(SetKey("KUBE-CLUSTER-IP", "10.96.0.1,tcp:80"), "", ABSENT), Change(SetKey("KUBE-CLUSTER-IP"), KIND, ABSENT)]
    assert texts(*changes) == ["destroy KUBE-CLUSTER-IP"]


@pytest.mark.parametrize(("change", "words"), [
    (Change(WEB, ABSENT, VirtualServer("wrr", ServerFlag.PERSISTENT, 60)), "-A -t 10.96.0.1:80 -s wrr -p 60"),
    (Change(WEB, VirtualServer(), VirtualServer("mh", ServerFlag.SCHEDULER_2)), "-E -t 10.96.0.1:80 -s mh -b mh-port"),
    (Change(WEB, VirtualServer(), ABSENT), "-D -t 10.96.0.1:80"),
    (Change(VirtualKey(Family.IPV6, mark=7), ABSENT, VirtualServer()), "-A -f 7 -6 -s rr"),
    (Change(RealKey(WEB, "10.244.0.1", 8080), ABSENT, RealServer(3)), "-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 3"),
    (Change(RealKey(WEB, "10.244.0.1", 8080), RealServer(3), ABSENT), "-d -t 10.96.0.1:80 -r 10.244.0.1:8080"),
    (Change(AddressKey("fd00:96::1"), "", ABSENT), "addr del fd00:96::1/128 dev kube-ipvs0"),
])
def test_changes_are_told_in_the_tools_words(change, words):
    assert line(change) == words


def test_the_tools_plan_holds_rules_and_sets_only():
    wanted = desired(V4, make.route(backends=[LOCAL]))
    first = next(stages(difference(V4, wanted, {}), V4))
    assert isinstance(first.tool_plan, Plan)
    assert len(first.tool_plan.changes) == len(first.changes)
