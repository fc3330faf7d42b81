import msgspec
from msgspec.structs import replace
from pointsman.kube.objects import Endpoint, TargetRef
from pointsman.proxy.picture import KnownPod, KnownService, Picture, document, picture

from .views import PROBLEM, endpoint_slice, large, service, small, snapshot


def test_the_document_in_pieces_is_the_picture():
    view = small()
    found = msgspec.json.decode(b"".join(document(view)), type=Picture)
    assert found == picture(view)
    assert found.routing().routes == view.routing.routes
    assert found.routing().cluster_ips == view.routing.cluster_ips


def test_what_could_not_be_read_is_in_the_picture():
    assert picture(small()).problems == (PROBLEM,)
    assert msgspec.json.decode(b"".join(document(small())), type=Picture).problems == (PROBLEM,)


def test_services_and_pods_are_known_by_name_also_those_that_are_not_routed():
    found = picture(small())
    assert KnownService("shop", "web", "NodePort", ("10.96.0.10",)) in found.services
    assert KnownPod("shop", "pod-10.244.2.2", ("10.244.2.2",), "n2") in found.pods


def test_a_pod_of_several_services_is_told_once_per_family():
    pod = TargetRef("Pod", "web-1")
    slices = [
        endpoint_slice(name, Endpoint((address,), node_name="n1", target_ref=pod), family=family)
        for name in ("a", "b") for family, address in (("IPv4", "10.244.1.1"), ("IPv6", "fd00::1"))
    ]  # fmt: skip
    named = [replace(one, metadata=replace(one.metadata, name=f"slice-{number}")) for number, one in enumerate(slices)]
    view = msgspec.structs.replace(small(), snapshot=snapshot([service("a", "10.96.0.1"), service("b", "10.96.0.2")], named))
    assert picture(view).pods == (KnownPod("shop", "web-1", ("10.244.1.1",), "n1"), KnownPod("shop", "web-1", ("fd00::1",), "n1"))


def test_no_piece_is_large():
    assert max(len(piece) for piece in document(large(500, 10))) < 500_000


def test_what_a_mode_is_offered_otherwise_is_what_it_is_held_to():
    view = small()
    offered = msgspec.structs.replace(view.routing, routes={})
    view = msgspec.structs.replace(view, offered=offered)
    assert picture(view).routes == msgspec.json.decode(b"".join(document(view)), type=Picture).routes == ()


def test_before_anything_is_read_there_is_a_picture_too():
    view = msgspec.structs.replace(small(), routing=None)
    assert msgspec.json.decode(b"".join(document(view)), type=Picture).routes == ()
