"""The oracle's vocabulary: values that compare, and a packet that this node sends has no interface."""

from pointsman.routing.packet import Outcome, Packet, Share, SourcePlace, Verdict
from pointsman.routing.route import Backend, Protocol


def test_a_packet_is_a_value():
    packet = Packet("10.244.0.5", "10.96.0.1", Protocol.TCP, 80, "cni0")
    assert packet == Packet("10.244.0.5", "10.96.0.1", Protocol.TCP, 80, "cni0")
    assert len({packet, Packet("10.244.0.5", "10.96.0.1", Protocol.TCP, 80)}) == 2
    assert Packet("172.16.0.1", "10.96.0.1", Protocol.TCP, 80).interface == ""


def test_an_outcome_without_backends_has_no_shares():
    refused = Outcome(Verdict.REJECT, "no endpoints (SEM-01)", SourcePlace.POD)
    assert (refused.shares, refused.port_name, refused.frontend, refused.affinity_seconds) == ((), None, None, 0)
    share = Share(Backend("10.1.0.1", 80, local=True, hairpin=True), 1.0, masquerade=False, reason="pod")
    assert refused != Outcome(Verdict.FORWARD, "one endpoint", SourcePlace.POD, shares=(share,))
