import pytest
from msgspec.structs import replace
from pointsman.iptables.matching import Flight, Place
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.setlist import saved_sets
from pointsman.iptables.walk import Walk

FLIGHT = Flight("10.244.1.5", "10.96.0.1", "tcp", 80, went_in="pod5")
SETS = saved_sets(["create M hash:ip,port family inet skbinfo", "add M 10.96.0.1,tcp:80 skbmark 0x60000050/0xffffffff"])


def walk(*rules, chains=(), policy="ACCEPT", table="filter", sets=SETS):
    declared = [f":FORWARD {policy} [0:0]", *(f":{chain} - [0:0]" for chain in chains)]
    lines = [f"*{table}", *declared, *(f"-A {rule}" for rule in rules), "COMMIT"]
    made = Walk((ruleset(lines),), Place(frozenset(), sets), lambda table, chain, text: chain.startswith("OURS"))
    return made.hook(table, "FORWARD", [FLIGHT])


def test_the_first_rule_that_ends_it_decides():
    passed, [ended] = walk("FORWARD -s 10.0.0.0/8 -j DROP", "FORWARD -j ACCEPT")
    assert passed == []
    assert ended.how == "DROP"
    assert ended.flight.via[-1].where == "filter FORWARD rule 1"
    assert not ended.flight.via[-1].ours


def test_a_jump_that_changes_nothing_leaves_no_evidence():
    [passed], ended = walk("FORWARD -j OURS", "OURS -s 192.0.2.1/32 -j DROP", chains=["OURS"])
    assert ended == []
    assert passed.via == ()


def test_return_goes_back_and_goto_does_not():
    [passed], _ = walk("FORWARD -j A", "FORWARD -j MARK --set-xmark 0x1/0x1", "A -j RETURN", "A -j DROP", chains=["A"])
    assert passed.mark == 1
    [passed], _ = walk("FORWARD -g A", "FORWARD -j DROP", "A -s 192.0.2.1/32 -j DROP", chains=["A"])
    assert passed.mark == 0


def test_a_policy_drops_what_no_rule_accepts():
    _, [ended] = walk(policy="DROP")
    assert ended.flight.via[-1].where == "filter FORWARD policy"
    [passed], _ = walk("FORWARD -p tcp -j ACCEPT", policy="DROP")
    assert passed.via[-1].does == "accepts it"


def test_chance_parts_a_flight_and_all_parts_add_up():
    rules = ["FORWARD -m statistic --mode random --probability 0.5 -j DNAT --to-destination 10.0.0.1:8080",
             "FORWARD -p tcp -j DNAT --to-destination 10.0.0.2"]  # fmt: skip
    passed, _ = walk(*rules, table="nat")
    assert [(one.destination, one.port, one.chance) for one in passed] == [("10.0.0.1", 8080, 0.5), ("10.0.0.2", 80, 0.5)]


@pytest.mark.parametrize(("rule", "mark"), [
    ("FORWARD -j MARK --set-xmark 0x4000/0x4000", 0x4000),
    ("FORWARD -j SET --map-set M dst,dst --map-mark", 0x60000050),
    ("FORWARD -j LOG", 0),
])  # fmt: skip
def test_targets_that_let_it_go_on(rule, mark):
    [passed], _ = walk(rule)
    assert passed.mark == mark
    assert passed.doubts == ()


def test_untracked_packets_are_known():
    [passed], _ = walk("FORWARD -j CT --notrack", table="raw")
    assert passed.untracked


def test_redirect_and_masquerade():
    [passed], _ = walk("FORWARD -p tcp -j REDIRECT --to-ports 15001", table="nat")
    assert (passed.destination, passed.port, passed.translated) == ("127.0.0.1", 15001, True)
    [passed], _ = walk("FORWARD -j MASQUERADE", table="nat")
    assert passed.masqueraded


