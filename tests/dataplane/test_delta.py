"""The difference between wanted and kernel: nothing equal is pending, everything unequal is, groups are written as a whole."""

import random

from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, Outcome, Plan
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.fragment import Desired
from pointsman.dataplane.plan import make

REFUSED = KernelError(ErrorKind.INVALID, "refused")


def group(key):
    """Upper-case keys stand alone, others are grouped by their first letter."""
    return None if key[0].isupper() else key[0]


def world(**values):
    """Return what owner `o` wants, and a delta that was told of it after an empty kernel was observed."""
    desired = Desired()
    delta = Delta(desired.values, group)
    delta.observe({})
    delta.want(desired.set("o", values))
    return desired, delta


def plan(delta, held=frozenset()):
    return make(delta, lambda key: 0, group, held)


def test_nothing_is_planned_before_the_kernel_was_observed():
    """IN-07: without knowing what is there, nothing can be added or pruned."""
    desired = Desired()
    delta = Delta(desired.values, group)
    delta.want(desired.set("o", {"A": 1}))
    assert not delta.known
    assert plan(delta) == Plan((), {})
    delta.observe({"A": 1, "B": 2})
    assert list(delta.changes()) == [Change("B", 2, ABSENT)]


def test_a_restart_with_unchanged_state_has_nothing_to_do():
    desired = Desired()
    desired.set("o", {"A": 1, "a1": 2})
    delta = Delta(desired.values, group)
    assert delta.observe({"a1": 2, "A": 1}) == []
    assert not delta.pending
    assert plan(delta).changes == ()


def test_leftovers_are_deleted_and_the_unreadable_is_written_again():
    desired = Desired()
    desired.set("o", {"A": 1, "B": 2})
    delta = Delta(desired.values, group)
    delta.observe({"A": UNKNOWN, "B": 2, "C": UNKNOWN, "D": 4})
    assert set(delta.changes()) == {Change("A", UNKNOWN, 1), Change("C", UNKNOWN, ABSENT), Change("D", 4, ABSENT)}


def test_a_wish_that_is_taken_back_before_it_was_applied_leaves_nothing_pending():
    desired, delta = world(A=1)
    delta.applied(plan(delta), Outcome({}))
    delta.want(desired.set("o", {"A": 2, "B": 1}))
    assert dict(delta.pending) == {"A": 1, "B": ABSENT}
    delta.want(desired.set("o", {"A": 1}))
    assert not delta.pending


def test_a_plan_carries_the_whole_content_of_the_groups_it_touches_and_no_other():
    desired, delta = world(a1=1, a2=2, b1=1)
    delta.applied(plan(delta), Outcome({}))
    delta.want(desired.set("o", {"a1": 1, "a3": 3, "b1": 1}))
    assert plan(delta).groups == {"a": {"a1": 1, "a3": 3}}
    delta.applied(plan(delta), Outcome({}))
    delta.want(desired.set("o", {"b1": 1}))
    assert plan(delta).groups == {"a": {}}


def test_a_failed_key_is_in_doubt_and_the_rest_of_its_group_too():
    _, delta = world(A=1, B=2, a1=1, a2=2, b1=1)
    delta.applied(plan(delta), Outcome({"A": REFUSED, "a1": REFUSED}))
    assert dict(delta.pending) == {"A": UNKNOWN, "a1": UNKNOWN, "a2": UNKNOWN}
    assert plan(delta, held={"A", "a1"}) == Plan((Change("a2", UNKNOWN, 2),), {"a": {"a2": 2}})


def test_a_key_of_a_group_that_fails_though_nothing_was_changed_about_it_is_in_doubt():
    desired, delta = world(a1=1)
    delta.applied(plan(delta), Outcome({}))
    delta.want(desired.set("o", {"a1": 1, "a2": 2}))
    delta.applied(plan(delta), Outcome({"a1": REFUSED}))
    assert dict(delta.pending) == {"a1": UNKNOWN, "a2": UNKNOWN}


def test_a_key_left_out_of_its_group_is_known_to_be_gone_once_the_group_was_written():
    """So its deletion, if that is what is wanted next, needs no write."""
    desired, delta = world(a1=1, a2=2)
    delta.applied(plan(delta), Outcome({"a1": REFUSED}))
    delta.applied(plan(delta, held={"a1"}), Outcome({}))
    assert dict(delta.pending) == {"a1": ABSENT}
    delta.want(desired.set("o", {"a2": 2}))
    assert not delta.pending


def test_a_key_that_waits_keeps_what_it_is_known_to_hold():
    _, delta = world(a1=1, a2=2)
    delta.observe({"a1": "old", "a2": "old"})
    assert plan(delta, held={"a1"}).groups == {"a": {"a1": "old", "a2": 2}}


