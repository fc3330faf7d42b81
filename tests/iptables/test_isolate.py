"""Cutting bad parts out of a step's text: what goes, what must go with it, and what stays."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT, Change, Plan
from pointsman.dataplane.errors import ErrorKind
from pointsman.iptables import render
from pointsman.iptables.failure import Failure
from pointsman.iptables.isolate import Cut
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.routing.route import Family

SVC = RuleKey("nat", "KUBE-SVC-A")
EXT = RuleKey("nat", "KUBE-EXT-A")
OTHER = RuleKey("nat", "KUBE-SVC-B")
ENTRY = RuleKey("nat", "KUBE-DST-01", "-d 10.0.0.1/32 -j KUBE-EXT-A")
NEIGHBOUR = RuleKey("nat", "KUBE-DST-01", "-d 10.0.1.1/32 -j KUBE-SVC-B")
WANTED = {SVC: "-j ACCEPT", EXT: "-j KUBE-SVC-A", OTHER: "-j ACCEPT\n-j RETURN", ENTRY: "", NEIGHBOUR: ""}
FRESH = {SVC.chain, EXT.chain, OTHER.chain}


def step_of(wanted, gone=()):
    groups = {}
    for key, value in wanted.items():
        if (name := render.group(key)) is not None:
            groups.setdefault(name, {})[key] = value
    for key in gone:
        groups.setdefault(render.group(key), {})
    changes = (*(Change(key, ABSENT, value) for key, value in wanted.items()), *(Change(key, "", ABSENT) for key in gone))
    (step,) = render.script(Plan(changes, groups), Family.IPV4)
    return step


def failure(kind=ErrorKind.INVALID, text="line failed", **blame):
    return Failure(kind, text, **blame)


def place_of(rest, line):
    return rest.text.split("\n").index(line) + 1


def test_nothing_failed_nothing_missing():
    step = step_of(WANTED)
    assert Cut(step, FRESH, ()).rest().text == step.text


def test_a_failed_chain_takes_those_along_that_need_it():
    cut = Cut(step_of(WANTED), FRESH, [SVC])
    assert cut.failed == {SVC, EXT, ENTRY}
    assert cut.rest().text == (
        "*nat\n:KUBE-DST-01 - [0:0]\n:KUBE-SVC-B - [0:0]\n-A KUBE-SVC-B -j ACCEPT\n-A KUBE-SVC-B -j RETURN\n"
        "-A KUBE-DST-01 -d 10.0.1.1/32 -j KUBE-SVC-B\nCOMMIT\n"
    )


def test_a_chain_that_exists_already_can_be_jumped_to_though_its_update_failed():
    assert Cut(step_of(WANTED), set(), [SVC]).failed == {SVC}


def test_lines_are_blamed():
    cut = Cut(step_of(WANTED), FRESH, ())
    rest = cut.rest()
    assert cut.blame(failure(lines=(place_of(rest, "-A KUBE-SVC-B -j RETURN"),)), rest) == {OTHER}
    assert NEIGHBOUR in cut.failed
    rest = cut.rest()
    assert cut.blame(failure(lines=(place_of(rest, "-A KUBE-SVC-A -j ACCEPT"),)), rest) == {SVC}
    assert cut.failed == set(WANTED)


def test_names_are_blamed_though_the_line_is_commit():
    cut = Cut(step_of({**WANTED, SVC: "-j KUBE-SVL-GONE"}), FRESH, ())
    rest = cut.rest()
    commit = place_of(rest, "COMMIT")
    assert cut.blame(failure(ErrorKind.MISSING, lines=(commit,), chains=("KUBE-SVL-GONE",)), rest) == {SVC}


def test_extensions_are_blamed_wherever_they_are_used():
    cut = Cut(step_of({**WANTED, SVC: "-m recent --set -j ACCEPT", OTHER: "-m recent --rcheck -j ACCEPT"}), FRESH, ())
    assert cut.blame(failure(ErrorKind.UNSUPPORTED, extensions=("recent",)), cut.rest()) == {SVC, OTHER}


def test_commit_alone_blames_nobody():
    cut = Cut(step_of(WANTED), FRESH, ())
    rest = cut.rest()
    assert cut.blame(failure(lines=(place_of(rest, "COMMIT"),)), rest) is None
    assert cut.blame(failure(lines=(4711,)), rest) is None


def test_a_deletion_of_what_is_gone_is_dropped_without_blame():
    hook = RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES")
    cut = Cut(step_of(WANTED, [hook]), FRESH, ())
    rest = cut.rest()
    line = "-D OUTPUT -j KUBE-SERVICES"
    assert cut.blame(failure(ErrorKind.MISSING, lines=(place_of(rest, line),)), rest) == frozenset()
    assert line not in cut.rest().text
    assert not cut.failed


def test_an_unparsable_deletion_is_blamed():
    hook = RuleKey("nat", "OUTPUT", "-j KUBE-SERVICES")
    cut = Cut(step_of(WANTED, [hook]), FRESH, ())
    rest = cut.rest()
    told = failure(text="Bad argument; Error occurred at line: 9", lines=(place_of(rest, "-D OUTPUT -j KUBE-SERVICES"),))
    assert cut.blame(told, rest) == {hook}


def test_a_failed_rule_leaves_its_shared_chain():
    cut = Cut(step_of(WANTED), FRESH, [ENTRY])
    assert ":KUBE-DST-01 - [0:0]\n" in cut.rest().text
    assert cut.failed == {ENTRY}


def test_units_come_after_what_they_refer_to_and_deletions_last():
    gone = RuleKey("nat", "KUBE-SVC-0GONE")
    units = Cut(step_of(WANTED, [gone]), FRESH, ()).units()
    order = [unit[0].chain for unit in units]
    assert order.index(SVC.chain) < order.index(EXT.chain) < order.index(ENTRY.chain)
    assert order.index(OTHER.chain) < order.index(NEIGHBOUR.chain)
    assert order[-1] == gone.chain


def test_elements_are_units_of_their_set():
    name = SetKey("POINTSMAN-X")
    elements = [SetKey(name.name, f"10.0.0.{number}") for number in range(3)]
    cut = Cut(step_of({name: "hash:ip family inet", **dict.fromkeys(elements, "")}), {name.name}, ())
    assert cut.units() == ((name, *elements),)
    assert cut.rest([name, elements[1]]).text.count("add ") == 1


@given(st.sets(st.sampled_from(sorted(WANTED, key=repr))), st.sets(st.sampled_from(sorted(WANTED, key=repr))))
@settings(max_examples=100)
def test_what_is_left_never_refers_to_what_was_left_out(failed, only):
    cut = Cut(step_of(WANTED), FRESH, failed)
    text = cut.rest().text
    for chain in FRESH:
        if f":{chain} " not in text:
            assert not any(line.endswith(f"-j {chain}") for line in text.split("\n"))
    left = {place for place, key in enumerate(cut.step.keys) if key is None or key not in failed}
    declared = {place for place, line in enumerate(cut.step.text.split("\n")) if line.startswith(":")}
    assert set(cut.rest(only).places) <= left | declared
