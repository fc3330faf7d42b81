"""Topology hints: all or none, and why not (SEL-10 to SEL-12)."""

import pytest
from pointsman.routing.endpoint import PortEndpoint
from pointsman.routing.route import Backend, Topology, TopologyMode
from pointsman.routing.topology import NO_HINTS, available, topology


def at(number, *, zones="", nodes=(), ready=True):
    backend = Backend(f"10.1.2.{number}", 80, local=False, hairpin=False)
    return PortEndpoint(backend, ready=ready, zones=tuple(zones), nodes=tuple(nodes))


ZONE, NODE, NONE = TopologyMode.SAME_ZONE, TopologyMode.SAME_NODE, TopologyMode.NONE


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([at(1), at(2)], NO_HINTS),
        ([at(1, zones="a"), at(2, zones="b")], Topology(ZONE)),
        ([at(1, zones="ab"), at(2, zones="b")], Topology(ZONE)),
        ([at(1, zones="a"), at(3)], Topology(NONE, "endpoint 10.1.2.3:80 has no zone hint")),
        ([at(1, zones="b"), at(2, zones="c")], Topology(NONE, "no endpoint hints zone a")),
        ([at(1, nodes=["n1"]), at(2, nodes=["n2"])], Topology(NODE)),
        ([at(1, nodes=["n1"]), at(2)], Topology(NONE, "endpoint 10.1.2.2:80 has no node hint")),
        ([at(1, nodes=["n2"])], Topology(NONE, "no endpoint hints node n1")),
        ([at(1, nodes=["n1"], zones="b")], Topology(NODE)),
        ([at(1, nodes=["n2"], zones="a")], Topology(ZONE, "no endpoint hints node n1")),
        ([at(1, nodes=["n2"], zones="b")], Topology(NONE, "no endpoint hints node n1; no endpoint hints zone a")),
    ],
)
def test_sel_10_the_mode_and_why_hints_are_ignored(endpoints, expected):
    assert topology(endpoints, "n1", "a") == expected


def test_sel_10_only_ready_endpoints_have_a_say():
    assert topology([at(1, zones="a"), at(2, ready=False)], "n1", "a").mode is ZONE
    assert topology([at(1, zones="b"), at(2, zones="a", ready=False)], "n1", "a").mode is NONE
    assert topology([at(1, zones="a", ready=False)], "n1", "a") == NO_HINTS


def test_sel_11_availability_follows_the_mode():
    endpoints = [at(1, zones="ab", nodes=["n1"]), at(2, zones="b", nodes=["n1", "n2"]), at(3, zones="a", nodes=["n2"])]
    assert available(endpoints, NONE, "n1", "a") == endpoints
    assert available(endpoints, ZONE, "n1", "a") == [endpoints[0], endpoints[2]]
    assert available(endpoints, NODE, "n1", "a") == [endpoints[0], endpoints[1]]


def test_sel_12_a_node_without_zone_obeys_no_zone_hint():
    assert topology([at(1, zones="a")], "n1", "") == Topology(NONE, "this node has no zone label")
    assert topology([at(1, zones=("",))], "n1", "") == Topology(NONE, "this node has no zone label")
