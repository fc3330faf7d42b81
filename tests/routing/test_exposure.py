"""Suspicious addresses: noticed, and no more than noticed; but no cluster IP may cut off a node."""

import pytest
from fakes.objects import endpoint, endpoint_slice, node, service, service_cidr, snapshot
from pointsman.routing.build import Builder, build
from pointsman.routing.exposure import Exposure, Surroundings, Watchlist, refuse_node_addresses, surroundings
from pointsman.routing.node import ExternalIPPolicy, NodeFacts
from pointsman.routing.route import Family, FrontendKind, Severity
from pointsman.routing.service import service_facts
from pointsman.routing.snapshot import Dirty, ServiceKey

AROUND = Surroundings(
    node_addresses=frozenset({"172.16.0.1", "2001:db8::1"}),
    local_addresses=frozenset({"172.17.0.1"}),
    pod_ranges=("10.244.0.0/16", "fd00:244::/64"),
    service_cidrs={Family.IPV4: ("10.96.0.0/16",), Family.IPV6: ()},
)
WEB, SUBJECT = ServiceKey("shop", "web"), "Service shop/web"


def facts(**spec):
    return service_facts(service(**spec), ExternalIPPolicy())


def suspicions(watchlist=None, **spec):
    return Exposure(AROUND).suspicions(facts(**spec), SUBJECT, watchlist or Watchlist())


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("172.16.0.1", "an address of a node"),
        ("172.17.0.1", "an address of this machine"),
        ("10.244.3.4", "in the pod range 10.244.0.0/16"),
        ("10.96.3.4", "in the Service range 10.96.0.0/16"),
    ],
)
def test_suspicious_external_ips_are_reported(address, what):
    (notice,) = suspicions(externalIPs=["192.0.2.1", address])
    assert (notice.subject, notice.field, notice.severity) == (SUBJECT, "spec.externalIPs[1]", Severity.SUSPICIOUS)
    assert notice.text.startswith(f"{address} is {what}")


def test_an_ordinary_external_ip_is_not_reported():
    assert suspicions(externalIPs=["192.0.2.1"]) == ()


def test_a_load_balancer_ip_is_suspicious_only_if_it_is_a_nodes():
    ingress = [{"ip": "172.16.0.1"}, {"ip": "172.17.0.1"}, {"ip": "10.244.0.1"}]
    assert [notice.field for notice in suspicions(ingress=ingress)] == ["status.loadBalancer.ingress[0].ip"]


def test_an_external_ip_of_an_endpoint_is_suspicious():
    routes = build(snapshot(service(), endpoint_slice(endpoint("10.1.0.1"))), NodeFacts("n1")).routes
    watchlist = Watchlist()
    watchlist.put(WEB, (), ("10.1.0.1", "192.0.2.1"))
    assert watchlist.settle(routes) == set()  # who names a new address asks anyway
    (notice,) = suspicions(watchlist, externalIPs=["10.1.0.1", "192.0.2.1"])
    assert "the address of an endpoint" in notice.text


def test_the_watchlist_follows_the_routes():
    one = next(iter(build(snapshot(service(), endpoint_slice(endpoint("10.1.0.1"))), NodeFacts("n1")).routes.values()))
    watchlist = Watchlist()
    watchlist.put(WEB, (), ("10.1.0.1",))
    assert watchlist.settle({}) == set()
    watchlist.rerouted(None, one)
    assert watchlist.settle({one.key: one}) == {WEB}
    watchlist.rerouted(one, one)
    assert watchlist.settle({one.key: one}) == set()
    watchlist.rerouted(one, None)
    assert watchlist.settle({}) == {WEB}
    assert not watchlist.is_endpoint("10.1.0.1")


