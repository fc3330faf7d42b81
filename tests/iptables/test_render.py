"""Plans as tool calls: order, completeness, and blame."""

import pytest
from fakes import routes as make
from hypothesis import given, settings
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, Plan
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.plan import from_scratch
from pointsman.dataplane.plan import make as make_plan
from pointsman.iptables import names
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.render import group, script
from pointsman.routing.route import Family

V4 = Family.IPV4
SVC = "KUBE-SVC-67NZLRHBNDSAWJRO"


def wanted(*routes, node=None):
    compiler, node = IptablesCompiler(V4), node or make.node()
    found = dict(compiler.static(node, make.routing(*routes)))
    for route in routes:
        found.update(compiler.compile(route, node))
    return found


def steps_between(before, after):
    compiler = IptablesCompiler(V4)
    delta = Delta(after, compiler.group)
    delta.observe(before)
    return script(make_plan(delta, compiler.rank, compiler.group), V4)


def plan(*changes, **groups):
    return Plan(tuple(changes), {("nat", name.replace("_", "-")): content for name, content in groups.items()})


def calls(steps):
    return [(step.tool, step.table) for step in steps]


def test_a_change_of_endpoints_is_one_restore_of_one_chain():
    few, more = ([make.backend(V4, n) for n in range(1, count)] for count in (3, 4))
    (step,) = steps_between(wanted(make.route(backends=few)), wanted(make.route(backends=more)))
    assert step.table == "nat"
    lines = step.text.splitlines()
    assert lines[:2] == ["*nat", f":{SVC} - [0:0]"]
    assert len(lines) == 6
    assert all(line.startswith(f"-A {SVC} ") for line in lines[2:5])


def test_chains_of_services_are_filled_from_the_last_name_to_the_first_each_below_what_jumps_to_it():
    """The nft variant's restore seeks each chain in a list sorted by name, from its front: in any other order that is quadratic."""
    lines = [
        f":{chain} - [0:0]" if declared else f"-A {chain} -j {target}"
        for chain, target in (
            ("KUBE-SEP-B", "ACCEPT"), ("KUBE-SEP-A", "ACCEPT"), ("KUBE-SVC-B", "KUBE-SEP-B"), ("KUBE-SVC-A", "KUBE-SEP-A"),
            ("KUBE-SVL-A", "KUBE-SEP-A"), ("KUBE-EXT-A", "KUBE-SVL-A"), ("KUBE-FW-A", "KUBE-EXT-A"),
        )
        for declared in (True, False)
    ]  # fmt: skip
    entry = RuleKey("nat", "KUBE-DST-01", "-d 10.0.0.1/32 -j KUBE-FW-A")
    chains = {RuleKey("nat", line.split()[1]): line.split(" ", 2)[2] for line in lines if line.startswith("-A")}
    changes = [Change(key, ABSENT, value) for key, value in {**chains, entry: ""}.items()]
    (step,) = script(plan(*changes, KUBE_DST_01={entry: ""}), V4)
    assert step.text.splitlines() == ["*nat", ":KUBE-DST-01 - [0:0]", *lines, f"-A KUBE-DST-01 {entry.rule}", "COMMIT"]


def test_refusals_come_before_nat_lets_go_and_leave_after_nat_has_taken():
    one, none = (make.route(backends=backends, node_port=30000) for backends in ([make.backend(V4, 1, True)], []))
    loses = steps_between(wanted(one), wanted(none))
    assert calls(loses) == [("restore", "filter"), ("restore", "nat"), ("ipset", "")]
    assert "-j REJECT" in loses[0].text
    assert f"-X {SVC}" in loses[1].text
    gains = steps_between(wanted(none), wanted(one))
    assert calls(gains) == [("ipset", ""), ("restore", "nat"), ("restore", "filter")]
    assert "-X KUBE-NP-TCP-29952" in gains[2].text


def test_additions_to_filter_keep_what_is_to_go_until_nat_is_written():
    outside = {"external_ips": ("10.97.0.58",)}
    old = make.route(name="old", cluster_ip="10.96.0.1", **outside)
    new = make.route(name="new", cluster_ip="10.96.0.2", external_ips=("10.97.1.58",))
    gone = make.route(name="old", cluster_ip="10.96.0.1", backends=[make.backend(V4, 1)], **outside)
    first, *_, last = (step for step in steps_between(wanted(old), wanted(gone, new)) if step.table == "filter")
    assert [word in first.text for word in ("shop/old", "shop/new")] == [True, True]
    assert [word in last.text for word in ("shop/old", "shop/new")] == [False, True]


def test_nothing_to_do_is_no_step():
    assert steps_between(wanted(make.route()), wanted(make.route())) == ()
    assert script(Plan((), {}), V4) == ()


def test_a_first_start_makes_sets_then_filter_then_nat():
    route = make.route(backends=[make.backend(V4, 1)], node_port=30000)
    steps = script(from_scratch(IptablesCompiler(V4), V4, make.routing(route), make.node()), V4)
    assert calls(steps) == [("ipset", ""), ("restore", "filter"), ("restore", "nat"), ("restore", "mangle")]


def test_everything_undone_leaves_only_what_is_kubelets():
    steps = steps_between(wanted(make.route(backends=[make.backend(V4, 1, True)])), {})
    text = "".join(step.text for step in steps)
    assert calls(steps)[-1] == ("ipset", "")
    assert "destroy POINTSMAN-HAIRPIN" in text
    assert "-X KUBE-SERVICES" in text
    assert "KUBE-FIREWALL" not in text


