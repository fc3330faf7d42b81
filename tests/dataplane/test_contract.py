"""The contract's values: marks are no values, and a mode is what the protocols say."""

from fakes.faulty import FakeCompiler, FaultyKernel
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, Compiler, Kernel, Mark, Outcome, Plan


def test_marks_are_unlike_any_value():
    """A mode may use empty or odd values; none of them means that nothing is there."""
    for value in ("", 0, None, False, "absent", "unknown"):
        assert value not in {ABSENT, UNKNOWN}
    assert [mark for mark in Mark if mark == ABSENT] == [ABSENT]


def test_plans_compare_by_value():
    def plan():
        return Plan((Change("a", ABSENT, 1),), {"group": {"a": 1}})

    assert plan() == plan()
    assert Outcome({}) == Outcome({})


def test_the_fakes_of_the_loop_tests_have_the_shape_of_a_mode():
    for protocol, fake in ((Compiler, FakeCompiler), (Kernel, FaultyKernel)):
        methods = [name for name in vars(protocol) if not name.startswith("_")]
        assert methods
        assert all(callable(getattr(fake, name)) for name in methods)
