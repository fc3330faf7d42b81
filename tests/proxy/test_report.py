import json
import time

from msgspec import structs
from pointsman.proxy.report import SCHEMA, services_document, status_document
from pointsman.routing.snapshot import EMPTY

from .views import large, small


def document(view, namespace="", name=""):
    return json.loads(b"".join(services_document(view, namespace, name)))


def test_the_status_says_who_and_how() -> None:
    value = json.loads(status_document(small()))
    assert value["schema"] == SCHEMA
    assert (value["node"], value["zone"], value["mode"], value["variant"]) == ("n1", "a", "iptables", "nft")
    assert value["waitingFor"] == []
    assert value["notices"][0] == {
        "subject": "Service shop/web", "field": "spec.externalIPs[0]", "text": "192.0.2.1 belongs to a node", "severity": "refused",
    }
    assert value["problems"][0]["where"] == "bad.yaml:3"


def test_in_07_it_says_what_it_waits_for() -> None:
    value = json.loads(status_document(structs.replace(small(), snapshot=EMPTY, routing=None)))
    assert value["waitingFor"] == ["Service", "EndpointSlice"]
    assert document(structs.replace(small(), snapshot=EMPTY, routing=None))["servicePorts"] == []


def test_a_service_port_tells_frontends_backends_and_who_is_left_out() -> None:
    api, six, web = document(small())["servicePorts"]
    assert (api["service"], api["internalMissing"], api["externalMissing"]) == ("api", "reject", None)
    assert (six["family"], six["backends"][0]["address"]) == ("IPv6", "fd00::1")
    assert web["frontends"] == [{"kind": "cluster IP", "address": "10.96.0.10", "port": 80}]
    assert web["internalTrafficPolicy"] == "Cluster"
    assert [(one["address"], one["pod"], one["node"], one["local"], one["cluster"]) for one in web["backends"]] == [
        ("10.244.1.1", "pod-10.244.1.1", "n1", True, True),
        ("10.244.2.1", "pod-10.244.2.1", "n2", False, True),
    ]
    assert web["excluded"] == [{"backend": "10.244.2.2:8080", "reason": "not ready"}]
    assert web["topology"] == {"mode": "none", "reason": ""}


def test_one_service_can_be_asked_for() -> None:
    assert [port["service"] for port in document(small(), "shop", "web")["servicePorts"]] == ["web"]
    assert document(small(), "shop", "nobody")["servicePorts"] == []
    assert document(small(), "nowhere")["servicePorts"] == []
    assert len(document(small(), "shop")["servicePorts"]) == 3


def test_no_piece_of_a_large_document_holds_the_loop_for_long() -> None:
    view = large(5000, 10)
    pieces = services_document(view)
    longest, size = 0.0, 0
    while True:
        began = time.thread_time()
        piece = next(pieces, None)
        if piece is None:
            break
        longest = max(longest, time.thread_time() - began)
        size += len(piece)
    assert size > 5_000_000
    assert longest < 0.05
