"""Snapshot → Routing: what Services get, who loses what, and that every path to a state gives the same routing."""

import pytest
from fakes.objects import HTTP, endpoint, endpoint_slice, node, service, service_cidr, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pointsman.kube.events import Batch, Remove, Upsert
from pointsman.kube.objects import Annotations, Kind, Labels, ObjectMeta, ref_of
from pointsman.routing.build import Builder, build
from pointsman.routing.node import ExternalIPPolicy, NodeFacts
from pointsman.routing.route import (
    Family,
    FrontendKind,
    HealthCheck,
    Protocol,
    RouteKey,
    ServicePortName,
    Severity,
    TopologyMode,
)
from pointsman.routing.snapshot import CLEAN, EMPTY, Dirty, advance

V4, V6 = Family.IPV4, Family.IPV6
N1 = NodeFacts("n1", zone="a", node_ips={V4: "172.16.0.1", V6: ""})
WEB = endpoint_slice(endpoint("10.1.0.1", node="n1"), endpoint("10.1.0.2", node="n2"))
DUAL = {"clusterIPs": ["10.96.0.1", "fd00:96::1"], "ipFamilies": ["IPv4", "IPv6"]}
BALANCED = {"type": "LoadBalancer", "ingress": [{"ip": "192.0.2.1"}]}
CHECKED = {**BALANCED, "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}


def key(name="web", port="http", family=V4, protocol=Protocol.TCP):
    return RouteKey(family, ServicePortName("shop", name, port, protocol))


def only(*values, facts=N1):
    (route,) = build(snapshot(*values), facts).routes.values()
    return route


def addresses(backends):
    return [backend.address for backend in backends]


# --- one Service -------------------------------------------------------------------------------------------------------


def test_a_route_has_everything_a_mode_needs():
    route = only(
        service(
            **BALANCED,
            externalIPs=["192.0.2.7"],
            ports=[{**HTTP, "nodePort": 30080}],
            sessionAffinity="ClientIP",
            loadBalancerSourceRanges=["10.0.0.0/8"],
        ),
        WEB,
    )
    assert route.key == key()
    assert (route.cluster_ip, route.port, route.node_port) == ("10.96.0.1", 80, 30080)
    assert (route.external_ips, route.load_balancer_ips, route.source_ranges) == (("192.0.2.7",), ("192.0.2.1",), ("10.0.0.0/8",))
    assert route.affinity_seconds == 10800
    assert [str(backend) for backend in route.cluster] == ["10.1.0.1:8080", "10.1.0.2:8080"]
    assert route.reachable is route.cluster
    assert route.any_endpoint


def test_a_service_without_endpoints_has_a_route_all_the_same():
    route = only(service())
    assert (route.reachable, route.any_endpoint) == ((), False)


def test_dual_stack_gives_a_route_per_family():
    six = endpoint_slice(endpoint("fd00:1::1"), name="web-6", family="IPv6")
    routes = build(snapshot(service(**DUAL), WEB, six), N1).routes
    assert {one.family: addresses(one.cluster) for one in routes.values()} == {V4: ["10.1.0.1", "10.1.0.2"], V6: ["fd00:1::1"]}


def test_in_01_and_in_02_what_belongs_to_others_is_not_routed():
    label = {"service.kubernetes.io/service-proxy-name": "other"}
    headless = endpoint_slice(endpoint("10.1.0.9"), name="web-h", labels={"service.kubernetes.io/headless": ""})
    assert build(snapshot(service(labels=label), WEB), N1).routes == {}
    assert addresses(only(service(), WEB, headless).cluster) == ["10.1.0.1", "10.1.0.2"]


def test_in_10_headless_and_external_name_services_leave_no_trace():
    routing = build(snapshot(service("a", clusterIP="None"), service("b", type="ExternalName", clusterIP="")), N1)
    assert (routing.routes, routing.notices, routing.cluster_ips[V4]) == ({}, (), frozenset())


def test_a_slice_of_an_unknown_address_type_is_reported_and_costs_the_others_nothing():
    odd = endpoint_slice(endpoint("10.1.0.2"), name="odd", family="")
    routing = build(snapshot(service(), endpoint_slice(endpoint("10.1.0.1")), odd), N1)
    assert [(notice.subject, notice.field) for notice in routing.notices] == [("EndpointSlice shop/odd", "addressType")]
    assert [backend.address for backend in routing.routes[key()].cluster] == ["10.1.0.1"]


def test_in_31_a_slice_without_owner_is_reported():
    routing = build(snapshot(service(), endpoint_slice(endpoint("10.1.0.1"), owner=None)), N1)
    assert [(notice.subject, notice.field) for notice in routing.notices] == [("EndpointSlice shop/web-1", "metadata.labels")]
    assert not routing.routes[key()].any_endpoint


def test_ext_01_slices_of_other_clusters_change_no_route_and_lack_no_owner():
    """One that names a Service of this cluster, too, is that Service's as any other."""
    alone, local = (replace(endpoint_slice(endpoint("10.1.0.1"), owner=owner), metadata=ObjectMeta(
        "east", "shop", labels=Labels(service_name=owner, import_name="web", source_cluster="east"),
    )) for owner in (None, "web"))  # fmt: skip
    routing = build(snapshot(service(), alone), N1)
    assert not routing.notices
    assert not routing.routes[key()].any_endpoint
    assert build(snapshot(service(), local), N1).routes[key()].any_endpoint


@pytest.mark.parametrize(
    ("spec", "cluster", "local"),
    [
        ({}, True, False),
        ({"internalTrafficPolicy": "Local"}, False, True),
        ({"internalTrafficPolicy": "Local", "ports": [{**HTTP, "nodePort": 30080}]}, True, True),
        ({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{**HTTP, "nodePort": 30080}]}, True, True),
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, True, False),
        ({"type": "NodePort", "ports": [{**HTTP, "nodePort": 30080}]}, True, False),
    ],
)
def test_in_22_which_lists_are_in_use(spec, cluster, local):
    route = only(service(**spec), WEB)
    assert (bool(route.cluster), bool(route.local)) == (cluster, local)


