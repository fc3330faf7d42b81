from pointsman.dataplane.trace import Evidence, Way
from pointsman.routing.packet import Verdict

RULE = Evidence("filter FORWARD rule 1", "-j DROP", ours=False)


def test_the_last_object_of_a_refused_way_is_the_culprit():
    assert Way(1.0, Verdict.DROP, "10.0.0.1", 80, evidence=(Evidence("a", "b"), RULE)).culprit == RULE
    assert Way(1.0, Verdict.FORWARD, "10.0.0.1", 80, evidence=(RULE,)).culprit is None
    assert Way(1.0, Verdict.REJECT, "10.0.0.1", 80).culprit is None
