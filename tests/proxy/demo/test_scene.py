"""The questions of the demonstration: every Service, every kind of source, every kind of outcome."""

import pytest
from msgspec import structs
from pointsman.proxy.demo import scene
from pointsman.proxy.demo.lab_topology import Topology
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Verdict
from pointsman.routing.route import Family


def test_every_routed_service_port_is_asked_in_both_families(cases, routing):
    asked = {(case.subject, case.family) for case in cases}
    assert {(str(key.port_name), key.family) for key in routing.routes} <= asked


def test_both_families_are_asked_the_same(cases):
    def kinds(family):
        return [(case.subject, case.frontend.rpartition(" ")[0], case.port, case.sender.words) for case in cases if case.family is family]

    assert sorted(kinds(Family.IPV4)) == sorted(kinds(Family.IPV6))


def test_every_outcome_occurs(cases, snapshot, node_facts, routing):
    oracles = {node: Oracle(routing, node_facts(node)) for node in scene.TOPOLOGY.node_names}
    outcomes = [oracles[case.sender.node].trace(case.packet) for case in cases]
    assert {outcome.verdict for outcome in outcomes} == {Verdict.FORWARD, Verdict.REJECT, Verdict.DROP}
    assert any(outcome.affinity_seconds for outcome in outcomes)
    masqueraded = [{share.masquerade for share in outcome.shares} for outcome in outcomes]
    assert {True} in masqueraded
    assert {False} in masqueraded
    assert {True, False} in masqueraded, "hairpin: only the pod itself is masqueraded (SEM-20)"
    numbers = {outcome.reason.partition(":")[0] for outcome in outcomes}
    assert {"SEM-01", "SEM-03", "SEM-11", "SEM-12", "SEM-13", "SEM-14", "SEM-27", "SEM-28", "SEM-30"} <= numbers


def test_from_everywhere_to_external_frontends(find):
    for sender in ("pod till-0", "node n1", "outside via n1", "outside via n2"):
        assert find("shop/gateway:https", "load-balancer IP", sender).destination == "203.0.113.10"
    assert find("shop/web:http", "node port", "outside via n2").destination == "192.168.50.2"


def test_node_sends_without_an_input_interface_and_others_with_one(find):
    assert find("shop/web:http", "cluster IP", "node n1").packet.interface == ""
    assert find("shop/web:http", "cluster IP", "pod till-0").packet.interface.startswith("pod")
    assert find("shop/web:http", "node port", "outside via n1").packet.interface == "eth0"


def test_pods_and_openings_have_places(snapshot):
    names = scene.pods(snapshot)
    assert names["n1p6"] == "till-0"
    assert set(names.values()) == {pod.metadata.name for pod in snapshot.pods.values()}
    assert scene.Opening("n1p3", "UDP", 8125) in scene.openings(snapshot)
    assert scene.Opening("n2p5", "TCP", 5432) in scene.openings(snapshot)
    assert "n1p6" not in {opening.place for opening in scene.openings(snapshot)}


def test_a_pod_without_a_place_is_named(snapshot):
    with pytest.raises(scene.SceneError, match=r"Pod shop/till-0: no place with 10\.244\.1\.16 on n1"):
        scene.pods(snapshot, Topology(nodes=2, pods_per_node=5))


def test_somebody_must_be_there_to_ask(snapshot):
    pods = {key: pod for key, pod in snapshot.pods.items() if pod.metadata.name != "till-0"}
    with pytest.raises(scene.SceneError, match="no Pod on n1 that serves nothing"):
        scene.senders(structs.replace(snapshot, pods=pods))