def test_in_55_the_zone_decides_which_hints_fit():
    hinted = endpoint_slice(endpoint("10.1.0.1", zones=("a",)), endpoint("10.1.0.2", zones=("b",)))
    builder, state = Builder(), snapshot(service(), hinted)
    assert addresses(builder.update(state, CLEAN, N1).routing.routes[key()].cluster) == ["10.1.0.1"]
    change = builder.update(state, CLEAN, replace(N1, zone="b"))
    assert addresses(change.routing.routes[key()].cluster) == ["10.1.0.2"]
    assert change.routing.routes[key()].topology.mode is TopologyMode.SAME_ZONE
    assert change.changed.keys() == {key()}


@pytest.mark.parametrize(("ranges", "holds"), [(["172.16.0.0/12"], True), (["10.0.0.0/8"], False), (["fd00::/8"], False), ([], False)])
def test_sem_32_the_vip_is_a_source_where_the_ranges_hold_the_node(ranges, holds):
    assert only(service(**BALANCED, loadBalancerSourceRanges=ranges), WEB).vip_is_source is holds


def test_sem_32_follows_the_ip_of_the_node():
    """Also when all addresses of nodes stay the same."""
    known = replace(N1, all_node_addresses=frozenset({"172.16.0.1", "10.0.0.1"}))
    builder, state = Builder(), snapshot(service(**BALANCED, loadBalancerSourceRanges=["10.0.0.0/8"]))
    assert not builder.update(state, CLEAN, known).routing.routes[key()].vip_is_source
    change = builder.update(state, CLEAN, replace(known, node_ips={V4: "10.0.0.1"}))
    assert change.routing.routes[key()].vip_is_source


def test_sem_32_needs_a_load_balancer_ip_and_a_node_ip():
    ranges = {"loadBalancerSourceRanges": ["172.16.0.0/12"]}
    assert not only(service(**ranges), WEB).vip_is_source
    assert not only(service(**BALANCED, **ranges), WEB, facts=NodeFacts("n1")).vip_is_source


