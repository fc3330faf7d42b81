"""C, L, R and any: each rule of docs/services.md section 2, and a literal second reading of them as a property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.endpoint import PortEndpoint
from pointsman.routing.route import Backend, TopologyMode
from pointsman.routing.selection import NOTHING, select

BOTH = {"uses_cluster": True, "uses_local": True}
CLUSTER_ONLY = {"uses_cluster": True, "uses_local": False}
LOCAL_ONLY = {"uses_cluster": False, "uses_local": True}


def make(number, *, local=False, ready=True, serving=True, terminating=False, zones="", nodes=()):
    backend = Backend(f"10.1.0.{number}", 80, local=local, hairpin=local)
    return PortEndpoint(backend, ready, serving, terminating, tuple(zones), tuple(nodes))


def leaving(number, *, local=False, serving=True):
    return make(number, local=local, ready=False, serving=serving, terminating=True)


def numbers(backends):
    return [int(backend.address.rpartition(".")[2]) for backend in backends]


def lists(endpoints, **uses):
    chosen = select(endpoints, node="n1", zone="a", **uses)
    return numbers(chosen.cluster), numbers(chosen.local), numbers(chosen.reachable), chosen.any_endpoint


def test_sel_01_no_endpoints():
    assert select((), node="n1", zone="a", **BOTH) == NOTHING
    assert (NOTHING.cluster, NOTHING.local, NOTHING.reachable, NOTHING.any_endpoint) == ((), (), (), False)


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([make(1), make(2, ready=False)], [1]),
        ([make(1), leaving(2)], [1]),
        ([leaving(1), leaving(2, serving=False), make(3, ready=False)], [1]),
        ([make(1, ready=False)], []),
    ],
)
def test_sel_02_cluster_is_ready_else_serving_and_terminating(endpoints, expected):
    assert lists(endpoints, **CLUSTER_ONLY) == (expected, [], expected, bool(expected))


def test_sel_02_the_fallback_ignores_topology():
    endpoint = make(1, ready=False, terminating=True, zones="b")
    assert lists([endpoint], **CLUSTER_ONLY)[0] == [1]


def test_sel_03_and_07_without_the_cluster_policy_only_local_ones_are_reached():
    assert lists([make(1, local=True), make(2)], **LOCAL_ONLY) == ([], [1], [1], True)


def test_sel_04_without_the_local_policy_reachable_is_cluster():
    chosen = select([make(1, local=True)], node="n1", zone="a", **CLUSTER_ONLY)
    assert chosen.local == ()
    assert chosen.reachable is chosen.cluster


def test_sel_05_any_looks_at_the_whole_cluster():
    assert lists([make(1)], **LOCAL_ONLY)[3]
    assert lists([leaving(1)], **LOCAL_ONLY)[3]
    assert not lists([make(1, ready=False), leaving(2, serving=False)], **LOCAL_ONLY)[3]


def test_sel_06_the_fallbacks_are_independent():
    """TRAP-03: the cluster list goes to a remote ready pod, the local list to a local terminating one."""
    assert lists([leaving(1, local=True), make(2)], **BOTH) == ([2], [1], [1, 2], True)


def test_sel_06_hints_never_affect_local():
    endpoints = [make(1, local=True, zones="b"), make(2, zones="a")]
    assert lists(endpoints, **BOTH) == ([2], [1], [1, 2], True)


def test_sel_08_reachable_is_cluster_or_the_union():
    assert lists([make(1, local=True), make(2)], **BOTH)[2] == [1, 2]
    assert lists([make(1, local=True, zones="b"), make(2, zones="a"), make(3, zones="b")], **BOTH)[2] == [1, 2]


def test_sel_09_any_with_nothing_reachable():
    assert lists([make(1)], **LOCAL_ONLY) == ([], [], [], True)


def test_sel_10_and_11_hints_choose_zone_or_node():
    assert lists([make(1, zones="a"), make(2, zones="b")], **CLUSTER_ONLY)[0] == [1]
    assert lists([make(1, nodes=["n2"]), make(2, nodes=["n1"])], **CLUSTER_ONLY)[0] == [2]
    assert lists([make(1, zones="a"), make(2)], **CLUSTER_ONLY)[0] == [1, 2]


def test_sel_12_without_a_zone_hints_are_ignored():
    chosen = select([make(1, zones="a")], node="n1", zone="", **CLUSTER_ONLY)
    assert numbers(chosen.cluster) == [1]
    assert chosen.topology.reason == "this node has no zone label"


def test_sel_13_endpoints_neither_ready_nor_serving_while_terminating_are_never_used():
    assert lists([make(1, local=True, ready=False), leaving(2, local=True, serving=False)], **BOTH) == ([], [], [], False)


def test_sel_14_ready_wins_in_each_scope():
    assert lists([make(1, local=True), leaving(2, local=True), leaving(3)], **BOTH) == ([1], [1], [1], True)


def test_equal_lists_are_one_tuple():
    chosen = select([make(1, local=True)], node="n1", zone="a", **BOTH)
    assert chosen.cluster is chosen.local is chosen.reachable


ENDPOINT = st.builds(
    make,
    st.integers(1, 6),
    local=st.booleans(),
    ready=st.booleans(),
    serving=st.booleans(),
    terminating=st.booleans(),
    zones=st.sampled_from(["", "a", "b", "ab"]),
    nodes=st.sampled_from([(), ("n1",), ("n2",)]),
)
ENDPOINTS = st.lists(ENDPOINT, max_size=6, unique_by=lambda one: one.backend.address).map(
    lambda all_: sorted(all_, key=lambda one: str(one.backend))
)


def literally(endpoints, uses_cluster, uses_local, node, zone):
    """Read SEL-01 to SEL-11 once more, as sets and without a thought for cost."""
    ready = {one for one in endpoints if one.ready}
    leaving_ones = {one for one in endpoints if one.serving and one.terminating}
    mode = TopologyMode.NONE
    if ready and all(one.nodes for one in ready) and any(node in one.nodes for one in ready):
        mode = TopologyMode.SAME_NODE
    elif ready and all(one.zones for one in ready) and zone and any(zone in one.zones for one in ready):
        mode = TopologyMode.SAME_ZONE
    fits = {
        TopologyMode.NONE: lambda _: True,
        TopologyMode.SAME_NODE: lambda one: node in one.nodes,
        TopologyMode.SAME_ZONE: lambda one: zone in one.zones,
    }
    cluster = ({one for one in ready if fits[mode](one)} or leaving_ones) if uses_cluster else set()
    if not uses_local:
        return cluster, set(), cluster, bool(cluster)
    usable = any(one.ready or (not one.ready and one.serving and one.terminating) for one in endpoints)
    local = {one for one in ready if one.backend.local} or {one for one in leaving_ones if one.backend.local}
    return cluster, local, cluster | local, usable


@given(ENDPOINTS, st.sampled_from([BOTH, CLUSTER_ONLY, LOCAL_ONLY]), st.sampled_from(["", "a", "c"]))
def test_the_rules_read_a_second_time_give_the_same(endpoints, uses, zone):
    chosen = select(endpoints, node="n1", zone=zone, **uses)
    expected = literally(endpoints, *uses.values(), "n1", zone)
    assert [set(chosen.cluster), set(chosen.local), set(chosen.reachable)] == [{one.backend for one in found} for found in expected[:3]]
    assert chosen.any_endpoint == expected[3]


@given(ENDPOINTS, st.sampled_from([BOTH, CLUSTER_ONLY, LOCAL_ONLY]))
def test_what_always_holds(endpoints, uses):
    chosen = select(endpoints, node="n1", zone="a", **uses)
    usable = {one.backend for one in endpoints if one.ready or (one.serving and one.terminating)}
    assert set(chosen.reachable) <= usable  # SEL-13
    assert all(backend.local for backend in chosen.local)
    assert set(chosen.reachable) == set(chosen.cluster) | set(chosen.local)
    for backends in (chosen.cluster, chosen.local, chosen.reachable):
        assert list(backends) == sorted(backends, key=str)  # IN-40
        assert len(set(backends)) == len(backends)


@pytest.mark.parametrize("uses", [BOTH, CLUSTER_ONLY, LOCAL_ONLY])
@given(st.data())
def test_ct_02_who_serves_and_is_not_reached_lingers(uses, data):
    flags = data.draw(st.lists(st.tuples(*[st.booleans()] * 4), max_size=6))
    endpoints = [
        make(number, local=local, ready=ready, serving=serving, terminating=terminating)
        for number, (local, ready, serving, terminating) in enumerate(flags, 1)
    ]
    chosen = select(endpoints, node="n1", zone="a", **uses)
    reached = set(numbers(chosen.reachable))
    serving = {number for number, (_, _, serves, _) in enumerate(flags, 1) if serves}
    assert set(numbers(chosen.lingering)) == serving - reached


def test_sel_14_terminating_endpoints_linger_beside_ready_ones():
    chosen = select([make(1), leaving(2), leaving(3, serving=False)], node="n1", zone="a", **CLUSTER_ONLY)
    assert (numbers(chosen.cluster), numbers(chosen.lingering)) == ([1], [2])