def test_the_watchlist_forgets_what_nobody_names():
    watchlist, other = Watchlist(), ServiceKey("shop", "other")
    watchlist.put(WEB, (), ("10.1.0.1",))
    watchlist.put(other, (), ("10.1.0.1",))
    one = next(iter(build(snapshot(service(), endpoint_slice(endpoint("10.1.0.1"))), NodeFacts("n1")).routes.values()))
    watchlist.settle({one.key: one})
    watchlist.put(WEB, ("10.1.0.1",), ())
    assert watchlist.is_endpoint("10.1.0.1")
    watchlist.put(other, ("10.1.0.1",), ())
    assert not watchlist.is_endpoint("10.1.0.1")
    watchlist.rerouted(one, None)
    assert watchlist.settle({}) == set()


def test_sem_27_a_cluster_ip_that_is_a_nodes_address_is_refused_alone():
    before = facts(clusterIP="172.16.0.1", externalIPs=["192.0.2.1"])
    after = refuse_node_addresses(before, AROUND, SUBJECT)
    assert after.families[0].addresses(FrontendKind.CLUSTER_IP) == ()
    assert after.families[0].addresses(FrontendKind.EXTERNAL_IP) == ("192.0.2.1",)
    assert [(notice.field, notice.severity) for notice in after.notices] == [("spec.clusterIP", Severity.REFUSED)]


def test_an_address_of_this_machine_may_be_a_cluster_ip():
    """Node-local DNS caches hold the cluster's DNS address on the node itself."""
    before = facts(clusterIP="172.17.0.1")
    assert refuse_node_addresses(before, AROUND, SUBJECT) is before


def test_in_04_service_ranges_are_the_union_of_all_objects_normalised():
    found = surroundings(
        snapshot(service_cidr("b", "10.97.0.1/16", "fd00:96::/112"), service_cidr("a", "10.96.0.0/16", "10.97.0.0/16")), NodeFacts("n1")
    )
    assert found.service_cidrs == {Family.IPV4: ("10.96.0.0/16", "10.97.0.0/16"), Family.IPV6: ("fd00:96::/112",)}


def test_pod_ranges_come_from_all_nodes():
    found = surroundings(
        snapshot(node("n1", podCIDR="10.244.0.0/24", podCIDRs=["10.244.0.0/24", "fd00::/64"]), node("n2", podCIDR="10.244.1.0/24")),
        NodeFacts("n1"),
    )
    assert found.pod_ranges == ("10.244.0.0/24", "10.244.1.0/24", "fd00::/64")
    assert found.notices == ()


def test_addresses_of_nodes_are_normalised():
    facts_of_node = NodeFacts(
        "n1", node_ips={Family.IPV4: "172.16.0.1", Family.IPV6: ""}, all_node_addresses=frozenset({"FD00::1", "name"})
    )
    assert surroundings(snapshot(), facts_of_node).node_addresses == {"172.16.0.1", "fd00::1"}


def test_ranges_that_are_none_are_reported():
    found = surroundings(snapshot(node("n1", podCIDRs=["10.244.0.0/24", "x"]), service_cidr("main", "y")), NodeFacts("n1"))
    assert [(notice.subject, notice.field) for notice in found.notices] == [
        ("Node n1", "spec.podCIDRs[1]"),
        ("ServiceCIDR main", "spec.cidrs[0]"),
    ]


def test_a_name_of_no_node_is_reported():
    (notice,) = surroundings(snapshot(node("n2"), node("n3")), NodeFacts("n1")).notices
    assert notice.subject == "Node n1"
    assert "n2, n3" in notice.text
    assert "--hostname-override" in notice.text


def test_without_any_node_no_name_is_wrong():
    assert surroundings(snapshot(), NodeFacts("n1")).notices == ()


STRICT = ExternalIPPolicy(refuse_node_addresses=True)


def test_pain_25_no_address_of_a_service_may_cut_a_node_off_where_the_mode_would_take_it():
    """Addresses of Services are made the node's own in ipvs mode: a node's address among them would make that node unreachable."""
    wanted = facts(externalIPs=["172.16.0.1", "192.0.2.1"], ingress=[{"ip": "172.16.0.1"}])
    found = refuse_node_addresses(wanted, AROUND, SUBJECT, every_kind=True)
    [family] = found.families
    assert [vip.address for vip in family.vips] == ["10.96.0.1", "192.0.2.1"]
    assert {notice.field for notice in found.notices} == {"spec.externalIPs[0]", "status.loadBalancer.ingress[0].ip"}
    assert {notice.severity for notice in found.notices} == {Severity.REFUSED}
    assert any("an external IP would cut off" in notice.text for notice in found.notices)


