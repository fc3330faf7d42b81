"""The frontends a Service asks for, and what its own ports dispute among themselves."""

import pytest
from fakes.objects import HTTP, service
from pointsman.routing.frontends import HEALTH_CHECK, NODE_PORT, Claim, service_frontends
from pointsman.routing.node import ExternalIPPolicy
from pointsman.routing.route import Family, FrontendKind, Protocol
from pointsman.routing.service import service_facts

CLUSTER, EXTERNAL, BALANCER, NODE = FrontendKind.CLUSTER_IP, FrontendKind.EXTERNAL_IP, FrontendKind.LOAD_BALANCER_IP, FrontendKind.NODE_PORT
ALT = {"name": "alt", "port": 80, "protocol": "TCP"}


def frontends(**spec):
    return service_frontends(service_facts(service(**spec), ExternalIPPolicy()), "Service shop/web")


def wishes(found, index=0):
    return [(wish.kind, wish.claim.place, wish.claim.port, wish.field) for wish in found.ports[index].wishes]


def test_every_address_and_node_port_is_a_wish_with_its_field():
    found = frontends(externalIPs=["192.0.2.1"], ingress=[{"ip": "192.0.2.2"}], ports=[{**HTTP, "nodePort": 30080}])
    assert wishes(found) == [
        (CLUSTER, "10.96.0.1", 80, "spec.clusterIP"),
        (BALANCER, "192.0.2.2", 80, "status.loadBalancer.ingress[0].ip"),
        (EXTERNAL, "192.0.2.1", 80, "spec.externalIPs[0]"),
        (NODE, NODE_PORT, 30080, "spec.ports[0].nodePort"),
    ]
    assert found.notices == ()


def test_a_node_port_is_claimed_once_per_family():
    found = frontends(clusterIPs=["10.96.0.1", "fd00:96::1"], ipFamilies=["IPv4", "IPv6"], ports=[{**HTTP, "nodePort": 30080}])
    assert [port.wishes[1].claim.family for port in found.ports] == [Family.IPV4, Family.IPV6]
    assert len(set(found.claims())) == 4


@pytest.mark.parametrize(
    ("external", "ingress", "kinds"),
    [
        ("10.96.0.1", "192.0.2.1", [CLUSTER, BALANCER]),
        ("192.0.2.1", "10.96.0.1", [CLUSTER, EXTERNAL]),
        ("192.0.2.1", "192.0.2.1", [CLUSTER, BALANCER]),
    ],
)
def test_an_address_in_two_roles_is_programmed_once_without_a_word(external, ingress, kinds):
    found = frontends(externalIPs=[external], ingress=[{"ip": ingress}], loadBalancerSourceRanges=["10.0.0.0/8"])
    assert [wish.kind for wish in found.ports[0].wishes] == kinds
    assert found.notices == ()


def test_of_two_ports_with_one_number_the_first_has_the_frontends():
    found = frontends(externalIPs=["192.0.2.1"], ports=[HTTP, ALT])
    assert len(wishes(found)) == 2
    assert wishes(found, 1) == []
    assert {notice.field for notice in found.notices} == {"spec.ports[1].port"}
    assert "10.96.0.1:80/TCP belongs to spec.ports[0]" in found.notices[0].text


def test_of_two_ports_with_one_node_port_the_second_loses_only_that():
    found = frontends(ports=[{**HTTP, "nodePort": 30080}, {"name": "alt", "port": 81, "nodePort": 30080}])
    assert [wish.kind for wish in found.ports[1].wishes] == [CLUSTER]
    assert [notice.field for notice in found.notices] == ["spec.ports[1].nodePort"]


def test_one_number_may_serve_two_protocols():
    found = frontends(ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}])
    assert len(set(found.claims())) == 2
    assert found.notices == ()


def test_in_20_a_health_check_port_is_a_claim_too():
    found = frontends(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert found.health_check is not None
    assert found.health_check.claim == Claim(None, HEALTH_CHECK, 32000, Protocol.TCP)
    assert found.claims()[-1] == found.health_check.claim


def test_a_health_check_port_needs_something_to_check():
    nothing = frontends(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000, clusterIP="")
    assert nothing.health_check is None
    assert nothing.claims() == ()


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (Claim(Family.IPV4, "10.96.0.1", 80, Protocol.TCP), "10.96.0.1:80/TCP"),
        (Claim(Family.IPV6, "fd00::1", 53, Protocol.UDP), "[fd00::1]:53/UDP"),
        (Claim(Family.IPV6, NODE_PORT, 30080, Protocol.SCTP), "IPv6 node port 30080/SCTP"),
        (Claim(None, HEALTH_CHECK, 32000, Protocol.TCP), "health-check node port 32000/TCP"),
    ],
)
def test_claims_read_as_people_write_them(claim, text):
    assert str(claim) == text
