import pytest
from pointsman.explain.answered import Answered, compare, goes_on, questions
from pointsman.explain.resolve import Attempt, Resolution

WEB = "web.shop.svc.cluster.local"
FOUND = Resolution((Attempt("web.shop.a.svc.cluster.local", "no such name"), Attempt(WEB, "Service shop/web: 10.96.0.1")))
HEADLESS = Resolution((Attempt(WEB, "headless: 10.244.1.1"),))


def answer(*addresses, qtype="A"):
    return [("rcode", "NOERROR"), *(("answer", f"{WEB}. 30 {qtype} {one}") for one in addresses)]


def test_the_same_names_are_asked_but_none_that_leaves_the_cluster():
    upstream = Resolution((Attempt("example.org", "asked upstream"), *FOUND.attempts))
    assert questions(upstream) == questions(FOUND) == ("web.shop.a.svc.cluster.local", WEB)
    assert goes_on([("zone", "x"), ("rcode", "NXDOMAIN: the name does not exist")])
    assert not goes_on(answer("10.96.0.1"))


def test_an_answer_as_the_objects_say():
    found = compare(FOUND, ["10.96.0.1"], "A", WEB, answer("10.96.0.1"))
    assert found == Answered(f"this node's resolver answers {WEB} A: 10.96.0.1, as the objects say")


@pytest.mark.parametrize(("rows", "said"), [
    (answer("10.96.0.9"), "10.96.0.9"), ([("rcode", "NXDOMAIN: the name does not exist")], "NXDOMAIN: the name does not exist"),
    ([("error", "no server block"), ("rcode", "SERVFAIL: it could not be found out")], "no server block"), ([], "nothing"),
    (answer("fd00::1", qtype="AAAA"), "NOERROR"),
])  # fmt: skip
def test_another_answer_is_broken_for_a_service_and_told_for_a_headless_one(rows, said):
    found = compare(FOUND, ["10.96.0.1"], "A", WEB, rows)
    assert found.text == f"this node's resolver answers {WEB} A with {said}, but by the objects it is 10.96.0.1"
    assert (found.agrees, found.broken) == (False, True)
    assert not compare(HEADLESS, ["10.244.1.1"], "A", WEB, rows).broken


def test_a_long_answer_that_is_told_in_part_agrees():
    wanted = [f"10.244.1.{number}" for number in range(30)]
    rows = [*answer(*wanted[:20]), ("answer", "and 10 more")]
    assert compare(HEADLESS, wanted, "A", WEB, rows) == Answered(f"this node's resolver answers {WEB} A: 20 addresses, as the objects say")
    assert not compare(HEADLESS, wanted[:20], "A", WEB, answer(*wanted)).agrees