def test_what_may_end_it_but_cannot_be_judged_is_a_doubt():
    [passed], _ = walk("FORWARD -m limit --limit 1/sec -j DROP")
    assert "filter FORWARD rule 1 may take it" in passed.doubts[0]
    [passed], _ = walk("FORWARD -m limit --limit 1/sec -j A", "A -j DROP", chains=["A"])
    assert passed.doubts
    [passed], _ = walk("FORWARD -m limit --limit 1/sec -j LOG")
    assert passed.doubts == ()
    [passed], _ = walk("FORWARD --odd")
    assert "cannot be read" in passed.doubts[0]
    [passed], _ = walk("FORWARD -j STRANGE")
    assert "not covered" in passed.doubts[0]


MAC = "-m mac --mac-source 00:11:22:33:44:55"


@pytest.mark.parametrize(("rules", "policy"), [
    ((f"FORWARD {MAC} -j ACCEPT",), "DROP"),
    ((f"FORWARD {MAC} -j ACCEPT", "FORWARD -j REJECT"), "ACCEPT"),
    ((f"FORWARD {MAC} -j A", "A -j ACCEPT"), "DROP"),
    (("FORWARD -j A", f"A {MAC} -j ACCEPT"), "DROP"),
    (("FORWARD -j A", f"A {MAC} -j RETURN", "A -j DROP"), "ACCEPT"),
    (("FORWARD -j A", f"A {MAC} -g B", "A -j DROP", "B -j LOG"), "ACCEPT"),
])  # fmt: skip
def test_what_may_have_let_it_pass_but_cannot_be_judged_is_a_doubt_of_a_refusal(rules, policy):
    passed, [ended] = walk(*rules, chains=["A", "B"], policy=policy)
    assert passed == []
    [doubt] = ended.flight.doubts
    assert f"{MAC} -" in doubt


def test_what_may_have_let_it_pass_is_a_doubt_of_a_translation():
    [passed], _ = walk(f"FORWARD {MAC} -j RETURN", "FORWARD -j DNAT --to-destination 10.0.0.1:81", table="nat")
    assert "filter" not in passed.doubts[0]
    assert MAC in passed.doubts[0]


@pytest.mark.parametrize("last", ["MASQUERADE", "SNAT --to-source 192.0.2.1", "CT --notrack"])
@pytest.mark.parametrize("let_pass", ["-j ACCEPT", "-j RETURN", "-g EMPTY"])
def test_what_may_have_let_it_pass_is_a_doubt_of_what_changes_its_source_or_leaves_it_untracked(let_pass, last):
    [passed], _ = walk(f"FORWARD {MAC} {let_pass}", f"FORWARD -j {last}", chains=["EMPTY"], table="nat")
    assert passed.masqueraded or passed.untracked
    assert [MAC in doubt for doubt in passed.doubts] == [True]


@pytest.mark.parametrize("target", ["MASQUERADE", "SNAT --to-source 192.0.2.1", "CT --notrack", "NOTRACK", "A"])
def test_what_may_change_its_source_or_leave_it_untracked_is_a_doubt(target):
    [passed], _ = walk(f"FORWARD {MAC} -j {target}", "A -j MASQUERADE", chains=["A"], table="nat")
    assert not passed.masqueraded
    assert not passed.untracked
    assert [MAC in doubt for doubt in passed.doubts] == [True]


BY_MARK = ("FORWARD -j POST", "POST -m mark ! --mark 0x4000/0x4000 -j RETURN", "POST -j MARK --set-xmark 0x4000/0x0", "POST -j MASQUERADE")


