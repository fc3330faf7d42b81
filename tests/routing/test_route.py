"""What a route says of itself: frontends, backends per frontend, and what happens without any."""

from itertools import product

import pytest
from pointsman.routing.route import (
    Backend,
    Family,
    Frontend,
    FrontendKind,
    Missing,
    Notice,
    Protocol,
    RouteKey,
    ServicePortName,
    ServiceRoute,
)

NAME = ServicePortName("shop", "web", "http", Protocol.TCP)
HERE, THERE = Backend("10.1.0.1", 8080, local=True, hairpin=True), Backend("10.1.0.2", 8080, local=False, hairpin=False)


def route(**facts):
    return ServiceRoute(NAME, Family.IPV4, "10.96.0.1", 80, **facts)


def test_in_12_a_service_port_is_written_with_its_port_name_if_it_has_one():
    assert str(NAME) == "shop/web:http"
    assert str(ServicePortName("shop", "dns", "", Protocol.UDP)) == "shop/dns"
    assert Protocol.SCTP.lower == "sctp"


def test_in_39_a_backend_is_known_by_address_and_port():
    assert str(HERE) == "10.1.0.1:8080"
    assert str(Backend("fd00::1", 8080, local=False, hairpin=False)) == "[fd00::1]:8080"


def test_a_route_knows_its_key_and_compares_by_value():
    assert route().key == RouteKey(Family.IPV4, NAME)
    assert route(cluster=(HERE,)) == route(cluster=(Backend("10.1.0.1", 8080, local=True, hairpin=True),))
    assert route() != route(any_endpoint=True)


def test_frontends_are_listed_cluster_ip_first():
    whole = route(external_ips=("192.0.2.1",), load_balancer_ips=("192.0.2.2",), node_port=30080)
    assert whole.frontends() == (
        Frontend(FrontendKind.CLUSTER_IP, "10.96.0.1", 80, Protocol.TCP),
        Frontend(FrontendKind.EXTERNAL_IP, "192.0.2.1", 80, Protocol.TCP),
        Frontend(FrontendKind.LOAD_BALANCER_IP, "192.0.2.2", 80, Protocol.TCP),
        Frontend(FrontendKind.NODE_PORT, "", 30080, Protocol.TCP),
    )
    assert ServiceRoute(NAME, Family.IPV4, "", 80).frontends() == ()


@pytest.mark.parametrize("facts", [{"node_port": 30080}, {"external_ips": ("192.0.2.1",)}, {"load_balancer_ips": ("192.0.2.1",)}])
def test_in_22_any_external_frontend_makes_it_externally_accessible(facts):
    assert route(**facts).externally_accessible
    assert not route().externally_accessible


@pytest.mark.parametrize(("inside", "outside"), list(product([False, True], repeat=2)))
def test_sem_17_and_sem_18_the_policies_do_not_touch_each_other(inside, outside):
    one = route(internal_local=inside, external_local=outside, cluster=(HERE, THERE), local=(HERE,), any_endpoint=True)
    assert one.internal == ((HERE,) if inside else (HERE, THERE))
    assert one.external == ((HERE,) if outside else (HERE, THERE))
    assert one.internal_missing is one.external_missing is None


@pytest.mark.parametrize(("any_endpoint", "missing"), [(False, Missing.REJECT), (True, Missing.DROP)])
def test_trap_02_drop_or_reject_depends_on_the_whole_cluster(any_endpoint, missing):
    one = route(internal_local=True, external_local=True, any_endpoint=any_endpoint)
    assert one.internal_missing is missing
    assert one.external_missing is missing


def test_a_notice_reads_as_one_line():
    assert str(Notice("Service shop/web", "spec.externalIPs[0]", "is none")) == "Service shop/web: spec.externalIPs[0]: is none"


def test_ct_02_a_connection_may_go_on_to_whom_is_reached_and_to_who_lingers():
    one, two = Backend("10.1.0.1", 80, local=False, hairpin=False), Backend("10.1.0.2", 80, local=False, hairpin=False)
    route = ServiceRoute(ServicePortName("shop", "web", "", Protocol.TCP), Family.IPV4, "10.96.0.1", 80, reachable=(one,), lingering=(two,))
    assert route.holds("10.1.0.1", 80)
    assert route.holds("10.1.0.2", 80)
    assert not route.holds("10.1.0.2", 81)
    assert not route.holds("10.1.0.3", 80)
