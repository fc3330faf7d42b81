"""Equal parts are kept once, and nothing changes its value."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.objects import EndpointSlice, KubeObject, Node, Service
from pointsman.kube.share import shared

SLICE = (
    b'{"metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",'
    b' "endpoints": [{"addresses": ["10.0.0.%d"], "conditions": {"ready": true}, "nodeName": "n1", "zone": "a",'
    b' "hints": {"forZones": [{"name": "a"}]}, "targetRef": {"kind": "Pod", "name": "web-%d"}}], "ports": [{"name": "http", "port": 80}]}'
)


def test_what_repeats_becomes_one_object() -> None:
    first, second = (shared(msgspec.json.decode(SLICE % (n, n), type=EndpointSlice)) for n in (1, 2))
    assert isinstance(first, EndpointSlice)
    assert isinstance(second, EndpointSlice)
    assert first.endpoints
    assert second.endpoints
    one, other = first.endpoints[0], second.endpoints[0]
    assert one.node_name is other.node_name
    assert one.zone is other.zone
    assert one.conditions is other.conditions
    assert one.hints is other.hints
    assert one.target_ref is not None
    assert other.target_ref is not None
    assert one.target_ref.kind is other.target_ref.kind
    assert first.ports is second.ports
    assert first.metadata.namespace is second.metadata.namespace


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.from_type(Service), st.from_type(EndpointSlice), st.from_type(Node)))
def test_sharing_never_changes_a_value(value: KubeObject) -> None:
    assert shared(value) == value