@pytest.mark.parametrize(("rules", "masqueraded"), [
    ((f"FORWARD {MAC} -j MARK --set-xmark 0x4000/0x4000",), False),
    ((f"FORWARD {MAC} -j A", "A -j MARK --set-xmark 0x4000/0x4000"), False),
    ((f"FORWARD {MAC} -j SET --map-set M dst,dst --map-mark",), False),
    (("FORWARD -j A", f"A {MAC} -j RETURN", "A -j MARK --set-xmark 0x4000/0x4000"), True),
    (("FORWARD -j A", f"A {MAC} -j ACCEPT", "A -j MARK --set-xmark 0x4000/0x4000"), True),
])  # fmt: skip
def test_an_uncertain_mark_is_a_doubt_where_a_rule_asks_for_it(rules, masqueraded):
    """What may not have been marked is masqueraded by the mark, or the other way round."""
    sets = {"M": replace(SETS["M"], elements={"10.96.0.1,tcp:80": "skbmark 0x4000/0xffffffff"})}
    [passed], _ = walk(*rules, *BY_MARK, chains=["A", "POST"], table="nat", sets=sets)
    assert passed.masqueraded is masqueraded
    assert {MAC in doubt for doubt in passed.doubts} == {True}


@pytest.mark.parametrize("rules", [
    (f"FORWARD {MAC} -j MARK --set-xmark 0x8000/0x8000",),
    (f"FORWARD {MAC} -j MARK --set-xmark 0x4000/0x4000", "FORWARD -j MARK --set-xmark 0x0/0x4000"),
    ("FORWARD -j MARK --set-xmark 0x4000/0x4000", f"FORWARD {MAC} -j MARK --set-xmark 0x4000/0x4000"),
    (f"FORWARD {MAC} -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",),
])  # fmt: skip
def test_an_uncertain_mark_that_nobody_asks_for_is_no_doubt(rules):
    [passed], _ = walk(*rules, *BY_MARK, chains=["POST"], table="nat")
    assert passed.doubts == ()


def test_a_mark_rule_that_cannot_be_read_makes_all_of_the_mark_uncertain():
    [passed], _ = walk(f"FORWARD {MAC} -j A", "A --odd -j MARK --set-xmark 0x8000/0x8000", *BY_MARK, chains=["A", "POST"], table="nat")
    assert passed.doubts


@pytest.mark.parametrize("rules", [
    (f"FORWARD {MAC} -j ACCEPT", "FORWARD -s 192.0.2.1/32 -j DROP"),
    ("FORWARD -j A", "FORWARD -p tcp -j ACCEPT", f"A {MAC} -j RETURN", "A -s 192.0.2.1/32 -j DROP"),
    (f'FORWARD {MAC} -m comment --comment "not -j DROP" -j LOG',),
])  # fmt: skip
def test_what_may_have_let_it_pass_is_no_doubt_of_what_passes_anyhow(rules):
    [passed], ended = walk(*rules, chains=["A"])
    assert (ended, passed.doubts, passed.spared) == ([], (), ())


def test_a_return_does_not_spare_what_the_caller_does_next():
    _, [ended] = walk("FORWARD -j A", "FORWARD -j DROP", f"A {MAC} -j RETURN", chains=["A"])
    assert ended.flight.doubts == ()
    _, [ended] = walk(f"FORWARD {MAC} -j RETURN", policy="DROP")
    assert ended.flight.doubts == ()


@pytest.mark.parametrize("last", ["B -j DROP", "B -g C", "B -j DNAT --to-destination 10.0.0.1", "B -j NFQUEUE --queue-num 1"])
def test_what_may_end_it_in_a_chain_of_a_chain_is_a_doubt(last):
    [passed], ended = walk("FORWARD -m limit --limit 1/sec -j A", "A -j B", last, "C -j DROP", chains=["A", "B", "C"])
    assert ended == []
    assert "filter FORWARD rule 1 may take it" in passed.doubts[0]


def test_chains_that_call_each_other_end():
    [passed], _ = walk("FORWARD -j A", "A -j A", chains=["A"])
    assert "without end" in passed.doubts[0]


def test_destinations_of_every_spelling():
    cases = {"10.0.0.1:81": ("10.0.0.1", 81), "10.0.0.1": ("10.0.0.1", 80), "[fd00::1]:81": ("fd00::1", 81), "fd00::1": ("fd00::1", 80)}
    for text, (address, port) in cases.items():
        [passed], _ = walk(f"FORWARD -j DNAT --to-destination {text}", table="nat")
        assert (passed.destination, passed.port) == (address, port)
