"""The order of a plan: adds ascending, deletions descending, always the same for the same difference."""

from fakes.faulty import Chain, FakeCompiler, Rule, check
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT, Change, Plan
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.plan import contents, from_scratch, make
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol, Routing, ServicePortName, ServiceRoute


def rank(key):
    return int(key[0])


def nothing(key):
    return None


def delta(wanted, seen):
    found = Delta(wanted, nothing)
    found.observe(seen)
    return found


def test_backends_before_frontends_and_frontends_before_backends_when_they_go():
    """Add before remove: a frontend never points to nothing."""
    wanted = {"2 frontend new": 1, "1 backend new": 1, "2 frontend kept": 2}
    seen = {"1 backend old": 1, "2 frontend old": 1, "2 frontend kept": 1}
    assert make(delta(wanted, seen), rank, nothing).changes == (
        Change("1 backend new", ABSENT, 1),
        Change("2 frontend kept", 1, 2),
        Change("2 frontend new", ABSENT, 1),
        Change("2 frontend old", 1, ABSENT),
        Change("1 backend old", 1, ABSENT),
    )


def test_what_is_held_back_is_not_in_the_plan():
    assert make(delta({"1 a": 1, "1 b": 1}, {"1 c": 1}), rank, nothing, held={"1 a", "1 c"}).changes == (Change("1 b", ABSENT, 1),)


def test_no_difference_is_an_empty_plan():
    assert make(delta({"1 a": 1}, {"1 a": 1}), rank, nothing) == Plan((), {})


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 2)), st.dictionaries(st.integers(0, 30), st.integers(0, 2)), st.randoms())
def test_the_same_difference_gives_the_same_plan_whatever_came_first(wanted, seen, dice):
    def shuffled(values):
        items = list(values.items())
        dice.shuffle(items)
        return dict(items)

    def planned(wanted, seen):
        return make(delta(wanted, seen), lambda key: key // 5, nothing)

    plan = planned(wanted, seen)
    assert plan == planned(shuffled(wanted), shuffled(seen))
    ranks = [(change.after is ABSENT, (1 if change.after is not ABSENT else -1) * (change.key // 5)) for change in plan.changes]
    assert ranks == sorted(ranks)


def test_a_plan_from_scratch_holds_everything_of_one_family():
    def route(family):
        return ServiceRoute(ServicePortName("shop", "web", "", Protocol.TCP), family, "10.96.0.1", 80)

    routes = {route(family).key: route(family) for family in Family}
    plan = from_scratch(FakeCompiler(), Family.IPV4, Routing(1, routes, {}, {}, (), ()), NodeFacts("n1"))
    check(plan)
    chains = {Chain("mark"), Chain("shop/web"), Chain("bucket-0")}
    rules = {Rule("hooks", "mark"), Rule("bucket-0", "shop/web"), Rule("root", "bucket-0")}
    assert {change.key for change in plan.changes} == chains | rules
    assert {change.before for change in plan.changes} == {ABSENT}


def test_what_a_plan_writes_is_its_groups_and_what_stands_alone():
    def letter(key):
        return key[2] if key[2:] in {"a", "aa", "b"} else None

    wanted, seen = {"1 a": 1, "1 aa": 2, "1 b": 3, "2 free": 4}, {"1 a": 1, "1 aa": 0, "1 b": 3, "2 gone": 5}
    difference = Delta(wanted, letter)
    difference.observe(seen)
    assert dict(contents(make(difference, rank, letter), letter)) == {"1 a": 1, "1 aa": 2, "2 free": 4}
