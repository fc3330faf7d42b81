"""What sources say."""

from pointsman.kube.events import Batch, Problem


def test_a_problem_prints_as_file_line_object_field_text() -> None:
    full = Problem("shop/web.yaml:7", "Service shop/web", "spec.ports[0].port", "expected int, got str")
    assert str(full) == "shop/web.yaml:7: Service shop/web: spec.ports[0].port: expected int, got str"


def test_unknown_parts_of_a_problem_are_left_out() -> None:
    assert str(Problem("web.yaml:1", "", "", "not YAML")) == "web.yaml:1: not YAML"
    assert str(Problem("", "Node n1", "", "gone")) == "Node n1: gone"


def test_problems_have_a_fixed_order() -> None:
    first, second, third = Problem("a", "", "", ""), Problem("a", "x", "", ""), Problem("b", "", "", "")
    assert sorted([third, second, first]) == [first, second, third]


def test_an_empty_batch_says_nothing_about_problems() -> None:
    assert Batch().problems is None
    assert Batch(problems=()).problems == ()