# --- health checks -----------------------------------------------------------------------------------------------------


def checks(*values):
    return build(snapshot(*values), N1).health_checks


def test_hlt_12_counts_local_ready_addresses_once_over_all_ports():
    ports = [HTTP, {"name": "alt", "port": 81}]
    slice_ports = [{"name": "http", "port": 8080}, {"name": "alt", "port": 8081}]
    made = endpoint_slice(
        endpoint("10.1.0.1", node="n1"),
        endpoint("10.1.0.2", node="n1", ready=False, serving=True, terminating=True),
        endpoint("10.1.0.3", node="n2"),
        endpoint("10.1.0.4", node="n1"),
        ports=slice_ports,
    )
    assert checks(service(**CHECKED, ports=ports), made) == (HealthCheck("shop", "web", 32000, 2),)


def test_hlt_12_counts_the_first_family_only():
    six = endpoint_slice(endpoint("fd00:1::1", node="n1"), endpoint("fd00:1::2", node="n1"), name="web-6", family="IPv6")
    assert checks(service(**CHECKED, **DUAL), WEB, six)[0].local_endpoints == 1
    swapped = {"clusterIP": "fd00:96::1", "clusterIPs": DUAL["clusterIPs"][::-1], "ipFamilies": ["IPv6", "IPv4"]}
    assert checks(service(**CHECKED, **swapped), WEB, six)[0].local_endpoints == 2


def test_hlt_12_is_zero_without_local_endpoints_and_gone_with_the_service():
    builder = Builder()
    state = snapshot(service(**CHECKED))
    assert builder.update(state, CLEAN, N1).routing.health_checks == (HealthCheck("shop", "web", 32000, 0),)
    state, dirty = advance(state, Batch((Remove(ref_of(service())),)))
    assert builder.update(state, dirty, N1).routing.health_checks == ()


def test_one_health_check_port_belongs_to_one_service():
    routing = build(snapshot(service("a", **CHECKED), service("b", **{**CHECKED, "clusterIP": "10.96.0.2", "ingress": []})), N1)
    assert [check.name for check in routing.health_checks] == ["a"]
    assert [(notice.subject, notice.field) for notice in routing.notices] == [("Service shop/b", "spec.healthCheckNodePort")]


# --- conflicts ---------------------------------------------------------------------------------------------------------

OLD, YOUNG = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"


def test_sem_29_the_loser_loses_that_frontend_only_and_is_told():
    young = service("a", created=YOUNG, clusterIP="10.96.0.2", externalIPs=["192.0.2.1", "192.0.2.2"], ports=[{**HTTP, "nodePort": 30080}])
    old = service("b", created=OLD, externalIPs=["192.0.2.1"], ports=[{**HTTP, "nodePort": 30080}])
    routing = build(snapshot(young, old), N1)
    loser, winner = routing.routes[key("a")], routing.routes[key("b")]
    assert (loser.cluster_ip, loser.external_ips, loser.node_port) == ("10.96.0.2", ("192.0.2.2",), 0)
    assert (winner.external_ips, winner.node_port) == (("192.0.2.1",), 30080)
    assert [(notice.subject, notice.field) for notice in routing.notices] == [
        ("Service shop/a", "spec.externalIPs[0]"),
        ("Service shop/a", "spec.ports[0].nodePort"),
    ]
    assert all("Service shop/b" in notice.text and notice.severity is Severity.REFUSED for notice in routing.notices)


def test_sem_29_one_address_may_be_shared_by_ports_and_protocols():
    udp = {"name": "dns", "port": 80, "protocol": "UDP"}
    routing = build(snapshot(service("a"), service("b", ports=[{"name": "http", "port": 81}, udp])), N1)
    assert {one.cluster_ip for one in routing.routes.values()} == {"10.96.0.1"}
    assert {notice.severity for notice in routing.notices} == {Severity.SUSPICIOUS}


