"""The cluster's DNS Service as modes see it: with further frontends, for the node's own addresses."""

from fakes import routes as make
from msgspec import structs
from pointsman.proxy.dns.frontends import Frontends
from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Family, Protocol

OWN = {Family.IPV4: ("169.254.20.10",)}


def dns(**changes):
    found = make.route(Family.IPV4, name="kube-dns", cluster_ip="10.96.0.10")
    name = structs.replace(found.port_name, namespace="kube-system", name="kube-dns", protocol=Protocol.UDP)
    return structs.replace(found, port_name=name, port=53, **changes)


def change(*routes):
    routing = make.routing(*routes)
    return RoutingChange(routing, dict(routing.routes))


def test_nld_42_the_nodes_own_addresses_fall_back_to_the_cluster_too():
    frontends = Frontends("kube-system/kube-dns", OWN)
    route, other = dns(), make.route(Family.IPV4, name="web", cluster_ip="10.96.0.80")
    found = frontends.offered(change(route, other))
    assert found.changed[route.key].external_ips == ("169.254.20.10",)
    assert found.routing.routes[route.key].external_ips == ("169.254.20.10",)
    assert found.changed[other.key] == other
    assert found.routing.routes[other.key] == other


def test_nld_42_where_only_endpoints_of_this_node_count_the_nodes_own_addresses_fall_back_to_them():
    here = make.backend(Family.IPV4, 1, local=True)
    route = dns(internal_local=True, local=(here,), reachable=(here,), any_endpoint=True)
    found = Frontends("kube-system/kube-dns", OWN).offered(change(route)).changed[route.key]
    assert (found.internal, found.external) == ((here,), (here,))


def test_nld_42_the_services_own_cluster_ip_is_no_further_frontend():
    route = dns()
    offered = Frontends("kube-system/kube-dns", {Family.IPV4: ("10.96.0.10", "169.254.20.10")}).offered(change(route))
    assert offered.changed[route.key].external_ips == ("169.254.20.10",)


def test_other_ports_and_services_stay_as_they_are():
    frontends = Frontends("kube-system/kube-dns", OWN)
    metrics = structs.replace(dns(), port=9153)
    given = change(metrics)
    assert frontends.offered(given) is given


def test_a_service_that_is_gone_is_offered_as_gone():
    frontends = Frontends("kube-system/kube-dns", OWN)
    route = dns()
    frontends.offered(change(route))
    gone = RoutingChange(make.routing(), {route.key: None})
    assert frontends.offered(gone).changed == {route.key: None}
