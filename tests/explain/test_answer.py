import pytest
from pointsman.dataplane.trace import Difference, Evidence, Trace, Way
from pointsman.explain.answer import BROKEN, REFUSED, STATUS, UNKNOWN, WORKS, Failure, FlowFacts, judge
from pointsman.explain.answered import Answered
from pointsman.explain.findings import Finding, Level
from pointsman.routing.packet import Outcome, Share, SourcePlace, Verdict
from pointsman.routing.route import Backend

BACKEND = Backend("10.0.0.1", 8080, local=False, hairpin=False)
OUTCOME = Outcome(
    Verdict.FORWARD, "SEM-03: every endpoint", SourcePlace.POD,
    shares=(Share(BACKEND, 1.0, masquerade=True, reason="SEM-04: the source is not a pod"),),
)  # fmt: skip
GOOD = Trace((Way(1.0, Verdict.FORWARD, "10.0.0.1", 8080, masquerade=True),))
LOST = Trace((Way(1.0, Verdict.UNTOUCHED, "10.96.0.1", 80),))
APART = Difference("shop/web:http tcp", "endpoint 10.0.0.1:8080 is missing", "nat KUBE-SVC-A")


def test_a_working_connection_says_how_many_endpoints_and_why_masqueraded():
    found = judge(OUTCOME, GOOD)
    assert (found.status, found.sentence) == (WORKS, "works, 1 endpoint, source masqueraded because the source is not a pod (SEM-04)")


def test_a_mismatch_is_broken_and_names_the_cause():
    found = judge(OUTCOME, LOST, differences=[APART], failures=[Failure("agent", "wanted since 12 s, last error: no")])
    assert found.status == BROKEN
    assert "because endpoint 10.0.0.1:8080 is missing (nat KUBE-SVC-A)" in found.sentence
    lacks = Trace((Way(0.5, Verdict.FORWARD, "10.0.0.9", 8080, masquerade=True),))
    other = Difference("shop/web:http tcp", "connections go to 10.0.0.9:8080, which is none of its endpoints here", "nat KUBE-SVC-A")
    assert judge(OUTCOME, lacks, differences=[APART, other]).sentence.endswith("no endpoint for this connection (nat KUBE-SVC-A)")
    assert found.sentence.endswith("(wanted since 12 s, last error: no)")


def test_another_programs_object_comes_before_everything():
    rule = Evidence("filter FORWARD rule 1", "-j DROP", ours=False)
    found = judge(OUTCOME, Trace((Way(1.0, Verdict.DROP, "10.0.0.1", 8080, evidence=(rule,)),)), differences=[APART])
    assert found.sentence == "broken: the packet is dropped by filter FORWARD rule 1, which is not pointsman's: -j DROP"


def test_a_setting_that_stops_it_is_broken_with_its_remedy():
    setting = Finding(Level.BAD, "net.ipv4.ip_forward", "net.ipv4.ip_forward is 0", "packets stay", "sysctl -w x", "forwarded")
    found = judge(OUTCOME, GOOD, findings=[setting])
    assert (found.sentence, found.because[0]) == ("broken: net.ipv4.ip_forward is 0: packets stay", "mend it: sysctl -w x")


def test_doubts_make_it_unknown_and_so_does_another_node():
    doubtful = Trace((Way(1.0, Verdict.FORWARD, "10.0.0.1", 8080, masquerade=True, doubts=("filter FORWARD rule 1 may take it",)),))
    assert judge(OUTCOME, doubtful).status == UNKNOWN
    assert judge(OUTCOME, GOOD, elsewhere="pod a is on node n2").sentence == "unknown here: pod a is on node n2"


def test_a_flow_that_harms_is_broken_and_others_are_not():
    flow = FlowFacts("a → b → c", "stale-backend", "to an endpoint that is gone", harms=True)
    assert "one that exists does not" in judge(OUTCOME, GOOD, flows=[flow]).sentence
    assert judge(OUTCOME, GOOD, flows=[FlowFacts("a", "stale-backend", "gone")]).status == WORKS


def test_a_name_that_the_resolver_answers_otherwise_is_broken():
    wrong = Answered("this node's resolver answers web with nothing", agrees=False, broken=True)
    assert judge(OUTCOME, GOOD, resolver=wrong).sentence == "broken: this node's resolver answers web with nothing"
    assert judge(OUTCOME, GOOD, resolver=Answered("x", agrees=False)).status == WORKS
    assert "no rule or server" in judge(OUTCOME, LOST, resolver=wrong).sentence  # what the kernel lacks comes first


def test_a_refusal_that_is_meant_does_not_work_all_the_same():
    outcome = Outcome(Verdict.REJECT, "SEM-01: no endpoint is ready", SourcePlace.POD)
    found = judge(outcome, Trace((Way(1.0, Verdict.REJECT, "10.96.0.1", 80),)))
    assert (found.status, found.sentence) == (REFUSED, "does not connect, as specified: rejected, SEM-01: no endpoint is ready")
    untouched = Outcome(Verdict.UNTOUCHED, "no Service has this address", SourcePlace.POD)
    assert judge(untouched, LOST).status == UNKNOWN
    assert judge(untouched, LOST, direct=True).status == WORKS


def test_what_could_not_be_read_may_be_why_nothing_answers():
    lost = "api: Service shop/web: spec.ports: expected array"
    outcome = Outcome(Verdict.REJECT, "SEM-01: no endpoint is ready", SourcePlace.POD)
    found = judge(outcome, Trace((Way(1.0, Verdict.REJECT, "10.96.0.1", 80),)), unread=[lost, "api: more"])
    assert found.status == REFUSED
    assert found.sentence == f"does not connect: rejected, SEM-01: no endpoint is ready; it may be for what could not be read: {lost}"
    untouched = Outcome(Verdict.UNTOUCHED, "no Service has this address", SourcePlace.POD)
    assert lost in judge(untouched, LOST, unread=[lost]).sentence
    assert judge(OUTCOME, GOOD, unread=[lost]) == judge(OUTCOME, GOOD)


@pytest.mark.parametrize(("status", "number"), [(WORKS, 0), (BROKEN, 1), (REFUSED, 1), (UNKNOWN, 2)])
def test_exit_statuses(status, number):
    assert STATUS[status] == number