def test_pain_25_a_refused_address_is_programmed_once_its_node_is_gone():
    web = service(externalIPs=["172.16.0.1"])
    holder = NodeFacts("n1", all_node_addresses=frozenset({"172.16.0.1"}))
    builder = Builder(STRICT)
    world = snapshot(web, endpoint_slice(endpoint("10.1.0.1")))
    [route] = builder.update(world, Dirty(frozenset(world.services), frozenset()), holder).routing.routes.values()
    assert route.external_ips == ()
    [route] = builder.update(world, Dirty(frozenset(), frozenset()), NodeFacts("n1")).routing.routes.values()
    assert route.external_ips == ("172.16.0.1",)


VIP, OWN = "10.96.0.10", "fd53::20:10"
NAMES = {"name": "names", "port": 53, "protocol": "UDP"}
METRICS = {"name": "metrics", "port": 9153, "protocol": "TCP"}


def resolving(*addresses):
    """Return a node whose own resolver answers at these addresses."""
    six = tuple(one for one in addresses if ":" in one)
    return NodeFacts("n1", local_dns={Family.IPV4: tuple(one for one in addresses if one not in six), Family.IPV6: six})


def externals(routing, name):
    found = (route for route in routing.routes.values() if route.port_name.name == name)
    return {route.port: {*route.external_ips, *route.load_balancer_ips} for route in found}


def test_nld_42_who_claims_an_address_of_this_nodes_dns_does_not_get_its_queries():
    """Neither the node's own address nor the cluster's DNS address, over no protocol; other ports and addresses are as free as ever."""
    both = {"clusterIP": "10.96.0.66", "clusterIPs": ["10.96.0.66", "fd00:96::66"], "ipFamilies": ["IPv4", "IPv6"]}
    over_tcp = {"name": "names-tcp", "port": 53, "protocol": "TCP"}
    evil = service(
        "evil", **both, ports=[NAMES, over_tcp, METRICS], externalIPs=[OWN, VIP, "192.0.2.9"], ingress=[{"ip": "2001:db8::9"}, {"ip": VIP}]
    )
    dns = service("kube-dns", clusterIP=VIP, ports=[NAMES])
    found = build(snapshot(evil, dns), resolving(VIP, OWN))
    assert externals(found, "kube-dns") == {53: set()}
    evils = [route for route in found.routes.values() if route.port_name.name == "evil"]
    assert len(evils) == 6
    for route in evils:
        assert bool({VIP, OWN} & {*route.external_ips, *route.load_balancer_ips}) is (route.port != 53), route
    refused = [one for one in found.notices if one.severity is Severity.REFUSED]
    assert {one.subject for one in refused} == {"Service shop/evil"}
    assert f"[{OWN}]:53/UDP is answered by DNS of this node; this external IP is not programmed for it: name another address" in {
        one.text for one in refused
    }
    assert {one.field for one in refused} == {"spec.externalIPs[0]", "status.loadBalancer.ingress[1].ip"}


def test_nld_41_a_cluster_ip_at_which_this_node_answers_stays_its_services():
    found = build(snapshot(service("kube-dns", clusterIP=VIP, ports=[NAMES])), resolving(VIP))
    assert [route.cluster_ip for route in found.routes.values()] == [VIP]
    assert found.notices == ()


def test_nld_42_addresses_are_free_again_when_this_node_answers_there_no_more():
    builder, objects = Builder(), snapshot(service(ports=[NAMES], externalIPs=["192.0.2.53"]))
    for node_facts in (NodeFacts("n1"), resolving("192.0.2.53"), NodeFacts("n1")):
        found = builder.update(objects, Dirty(), node_facts).routing
        assert externals(found, "web") == {53: set() if node_facts.local_dns else {"192.0.2.53"}}
        assert found == build(objects, node_facts)
