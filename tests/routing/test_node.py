"""Facts about the node: what is known per family, and what holds where nothing is."""

import pytest
from pointsman.routing.node import DetectLocal, LocalDetector, NodeFacts, NodePortAddresses
from pointsman.routing.route import Family


@pytest.mark.parametrize(
    ("mode", "by_source"),
    [
        (DetectLocal.CLUSTER_CIDR, True),
        (DetectLocal.NODE_CIDR, True),
        (DetectLocal.BRIDGE_INTERFACE, False),
        (DetectLocal.INTERFACE_NAME_PREFIX, False),
    ],
)
def test_cfg_30_to_33_detectors_look_at_the_source_or_at_the_interface(mode, by_source):
    assert LocalDetector(mode, "x").by_source is by_source


def test_sem_05_a_family_without_detector_has_none():
    detector = LocalDetector(DetectLocal.CLUSTER_CIDR, "10.244.0.0/16")
    facts = NodeFacts("n1", detectors={Family.IPV4: detector})
    assert facts.detector(Family.IPV4) is detector
    assert facts.detector(Family.IPV6) is None


def test_sem_40_a_family_without_node_port_addresses_accepts_all_but_loopback():
    only = NodePortAddresses(match_all=False, addresses=("172.16.0.1",))
    facts = NodeFacts("n1", node_ports={Family.IPV4: only})
    assert facts.node_port_addresses(Family.IPV4) is only
    other = facts.node_port_addresses(Family.IPV6)
    assert (other.match_all, other.loopback) == (True, False)


def test_equal_facts_are_equal_values():
    assert NodeFacts("n1", zone="a") == NodeFacts("n1", zone="a")
    assert NodeFacts("n1", zone="a") != NodeFacts("n1", zone="b")