def test_a_plan_in_doubt_is_repeated_as_a_whole():
    desired, delta = world(A=1, a1=1)
    tried = plan(delta)
    delta.doubt(tried)
    assert {change.key for change in plan(delta).changes} == {"A", "a1"}
    delta.want(desired.drop("o"))
    assert set(plan(delta).changes) == {Change("A", UNKNOWN, ABSENT), Change("a1", UNKNOWN, ABSENT)}


def test_observing_tells_what_others_changed_but_not_what_was_in_doubt():
    _, delta = world(A=1, B=2, C=3)
    delta.applied(plan(delta), Outcome({"A": REFUSED}))
    assert set(delta.observe({"B": 2, "D": 4})) == {"C", "D"}
    assert delta.observe({"B": 2, "D": 4}) == []
    assert dict(delta.pending) == {"A": ABSENT, "C": ABSENT, "D": 4}


def test_the_group_index_forgets_what_is_neither_wanted_nor_there():
    """Memory: a year of rolling updates must not leave a trace."""
    desired, delta = world(a1=1)
    for number in range(50):
        delta.want(desired.set("o", {f"a{number}": 1, f"{chr(98 + number % 20)}": 2}))
        delta.applied(plan(delta), Outcome({}))
    delta.want(desired.drop("o"))
    delta.applied(plan(delta), Outcome({}))
    delta.observe({"z1": 1})
    delta.observe({})
    assert delta._members == {}


NAMES = st.sampled_from(["A", "B", "a1", "a2", "a3", "b1", "b2"])
FRAGMENTS = st.dictionaries(NAMES, st.integers(0, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), FRAGMENTS),
        st.tuples(st.just("tamper"), FRAGMENTS),
        st.tuples(st.just("observe"), st.just(None)),
        st.tuples(st.sampled_from(["apply", "fail", "crash"]), st.integers(0, 1000)),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_one_observation_and_one_clean_plan_make_the_kernel_as_wanted(steps):
    """Any order of wishes, failures, half-done plans and tampering; between observations the belief is true unless it is UNKNOWN."""
    desired, kernel = Desired(), {}
    delta = Delta(desired.values, group)
    delta.observe(kernel)
    tampered = False
    for what, value in steps:
        if what == "want":
            delta.want(desired.set("o", value))
        elif what == "tamper":
            kernel, tampered = dict(value), True
        elif what == "observe":
            drifted = delta.observe(kernel)
            assert tampered or not drifted
            tampered = False
        else:
            carry_out(what, random.Random(value), delta, kernel)
        if not tampered:
            assert_true(delta, desired, kernel)
    delta.observe(kernel)
    carry_out("apply", random.Random(0), delta, kernel)
    assert kernel == dict(desired.values)
    assert not delta.pending


def carry_out(what, dice, delta, kernel):
    """Apply a plan: cleanly, with failing keys that may have taken effect, or not telling how far it got."""
    tried = plan(delta, held={key for key in delta.pending if what != "apply" and dice.random() < 0.2})
    failed = {change.key: REFUSED for change in tried.changes if what != "apply" and dice.random() < 0.4}
    broken = {group(key) for key in failed} - {None}
    for change in tried.changes:
        if group(change.key) is None and (change.key not in failed or dice.random() < 0.5):
            put(kernel, change.key, change.after)
    for name, content in tried.groups.items():
        if name not in broken or dice.random() < 0.5:
            for key in [key for key in kernel if group(key) == name]:
                del kernel[key]
            kernel.update({key: value for key, value in content.items() if key not in failed or dice.random() < 0.5})
    if what == "crash":
        delta.doubt(tried)
    else:
        delta.applied(tried, Outcome(failed))


def put(kernel, key, value):
    if value is ABSENT:
        kernel.pop(key, None)
    else:
        kernel[key] = value


def assert_true(delta, desired, kernel):
    """Nothing equal is pending, everything unequal is, and what is believed is so."""
    for key, believed in delta.pending.items():
        assert believed is UNKNOWN or believed == kernel.get(key, ABSENT)
        assert believed != desired.values.get(key, ABSENT)
    for key in {*kernel, *desired.values} - set(delta.pending):
        assert kernel.get(key, ABSENT) == desired.values.get(key, ABSENT)


def test_leftovers_are_what_the_first_reading_found_and_nobody_wants():
    desired = Desired()
    desired.set("o", {"A": 1})
    delta = Delta(desired.values, group)
    assert not delta.leftovers()
    delta.observe({"A": 1, "B": 2, "a1": 3})
    assert delta.leftovers() == {"B", "a1"}
    delta.want(desired.set("p", {"B": 2}))
    assert delta.leftovers() == {"a1"}
    delta.applied(plan(delta), Outcome({}))
    assert not delta.leftovers()
    delta.observe({"A": 1, "B": 2, "C": 4})
    assert not delta.leftovers(), "what came later is somebody's mistake, not an earlier run's work"
