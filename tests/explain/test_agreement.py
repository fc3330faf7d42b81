from pointsman.dataplane.trace import Evidence, Trace, Way
from pointsman.explain.agreement import doubts, mismatches
from pointsman.routing.packet import Outcome, Share, SourcePlace, Verdict
from pointsman.routing.route import Backend

FIRST, SECOND = Backend("10.0.0.1", 8080, local=True, hairpin=True), Backend("10.0.0.2", 8080, local=False, hairpin=False)
GOOD = Outcome(
    Verdict.FORWARD, "SEM-03: every endpoint", SourcePlace.POD,
    shares=(Share(FIRST, 0.5, masquerade=False, reason="pod"), Share(SECOND, 0.5, masquerade=False, reason="pod")),
)  # fmt: skip
REFUSED = Outcome(Verdict.REJECT, "SEM-01: no endpoint", SourcePlace.POD)
FOREIGN = Evidence("filter FORWARD rule 1", "-j DROP", ours=False)


def way(address, odds=0.5, **more):
    return Way(odds, Verdict.FORWARD, address, 8080, **more)


def told(outcome, *ways, **more):
    return [one.text for one in mismatches(outcome, Trace(ways), **more)]


def test_agreement_is_silence():
    assert told(GOOD, way("10.0.0.1"), way("10.0.0.2")) == []
    assert told(REFUSED, Way(1.0, Verdict.REJECT, "10.96.0.1", 80)) == []


def test_endpoints_that_lack_or_should_not_be_there():
    assert told(GOOD, way("10.0.0.1", 1.0)) == ["the kernel lacks endpoint 10.0.0.2:8080"]
    assert "sends to 10.0.0.9:8080, which is no endpoint" in told(GOOD, way("10.0.0.1"), way("10.0.0.2", 0.3), way("10.0.0.9", 0.2))[0]


def test_shares_count_unless_the_mode_weighs():
    ways = (way("10.0.0.1", 0.9), way("10.0.0.2", 0.1))
    assert told(GOOD, *ways)[0] == "endpoint 10.0.0.1:8080 gets 90.0% of connections instead of 50.0%"
    assert told(GOOD, *ways, weighted=True) == []


def test_masquerade_counts_but_not_on_this_node_itself():
    assert "is masqueraded, but should keep its source" in told(GOOD, way("10.0.0.1", masquerade=True), way("10.0.0.2"))[0]
    assert told(GOOD, way("10.0.0.1", masquerade=True, local=True), way("10.0.0.2")) == []


def test_a_refusal_names_who_refuses_and_whose_it_is():
    found = mismatches(GOOD, Trace((Way(1.0, Verdict.DROP, "10.0.0.1", 8080, evidence=(FOREIGN,)),)))
    assert [one.text for one in found] == ["the packet is dropped by filter FORWARD rule 1, which is not pointsman's: -j DROP"]
    assert found[0].foreign


def test_what_should_be_refused_and_passes():
    assert told(REFUSED, way("10.0.0.1", 1.0)) == ["the packet is sent to 10.0.0.1:8080, but should be rejected"]
    assert told(GOOD, Way(1.0, Verdict.UNTOUCHED, "10.96.0.1", 80)) == ["no rule or server of the kernel takes the packet to an endpoint"]


def test_doubts_are_told_once():
    assert doubts(Trace((way("a", doubts=("x",)), way("b", doubts=("x", "y"))))) == ("x", "y")