def test_a_missing_hook_is_inserted_with_all_its_neighbours_in_order():
    """Of INPUT's five hooks one is gone; all are put back so that their order is that of IPT-05."""
    complete = wanted()
    lost = next(h.key for h in names.HOOKS if h.chain == "INPUT" and h.rule.endswith("-j KUBE-NODEPORTS"))
    (step,) = steps_between({key: value for key, value in complete.items() if key != lost}, complete)
    inserted = [names.jump_target(line) for line in step.text.splitlines() if line.startswith("-I INPUT")]
    deleted = [names.jump_target(line) for line in step.text.splitlines() if line.startswith("-D INPUT")]
    assert inserted == ["KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-FIREWALL"]
    assert sorted(deleted) == ["KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-PROXY-FIREWALL"]


@pytest.mark.parametrize(("before", "copies"), [("", 1), ("3", 3), (UNKNOWN, 1), (ABSENT, 0)])
def test_a_hook_is_deleted_as_often_as_it_stands_there(before, copies):
    key = RuleKey("nat", "PREROUTING", "-j KUBE-SERVICES")
    steps = script(plan(Change(key, before, ABSENT), PREROUTING={}), V4)
    assert sum(step.text.count("-D PREROUTING -j KUBE-SERVICES") for step in steps) == copies


def test_an_empty_chain_is_written_and_an_absent_one_deleted():
    key = RuleKey("nat", "KUBE-PROXY-CANARY")
    (made,) = script(plan(Change(key, ABSENT, ""), KUBE_PROXY_CANARY={key: ""}), V4)
    assert made.text == "*nat\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
    (gone,) = script(plan(Change(key, UNKNOWN, ABSENT), KUBE_PROXY_CANARY={}), V4)
    assert gone.text == "*nat\n:KUBE-PROXY-CANARY - [0:0]\n-X KUBE-PROXY-CANARY\nCOMMIT\n"


def test_kubelets_chain_is_made_only_if_absent_and_never_emptied():
    chain, rule = RuleKey("filter", "KUBE-FIREWALL"), RuleKey("filter", "KUBE-FIREWALL", names.LOCALNET_RULE)
    (both,) = script(Plan((Change(chain, ABSENT, ""), Change(rule, ABSENT, "")), {}), V4)
    assert both.text == f"*filter\n-N KUBE-FIREWALL\n-A KUBE-FIREWALL {names.LOCALNET_RULE}\nCOMMIT\n"
    (one,) = script(Plan((Change(rule, ABSENT, ""),), {}), V4)
    assert one.text == f"*filter\n-A KUBE-FIREWALL {names.LOCALNET_RULE}\nCOMMIT\n"
    assert script(Plan((Change(rule, "", ABSENT), Change(chain, "", ABSENT)), {}), V4) == ()


def test_a_set_with_other_options_is_swapped_in_complete():
    name, element = SetKey("POINTSMAN-HAIRPIN"), SetKey("POINTSMAN-HAIRPIN", "10.9.0.5,tcp:80,10.9.0.5")
    old, new = "hash:ip,port,ip family inet maxelem 7", "hash:ip,port,ip family inet maxelem 9"
    (step,) = script(Plan((Change(name, old, new), Change(element, ABSENT, "")), {}), V4)
    assert step.text.splitlines() == [
        f"create POINTSMAN-HAIRPIN-NEW {new} -exist",
        "add POINTSMAN-HAIRPIN-NEW 10.9.0.5,tcp:80,10.9.0.5 -exist",
        "swap POINTSMAN-HAIRPIN-NEW POINTSMAN-HAIRPIN",
        "destroy POINTSMAN-HAIRPIN-NEW",
    ]


def test_what_is_written_together_and_what_stands_alone():
    assert group(RuleKey("nat", "KUBE-DST-3A", "-j X")) == ("nat", "KUBE-DST-3A") == group(RuleKey("nat", "KUBE-DST-3A"))
    assert group(RuleKey("nat", "PREROUTING", "-j X")) == ("nat", "PREROUTING")
    assert group(RuleKey("filter", "KUBE-FIREWALL", "-j X")) is None
    assert group(SetKey("POINTSMAN-HAIRPIN", "x")) is None


@settings(max_examples=40, deadline=None)
@given(make.some_routes(V4), make.some_routes(V4), make.nodes(V4))
def test_every_line_has_its_key_and_every_jump_its_chain(old, new, node):
    """Whatever changes into whatever: lines and keys are parallel, and each rule stands below a key that accounts for it."""
    before, after = wanted(*old, node=node), wanted(*new, node=node)
    for step in steps_between(before, after):
        lines = step.text.split("\n")
        assert lines.pop() == ""
        assert len(lines) == len(step.keys)
        for line, key in zip(lines, step.keys, strict=True):
            if line.startswith(("-A ", "-I ", "-D ")):
                assert line.split(" ")[1] == key.chain
                assert key.rule in line
            elif step.tool == "restore" and not line.startswith((":", "-X", "-N")):
                assert key is None
        there = {key.chain for state in (before, after) for key in state if isinstance(key, RuleKey) and key.table == step.table}
        fresh = {line[1:].split(" ")[0] for line in lines if line.startswith(":")}
        fresh -= {key.chain for key in before if isinstance(key, RuleKey)}
        for line in lines:
            if line.startswith(":"):
                fresh.discard(line[1:].split(" ")[0])
            elif line.startswith(("-A ", "-I ")):
                assert names.jump_target(line) in {"", "DROP", "RETURN", "ACCEPT"} | there
                assert names.jump_target(line) not in fresh