def test_services_that_share_a_cluster_ip_are_told_even_if_their_ports_differ():
    web = service("web")
    other = service("other", ports=[{"name": "dns", "port": 53}])
    state = snapshot(web, other)
    builder = Builder()
    shared = [notice for notice in builder.update(state, Dirty(frozenset(state.services)), N1).routing.notices if "too" in notice.text]
    assert [(notice.subject, notice.field, notice.severity) for notice in shared] == [
        ("Service shop/other", "spec.clusterIP", Severity.SUSPICIOUS),
        ("Service shop/web", "spec.clusterIP", Severity.SUSPICIOUS),
    ]
    assert "10.96.0.1 is the cluster IP of Service shop/web too" in shared[0].text
    state, dirty = advance(state, Batch((Remove(ref_of(other)),)))
    assert not [notice for notice in builder.update(state, dirty, N1).routing.notices if "too" in notice.text]


def test_sem_29_the_next_in_line_follows_in_the_same_update():
    state = snapshot(service("a", created=YOUNG), service("b", created=OLD))
    builder = Builder()
    assert builder.update(state, CLEAN, N1).routing.routes[key("a")].cluster_ip == ""
    state, dirty = advance(state, Batch((Remove(ref_of(service("b"))),)))
    change = builder.update(state, dirty, N1)
    assert change.changed.keys() == {key("a"), key("b")}
    assert change.changed[key("b")] is None
    assert change.routing.routes[key("a")].cluster_ip == "10.96.0.1"
    assert change.routing.notices == ()


def test_a_lost_frontend_takes_its_policy_with_it():
    """IN-22 after SEM-29: without any external frontend left, nobody needs the local list."""
    spec = {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{**HTTP, "nodePort": 30080}]}
    routing = build(snapshot(service("a", **spec), service(clusterIP="10.96.0.2", **spec), WEB), N1)
    assert routing.routes[key()].local == ()
    assert addresses(routing.routes[key()].cluster) == ["10.1.0.1", "10.1.0.2"]


# --- addresses around ----------------------------------------------------------------------------------------------------


def test_sem_27_cluster_ips_are_all_that_some_service_owns():
    values = service("a", created=OLD), service("b", created=YOUNG), service("c", clusterIP="fd00:96::1")
    builder, state = Builder(), snapshot(*values)
    assert builder.update(state, CLEAN, N1).routing.cluster_ips == {V4: {"10.96.0.1"}, V6: {"fd00:96::1"}}
    for gone, left in (("a", {"10.96.0.1"}), ("b", set())):
        state, dirty = advance(state, Batch((Remove(ref_of(service(gone))),)))
        assert builder.update(state, dirty, N1).routing.cluster_ips[V4] == left


def test_in_04_service_cidrs_come_and_go():
    builder, state = Builder(), snapshot(service_cidr("a", "10.96.0.0/16"), service_cidr("b", "10.97.0.0/16", "fd00:96::/112"))
    assert builder.update(state, CLEAN, N1).routing.service_cidrs == {V4: ("10.96.0.0/16", "10.97.0.0/16"), V6: ("fd00:96::/112",)}
    state, dirty = advance(state, Batch((Remove(ref_of(service_cidr("b"))),)))
    change = builder.update(state, dirty, N1)
    assert change.routing.service_cidrs == {V4: ("10.96.0.0/16",), V6: ()}
    assert change.changed == {}


def test_a_new_node_address_reaches_the_services_that_name_it():
    state = snapshot(service("a", clusterIP="172.16.0.9"), service("b", externalIPs=["172.16.0.9"], ports=[{"port": 81}]))
    builder = Builder()
    assert builder.update(state, CLEAN, N1).routing.notices == ()
    change = builder.update(state, CLEAN, replace(N1, all_node_addresses=frozenset({"172.16.0.9"})))
    assert change.changed.keys() == {key("a")}
    assert change.routing.routes[key("a")].cluster_ip == ""
    assert change.routing.cluster_ips[V4] == {"10.96.0.1"}
    severities = {notice.subject: notice.severity for notice in change.routing.notices}
    assert severities == {"Service shop/a": Severity.REFUSED, "Service shop/b": Severity.SUSPICIOUS}
    back = builder.update(state, CLEAN, N1)
    assert back.routing.routes[key("a")].cluster_ip == "172.16.0.9"
    assert back.routing.notices == ()


