import pytest
from pointsman.explain.question import PodPlace, QuestionError, Target, port_of, source, target
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol
from proxy.views import small

NODE = NodeFacts("n1", node_ips={Family.IPV4: "192.168.50.1", Family.IPV6: "::1"}, local_addresses={Family.IPV4: ("192.168.50.1",)})
PODS = [
    PodPlace("shop", "web-1", ("10.244.1.5",), "n1"), PodPlace("shop", "web-1", ("fd00::5",), "n1"),
    PodPlace("shop", "x", ("10.244.2.5",), "n2"),
]  # fmt: skip
NODES = {"n1": ("192.168.50.1",), "n2": ("192.168.50.2",)}


def asked(text):
    return source(text, NODE, PODS, NODES)


def test_every_way_to_say_who_sends():
    assert asked("pod/shop/web-1").addresses == {Family.IPV4: "10.244.1.5", Family.IPV6: "fd00::5"}
    assert (asked("pod/shop/web-1").namespace, asked("pod/shop/x").node) == ("shop", "n2")
    assert asked("node").here
    assert asked("node").addresses == {Family.IPV4: "192.168.50.1"}
    assert asked("node/n1").here
    assert asked("node/n2").addresses == {Family.IPV4: "192.168.50.2"}
    assert asked("10.244.2.5").words == "pod shop/x"
    assert asked("192.168.50.1").here
    assert asked("198.51.100.7").words == "address 198.51.100.7"


def test_an_address_is_the_same_however_it_is_written():
    node = NodeFacts("n1", local_addresses={Family.IPV6: ("fd00:20::1", "fe80::1%eth0"), Family.IPV4: ("192.168.50.1",)})
    for text in ("fd00:20:0::1", "FD00:20::0001", "fe80::1%eth0", "fe80::1", "::ffff:192.168.50.1", "192.168.050.1"):
        assert source(text, node, PODS, NODES).here, text
    odd = [PodPlace("shop", "odd", ("FD00:0::9",), "n2")]
    assert source("fd00::0:9", node, odd, NODES).addresses == {Family.IPV6: "fd00::9"}
    assert source("fd00::9", node, odd, NODES).words == "pod shop/odd"
    assert target("[FD00:0::9]:80", node).address == "fd00::9"


@pytest.mark.parametrize(("text", "says"), [
    ("pod/web-1", "write pod/NAMESPACE/NAME"), ("pod/shop/none", "kubectl -n shop get pod none"), ("node/n9", "known: n1, n2"),
    ("web", "write pod/NAMESPACE/NAME, node, or an address"),
])  # fmt: skip
def test_what_is_no_source_says_how_to_write_it(text, says):
    with pytest.raises(QuestionError, match=says):
        asked(text)


@pytest.mark.parametrize(("text", "found"), [
    ("db.shop:5432", Target("db.shop:5432", "5432", name="db.shop")),
    ("db", Target("db", "", name="db")),
    ("shop/db:pg", Target("shop/db:pg", "pg", service=("shop", "db"))),
    ("service/shop/db", Target("shop/db", "", service=("shop", "db"))),
    ("10.96.0.1:80", Target("10.96.0.1:80", "80", address="10.96.0.1")),
    ("[fd00:0::1]:80", Target("[fd00:0::1]:80", "80", address="fd00::1")),
    ("nodeport/30080", Target("node port 30080", "30080", address="192.168.50.1")),
    (":30080", Target("node port 30080", "30080", address="192.168.50.1")),
])  # fmt: skip
def test_every_way_to_say_where_to(text, found):
    assert target(text, NODE) == found


@pytest.mark.parametrize("text", ["", "fd00::1", "[fd00::1]", "nodeport/99999", "nodeport/x"])
def test_what_is_no_target_says_so(text):
    with pytest.raises(QuestionError):
        target(text, NODE)


def test_a_port_may_be_a_number_a_name_or_left_out():
    routing = small().routing
    web = [("shop", "web")]
    for port in ("80", "http", ""):
        assert port_of(Target("web", port), routing, web, Protocol.TCP) == (80, Protocol.TCP)
    with pytest.raises(QuestionError, match=r"say which port: http \(80/tcp\)|say which port"):
        port_of(Target("web", "grpc"), routing, web, Protocol.TCP)
