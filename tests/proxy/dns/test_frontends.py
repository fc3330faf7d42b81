"""The cluster's DNS Service as modes see it: further frontends for the node's own addresses, withheld where they would be in the way."""

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
    frontends = Frontends("kube-system/kube-dns", OWN, withholds=False)
    route, other = dns(), make.route(Family.IPV4, name="web", cluster_ip="10.96.0.80")
    found = frontends.offered(change(route, other))
    assert found.changed[route.key].external_ips == ("169.254.20.10",)
    assert found.routing.routes[route.key].external_ips == ("169.254.20.10",)
    assert found.changed[other.key] == other
    assert found.routing.routes[other.key] == other
    assert frontends.again(make.routing(route)) is None


def test_other_ports_and_services_stay_as_they_are():
    frontends = Frontends("kube-system/kube-dns", OWN, withholds=True)
    frontends.serving = True
    metrics = structs.replace(dns(), port=9153)
    given = change(metrics)
    assert frontends.offered(given) is given


def test_nld_41_a_mode_that_would_take_the_queries_is_offered_no_frontend_while_the_resolver_answers():
    frontends = Frontends("kube-system/kube-dns", OWN, withholds=True)
    route = dns()
    assert frontends.offered(change(route)).changed[route.key].cluster_ip == "10.96.0.10"
    frontends.serving = True
    withheld = frontends.again(make.routing(route)).changed[route.key]
    assert (withheld.cluster_ip, withheld.external_ips) == ("", ())
    frontends.serving = False
    again = frontends.again(make.routing(route)).changed[route.key]
    assert (again.cluster_ip, again.external_ips) == ("10.96.0.10", ("169.254.20.10",))


def test_a_service_that_is_gone_is_offered_as_gone():
    frontends = Frontends("kube-system/kube-dns", OWN, withholds=True)
    route = dns()
    frontends.offered(change(route))
    gone = RoutingChange(make.routing(), {route.key: None})
    assert frontends.offered(gone).changed == {route.key: None}
    assert frontends.again(make.routing()) is None