def test_an_external_ip_that_becomes_an_endpoint_is_reported_when_it_does():
    state = snapshot(service("a", externalIPs=["10.1.0.1"], clusterIP="10.96.0.2"), service())
    builder = Builder()
    assert builder.update(state, CLEAN, N1).routing.notices == ()
    state, dirty = advance(state, Batch((Upsert(WEB),)))
    (notice,) = builder.update(state, dirty, N1).routing.notices
    assert notice.subject == "Service shop/a"
    state, dirty = advance(state, Batch((Remove(ref_of(WEB)),)))
    assert builder.update(state, dirty, N1).routing.notices == ()


def test_a_policy_with_a_bad_range_is_an_error():
    with pytest.raises(ValueError, match="'nonsense' is not a CIDR"):
        Builder(ExternalIPPolicy(allowed_ranges=("nonsense",)))


def test_the_policy_is_obeyed():
    state = snapshot(service(externalIPs=["192.0.2.1", "198.51.100.1"]))
    assert build(state, N1, ExternalIPPolicy(deny=True)).routes[key()].external_ips == ()
    assert build(state, N1, ExternalIPPolicy(allowed_ranges=("192.0.2.9/24",))).routes[key()].external_ips == ("192.0.2.1",)
    assert build(state, N1).routes[key()].external_ips == ("192.0.2.1", "198.51.100.1")


# --- updates -----------------------------------------------------------------------------------------------------------


def test_in_41_what_gives_an_equal_route_is_no_change_and_keeps_the_object():
    builder, state = Builder(), snapshot(service(), WEB)
    before = builder.update(state, CLEAN, N1).routing.routes
    moved = endpoint_slice(*reversed([endpoint("10.1.0.1", node="n1"), endpoint("10.1.0.2", node="n2")]))
    state, dirty = advance(state, Batch((Upsert(moved), Upsert(service(created=OLD)))))
    assert dirty != CLEAN
    change = builder.update(state, dirty, N1)
    assert change.changed == {}
    assert change.routing.routes is before
    assert change.routing.revision == state.revision


def test_in_43_a_changed_slice_changes_its_own_service_only():
    builder, state = Builder(), snapshot(service(), WEB, service("other", clusterIP="10.96.0.2"))
    before = builder.update(state, CLEAN, N1).routing.routes
    state, dirty = advance(state, Batch((Upsert(endpoint_slice(endpoint("10.1.0.3"))),)))
    change = builder.update(state, dirty, N1)
    assert change.changed == {key(): change.routing.routes[key()]}
    assert change.routing.routes[key("other")] is before[key("other")]
    assert addresses(before[key()].cluster) == ["10.1.0.1", "10.1.0.2"]  # an earlier routing stays as it was


def test_one_services_notices_replace_its_former_ones():
    builder = Builder()
    state = snapshot(service("a", externalIPs=["x"]), service("b", clusterIP="10.96.0.2", externalIPs=["y"]))
    assert len(builder.update(state, CLEAN, N1).routing.notices) == 2
    state, dirty = advance(state, Batch((Upsert(service("a", externalIPs=["z", "x"])),)))
    assert [notice.text[:3] for notice in builder.update(state, dirty, N1).routing.notices] == ["'z'", "'x'", "'y'"]


# --- every path to a state gives the same ------------------------------------------------------------------------------

