"""Why an endpoint gets no new connection: never for one that the route reaches, always for one that it does not."""

import pytest
from fakes.objects import HTTP, endpoint, endpoint_slice, service, snapshot
from hypothesis import given
from hypothesis import strategies as st
from pointsman.routing.build import build
from pointsman.routing.exclusion import excluded
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Excluded

NODE = NodeFacts("n1", zone="a")


def explain(endpoints, **spec):
    made = endpoint_slice(*endpoints)
    (route,) = build(snapshot(service(**spec), made), NODE).routes.values()
    return route, excluded(route, {"web-1": made}, NODE)


LOCAL = {"internalTrafficPolicy": "Local"}
TERMINATING = {"ready": False, "serving": True, "terminating": True}


@pytest.mark.parametrize(
    ("one", "others", "spec", "reason"),
    [
        ({"ready": False}, [], {}, "not ready"),
        ({**TERMINATING, "serving": False}, [], {}, "terminating and no longer serving"),
        (TERMINATING, [endpoint("10.1.0.2")], {}, "terminating; new connections go to ready endpoints (1 ready)"),
        ({"node": "n2"}, [], LOCAL, "on node n2, and the traffic policy is Local"),
        ({}, [], LOCAL, "on no known node, and the traffic policy is Local"),
        ({**TERMINATING, "node": "n2"}, [], LOCAL, "terminating, on node n2, and the traffic policy is Local"),
        ({"zones": ("b", "c")}, [endpoint("10.1.0.2", zones=("a",))], {}, "meant for zone b, c; this node is in zone a"),
        ({"nodes": ("n2",)}, [endpoint("10.1.0.2", nodes=("n1",))], {}, "meant for node n2"),
    ],
)
def test_the_reason_is_given(one, others, spec, reason):
    _, found = explain([endpoint("10.1.0.1", **one), *others], **spec)
    assert found == (Excluded("10.1.0.1:8080", reason),)


def test_a_local_policy_for_outside_traffic_only_excludes_nobody():
    """SEM-12 and SEM-13: pods and this node reach remote endpoints all the same."""
    _, found = explain(
        [endpoint("10.1.0.1", node="n2")], type="NodePort", externalTrafficPolicy="Local", ports=[{**HTTP, "nodePort": 30080}]
    )
    assert found == ()


ENDPOINTS = st.lists(
    st.builds(
        endpoint,
        st.integers(1, 5).map("10.1.0.{}".format),
        node=st.sampled_from([None, "n1", "n2"]),
        ready=st.booleans(),
        serving=st.booleans(),
        terminating=st.booleans(),
        zones=st.sampled_from([(), ("a",), ("b",)]),
        nodes=st.sampled_from([(), ("n1",), ("n2",)]),
    ),
    max_size=5,
    unique_by=lambda one: one["addresses"][0],
)


@given(
    ENDPOINTS, st.sampled_from([{}, LOCAL, {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{**HTTP, "nodePort": 30080}]}])
)
def test_every_endpoint_is_either_reached_or_explained(endpoints, spec):
    route, found = explain(endpoints, **spec)
    reached, left_out = {str(backend) for backend in route.reachable}, {one.backend for one in found}
    assert reached | left_out == {f"{one['addresses'][0]}:8080" for one in endpoints}
    assert not reached & left_out
    assert all(one.reason and one.reason != "not taken into account yet" for one in found)
