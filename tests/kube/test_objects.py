"""The structs: references, and the fields they read."""

import msgspec
import pytest
from pointsman.kube.objects import KINDS, STRUCTS, EndpointSlice, Kind, Node, ObjectMeta, ObjectRef, Service, ref_of


def test_every_kind_has_a_struct_named_like_it() -> None:
    assert set(STRUCTS) == set(Kind)
    assert {struct.__name__ for struct in STRUCTS.values()} == {kind.value for kind in Kind}
    assert all(KINDS[struct] is kind for kind, struct in STRUCTS.items())


def test_references_print_as_people_write_them() -> None:
    assert str(ref_of(Service(ObjectMeta("web", "shop")))) == "Service shop/web"
    assert str(ref_of(Node(ObjectMeta("n1")))) == "Node n1"


def test_references_of_one_kind_have_an_order() -> None:
    first, second = ObjectRef(Kind.POD, "a", "z"), ObjectRef(Kind.POD, "b", "a")
    assert sorted([second, first]) == [first, second]


def test_field_names_are_the_api_s() -> None:
    """IN-13, IN-36: fields with capitals inside, and labels with a domain, are found."""
    service = msgspec.json.decode(
        b'{"metadata": {"name": "web", "labels": {"service.kubernetes.io/headless": "", "app": "web"}},'
        b' "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "externalIPs": ["192.0.2.1"],'
        b' "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "healthCheckNodePort": 30000},'
        b' "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9", "ipMode": "Proxy"}]}}}',
        type=Service,
    )
    assert service.metadata.labels is not None
    assert service.metadata.labels.headless == ""
    assert service.metadata.labels.service_name is None
    assert (service.spec.cluster_ip, service.spec.cluster_ips, service.spec.external_ips) == ("10.96.0.1", ("10.96.0.1",), ("192.0.2.1",))
    assert service.spec.session_affinity_config is not None
    assert service.spec.session_affinity_config.client_ip is not None
    assert service.spec.session_affinity_config.client_ip.timeout_seconds == 5
    assert service.spec.health_check_node_port == 30000
    assert service.status is not None
    assert service.status.load_balancer is not None
    assert service.status.load_balancer.ingress is not None
    assert service.status.load_balancer.ingress[0].ip_mode == "Proxy"


@pytest.mark.parametrize("port", [2**31, -(2**31) - 1, 10**40])
def test_numbers_are_what_the_api_can_hold(port: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"metadata": {"name": "x"}, "ports": [{"port": port}]}, EndpointSlice)