NAMES = st.sampled_from(["web", "cart", "db"])
PORTS = st.sampled_from([
    [HTTP],
    [HTTP, {"name": "alt", "port": 81}],
    [{**HTTP, "nodePort": 30080}],
    [{"name": "alt", "port": 80}, {**HTTP, "nodePort": 30080}],
    [{**HTTP, "protocol": "UDP"}],
])  # fmt: skip
SPECS = st.sampled_from([
    {},
    {"externalIPs": ["10.1.0.1"]},
    {"externalIPs": ["10.1.0.1", "192.0.2.1", "bad"]},
    {"externalIPs": ["172.16.0.9"], "externalTrafficPolicy": "Local"},
    {"internalTrafficPolicy": "Local"},
    {**CHECKED},
    {**CHECKED, "loadBalancerSourceRanges": ["172.16.0.0/12"]},
    {**BALANCED, "loadBalancerSourceRanges": ["10.0.0.0/8", "bad"]},
    {"clusterIP": "172.16.0.9"},
    {"clusterIP": "None"},
    {"labels": {"service.kubernetes.io/service-proxy-name": "other"}},
])  # fmt: skip
CLUSTER_IPS = st.sampled_from(["10.96.0.1", "10.96.0.2", "fd00:96::1"])
AGES = st.sampled_from([None, OLD, YOUNG])
SERVICES = st.builds(
    lambda name, created, address, ports, spec: service(name, created=created, **{"clusterIP": address, "ports": ports, **spec}),
    NAMES, AGES, CLUSTER_IPS, PORTS, SPECS,
)  # fmt: skip
ENDPOINTS = st.sampled_from([
    endpoint("10.1.0.1", node="n1"),
    endpoint("10.1.0.1", node="n2"),
    endpoint("10.1.0.1", ready=False, serving=True, terminating=True),
    endpoint("10.1.0.2", node="n1", zones=("a",)),
    endpoint("10.1.0.2", node="n2", zones=("b",)),
    endpoint("192.0.2.1", ready=False),
    endpoint("bad"),
])  # fmt: skip
SLICES = st.builds(
    lambda endpoints, name, owner: endpoint_slice(*endpoints, name=name, owner=owner),
    st.lists(ENDPOINTS, max_size=2), st.sampled_from(["s1", "s2"]), st.sampled_from(["web", "cart", "db", None]),
)  # fmt: skip
OTHERS = st.builds(node, st.sampled_from(["n1", "n2"]), podCIDR=st.sampled_from(["10.1.0.0/24", "192.0.2.0/24"])) | st.builds(
    service_cidr, st.sampled_from(["a", "b"]), st.sampled_from(["10.96.0.0/16", "192.0.2.0/24", "bad"])
)
VALUES = SERVICES | SERVICES | SLICES | SLICES | OTHERS
EVENTS = st.builds(Upsert, VALUES) | st.builds(Upsert, VALUES) | st.builds(lambda value: Remove(ref_of(value)), VALUES)
FACTS = st.sampled_from([
    N1,
    replace(N1, zone="b"),
    replace(N1, name="n3"),
    replace(N1, all_node_addresses=frozenset({"172.16.0.1", "10.0.0.1"})),
    replace(N1, all_node_addresses=frozenset({"172.16.0.1", "10.0.0.1"}), node_ips={V4: "10.0.0.1", V6: ""}),
    replace(N1, all_node_addresses=frozenset({"172.16.0.9", "192.0.2.1"})),
    replace(N1, local_addresses={V4: ("192.0.2.1",)}),
])  # fmt: skip
BATCHES = st.lists(
    st.tuples(st.lists(EVENTS, min_size=1, max_size=3), st.just(N1) | FACTS, st.sampled_from([True, True, False])), min_size=6, max_size=16
)


@settings(max_examples=200)
@given(BATCHES, st.sampled_from([ExternalIPPolicy(), ExternalIPPolicy(deny=True), ExternalIPPolicy(allowed_ranges=("192.0.2.0/24",))]))
def test_any_sequence_of_updates_equals_building_from_scratch(batches, policy):
    builder, state, dirty, routes = Builder(policy), EMPTY, CLEAN, {}
    for events, facts, update in batches:
        state, more = advance(state, Batch(tuple(events)))
        dirty = Dirty(dirty.services | more.services, dirty.kinds | more.kinds)
        if not update:
            continue
        change = builder.update(state, dirty, facts)
        dirty = CLEAN
        assert change.routing == build(state, facts, policy)
        assert_changes_lead(routes, change)
        routes = change.routing.routes


