import msgspec
from pointsman.proxy.picture import KnownPod, KnownService, Picture, document, picture

from .views import large, small


def test_the_document_in_pieces_is_the_picture():
    view = small()
    found = msgspec.json.decode(b"".join(document(view)), type=Picture)
    assert found == picture(view)
    assert found.routing().routes == view.routing.routes
    assert found.routing().cluster_ips == view.routing.cluster_ips


def test_services_and_pods_are_known_by_name_also_those_that_are_not_routed():
    found = picture(small())
    assert KnownService("shop", "web", "NodePort", ("10.96.0.10",)) in found.services
    assert KnownPod("shop", "pod-10.244.2.2", ("10.244.2.2",), "n2") in found.pods


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
