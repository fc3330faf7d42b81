from pointsman.dataplane.traffic import Passed
from pointsman.explain.traffic import rates, rows
from pointsman.kube.objects import ObjectMeta, Service, ServicePort, ServiceSpec
from pointsman.routing.build import build
from proxy.views import NODE, small, snapshot

ROUTING = small().routing
SPEC = ServiceSpec(type="NodePort", cluster_ip="10.96.0.10", ports=(ServicePort(80, "http", None, 30080),))


def test_counters_are_added_up_by_service_port_and_endpoint_with_skew():
    found = rows([
        Passed("TCP", "10.96.0.10", 80, "10.244.1.1", 8080, 30, 300, 3000),
        Passed("TCP", "", 0, "10.244.1.1", 8080, 30, subject="shop/web:http"),
        Passed("TCP", "", 0, "10.244.2.1", 8080, 20, subject="shop/web:http"),
        Passed("TCP", "192.0.2.1", 80, "10.0.0.9", 80, 5),
    ], ROUTING)  # fmt: skip
    assert [(row.service, row.endpoint, row.connections) for row in found] == [
        ("shop/web:http", "", 80), ("shop/web:http", "10.244.1.1:8080", 60), ("shop/web:http", "10.244.2.1:8080", 20),
    ]  # fmt: skip
    assert (found[0].skew, found[0].packets_in, found[0].packets_out) == (1.5, 300, None)
    assert found[1].pod == "pod-10.244.1.1"


def test_rates_are_per_second_and_a_counter_that_began_anew_counts_from_zero():
    before = rows([Passed("TCP", "", 0, "10.244.1.1", 8080, 100, subject="shop/web:http")], ROUTING)
    for count, expected in ((120, 10), (8, 4)):
        after = rows([Passed("TCP", "", 0, "10.244.1.1", 8080, count, subject="shop/web:http")], ROUTING)
        assert [row.connections for row in rates(before, after, 2.0)] == [expected, expected]


def test_nothing_passed_has_no_skew():
    assert rows([Passed("TCP", "", 0, "10.244.1.1", 8080, 0, subject="shop/web:http")], ROUTING)[0].skew is None


def test_a_node_port_is_the_service_ports_at_whatever_address():
    routing = build(snapshot([Service(ObjectMeta("web", "shop"), SPEC)], []), NODE)
    [head, _] = rows([Passed("TCP", "192.168.50.1", 30080, "10.244.1.1", 8080, 4)], routing)
    assert (head.service, head.connections) == ("shop/web:http", 4)