def assert_changes_lead(before, change):
    """What is said to have changed is exactly what differs, and the rest are the same objects."""
    after = change.routing.routes
    assert {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)} == change.changed.keys()
    assert all(after.get(one) is route for one, route in change.changed.items())
    assert all(after[one] is before[one] for one in after if one not in change.changed)


@settings(max_examples=100)
@given(st.lists(VALUES, max_size=10), st.randoms())
def test_the_order_of_arrival_does_not_matter(values, random):
    distinct = {ref_of(value): value for value in values}
    arrived = list(distinct.values())
    random.shuffle(arrived)
    builder, state = Builder(), EMPTY
    for value in arrived:
        state, dirty = advance(state, Batch((Upsert(value),)))
        builder.update(state, dirty, N1)
    straight = build(snapshot(*distinct.values()), N1)
    assert replace(builder.update(state, CLEAN, N1).routing, revision=0) == replace(straight, revision=0)


@settings(max_examples=100)
@given(st.lists(VALUES, max_size=10), FACTS)
def test_what_always_holds(values, facts):
    state = snapshot(*values)
    routing = build(state, facts)
    frontends = [
        (route.family, one.kind is FrontendKind.NODE_PORT, one.address, one.port, one.protocol)
        for route in routing.routes.values()
        for one in route.frontends()
    ]
    assert len(frontends) == len(set(frontends))  # SEM-29: nobody shares
    assert list(routing.notices) == sorted(set(routing.notices), key=lambda one: (one.subject, one.field, one.text))
    for route_key, route in routing.routes.items():
        assert route.key == route_key
        assert set(route.cluster) | set(route.local) == set(route.reachable)  # SEL-08
        assert route.any_endpoint or not route.reachable
        if route.cluster_ip:
            assert route.cluster_ip in routing.cluster_ips[route.family]
    dirty = Dirty(frozenset(state.services), frozenset(Kind))
    builder = Builder()
    builder.update(state, dirty, facts)
    assert builder.update(state, dirty, facts).changed == {}


def test_annotations_choose_scheduler_and_weights():
    web = replace(service(), metadata=ObjectMeta("web", "shop", annotations=Annotations(
        ipvs_scheduler="wrr", ipvs_weights="zone:a=3, node:n2=0, share:canary=9",
    )))
    canary = {"kubernetes.io/service-name": "web", "pointsman.dev/share": "canary"}
    slices = [
        endpoint_slice(endpoint("10.1.0.1", node="n1", zone="a"), endpoint("10.1.0.2", node="n2", zone="a"), endpoint("10.1.0.3")),
        endpoint_slice(endpoint("10.1.0.4", node="n2"), name="web-2", labels=canary),
    ]
    [route] = build(snapshot(web, *slices), NodeFacts("n1")).routes.values()
    assert route.scheduler == "wrr"
    assert [backend.weight for backend in route.cluster] == [3, 0, 1, 9]


def test_sem_40_a_node_port_is_not_programmed_where_it_meets_an_address_of_a_service():
    """The load balancer's address is one of this node's, as some have it, and its port in the range of node ports."""
    held = replace(N1, local_addresses={V4: ("192.0.2.1", "172.16.0.1")})
    first = service("front", clusterIP="10.96.0.2", **BALANCED, ports=[{**HTTP, "port": 30080}])
    other = service("web", type="NodePort", ports=[{**HTTP, "nodePort": 30080}])
    builder = Builder()
    state = snapshot(first, other, WEB)
    routing = builder.update(state, Dirty(kinds=frozenset(Kind)), held).routing
    assert routing.routes[key()].node_port_taken == ("192.0.2.1",)
    assert routing == build(state, held)
    [notice] = [one for one in routing.notices if one.field.endswith("nodePort")]
    assert "Service shop/front" in notice.text
    after, dirty = advance(state, Batch((Remove(ref_of(first)),)))
    change = builder.update(after, dirty, held)
    assert change.changed[key()].node_port_taken == ()
    assert not [one for one in change.routing.notices if one.field.endswith("nodePort")]
    moved = builder.update(state, Dirty(services=frozenset(state.services)), N1)
    assert moved.routing.routes[key()].node_port_taken == ()
