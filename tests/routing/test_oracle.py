"""The oracle, sentence by sentence: docs/services.md 3.1 to 3.5, and a matrix of everything a packet can meet."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pointsman.routing.node import DetectLocal, LocalDetector, NodeFacts, NodePortAddresses
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet, SourcePlace, Verdict
from pointsman.routing.route import Backend, Family, FrontendKind, Protocol, RouteKey, Routing, ServicePortName, ServiceRoute

V4, V6 = Family.IPV4, Family.IPV6
HERE = {V4: Backend("10.244.1.11", 8080, local=True, hairpin=True), V6: Backend("fd00:10:244:1::11", 8080, local=True, hairpin=True)}
THERE = {V4: Backend("10.244.2.11", 8080, local=False, hairpin=False), V6: Backend("fd00:10:244:2::11", 8080, local=False, hairpin=False)}
CLUSTER_IP = {V4: "10.96.0.10", V6: "fd00:10:96::10"}
EXTERNAL = {V4: "192.0.2.10", V6: "fd00:20::10"}
BALANCER = {V4: "203.0.113.10", V6: "fd00:30::10"}
NODE = {V4: "192.168.50.1", V6: "fd00:50::1"}
SECOND = {V4: "172.31.50.1", V6: "fd00:51::1"}
POD = {V4: "10.244.1.12", V6: "fd00:10:244:1::12"}
CLIENT = {V4: "198.18.1.10", V6: "fd00:18:1::10"}
POD_RANGE = {V4: "10.244.0.0/16", V6: "fd00:10:244::/48"}
SERVICE_RANGE = {V4: "10.96.0.0/16", V6: "fd00:10:96::/112"}
NODE_PORT = 30080
PLACES = {SourcePlace.POD: (POD, "pod2"), SourcePlace.NODE: (NODE, ""), SourcePlace.OTHER: (CLIENT, "eth0")}
SITUATIONS = {"none": ((), ()), "remote": ((THERE,), ()), "local": ((HERE,), (HERE,)), "both": ((HERE, THERE), (HERE,))}


def a_route(family=V4, situation="both", protocol=Protocol.TCP, **fields):
    cluster, local = (tuple(one[family] for one in side) for side in SITUATIONS[situation])
    made = ServiceRoute(
        port_name=ServicePortName("shop", "web", "http", protocol),
        family=family,
        cluster_ip=CLUSTER_IP[family],
        port=80,
        node_port=NODE_PORT,
        external_ips=(EXTERNAL[family],),
        load_balancer_ips=(BALANCER[family],),
        cluster=cluster,
        local=local,
        reachable=cluster,
        any_endpoint=bool(cluster),
    )
    return structs.replace(made, **fields)


def a_node(**fields):
    made = NodeFacts(
        name="n1",
        node_ips=NODE,
        local_addresses={family: (NODE[family], SECOND[family]) for family in Family},
        detectors={family: LocalDetector(DetectLocal.CLUSTER_CIDR, POD_RANGE[family]) for family in Family},
        node_ports={V4: NodePortAddresses(loopback=True), V6: NodePortAddresses()},
    )
    return structs.replace(made, **fields)


def an_oracle(*routes, node=None, cluster_ips=None):
    owned = {family: frozenset({CLUSTER_IP[family]}) for family in Family} if cluster_ips is None else cluster_ips
    routing = Routing(1, {route.key: route for route in routes}, owned, {f: (SERVICE_RANGE[f],) for f in Family}, (), ())
    return Oracle(routing, node or a_node())


def destination(kind, family):
    address = {
        FrontendKind.CLUSTER_IP: CLUSTER_IP,
        FrontendKind.EXTERNAL_IP: EXTERNAL,
        FrontendKind.LOAD_BALANCER_IP: BALANCER,
        FrontendKind.NODE_PORT: NODE,
    }[kind][family]
    return address, NODE_PORT if kind is FrontendKind.NODE_PORT else 80


def ask(oracle, place, kind, family=V4, protocol=Protocol.TCP):
    sources, interface = PLACES[place]
    address, port = destination(kind, family)
    return oracle.trace(Packet(sources[family], address, protocol, port, interface))


def addresses(outcome):
    return [share.backend.address for share in outcome.shares]


def masqueraded(outcome):
    assert outcome.verdict is Verdict.FORWARD, outcome
    [answer] = {share.masquerade for share in outcome.shares}
    return answer


EXTERNALS = [FrontendKind.EXTERNAL_IP, FrontendKind.LOAD_BALANCER_IP, FrontendKind.NODE_PORT]


# --- 3.1 Classification ------------------------------------------------------------------------------------------------


def test_place_pod_is_tested_before_node():
    """A node's own address on its pods' side lies in the pod range: it counts as a pod (3.1)."""
    gateway = "10.244.1.1"
    node = a_node(local_addresses={V4: (NODE[V4], gateway), V6: ()})
    outcome = an_oracle(a_route(external_local=True), node=node).trace(Packet(gateway, BALANCER[V4], Protocol.TCP, 80))
    assert outcome.place is SourcePlace.POD
    assert outcome.reason.startswith("SEM-12")


@pytest.mark.parametrize(
    ("mode", "value", "interface", "place"),
    [
        (DetectLocal.INTERFACE_NAME_PREFIX, "pod", "pod7", SourcePlace.POD),
        (DetectLocal.INTERFACE_NAME_PREFIX, "pod", "eth0", SourcePlace.OTHER),
        (DetectLocal.BRIDGE_INTERFACE, "cni0", "cni0", SourcePlace.POD),
        (DetectLocal.BRIDGE_INTERFACE, "cni0", "cni01", SourcePlace.OTHER),
        (DetectLocal.NODE_CIDR, "10.244.1.0/24", "eth0", SourcePlace.POD),
        (DetectLocal.NODE_CIDR, "10.244.9.0/24", "eth0", SourcePlace.OTHER),
    ],
)
def test_place_by_each_detector(mode, value, interface, place):
    """CFG-30 to CFG-33."""
    node = a_node(detectors={V4: LocalDetector(mode, value)})
    outcome = an_oracle(a_route(), node=node).trace(Packet(POD[V4], CLUSTER_IP[V4], Protocol.TCP, 80, interface))
    assert outcome.place is place
    assert all(share.masquerade is (place is not SourcePlace.POD) for share in outcome.shares)


@pytest.mark.parametrize("mode", [DetectLocal.BRIDGE_INTERFACE, DetectLocal.INTERFACE_NAME_PREFIX])
def test_cfg_34_interface_detectors_do_not_see_what_this_node_sends(mode):
    node = a_node(detectors={V4: LocalDetector(mode, "pod0")})
    outcome = an_oracle(a_route(), node=node).trace(Packet(POD[V4], CLUSTER_IP[V4], Protocol.TCP, 80))
    assert outcome.place is SourcePlace.NODE
    assert masqueraded(outcome)


def test_loopback_source_is_the_node():
    outcome = an_oracle(a_route()).trace(Packet("127.0.0.1", "127.0.0.1", Protocol.TCP, NODE_PORT, "lo"))
    assert outcome.place is SourcePlace.NODE


def test_virtual_address_is_matched_before_node_port():
    """3.1: an address that is a frontend and local too is a frontend first, even if that frontend refuses."""
    vip = a_route(situation="none", external_ips=(NODE[V4],), load_balancer_ips=(), node_port=0, port=NODE_PORT)
    other = a_route(port_name=ServicePortName("shop", "other", "", Protocol.TCP), cluster_ip="10.96.0.11")
    outcome = an_oracle(vip, other).trace(Packet(CLIENT[V4], NODE[V4], Protocol.TCP, NODE_PORT, "eth0"))
    assert (outcome.verdict, outcome.frontend.kind) == (Verdict.REJECT, FrontendKind.EXTERNAL_IP)


# --- 3.2 The table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_sem_01_cluster_ip_without_endpoints_rejects(place):
    outcome = ask(an_oracle(a_route(situation="none")), place, FrontendKind.CLUSTER_IP)
    assert outcome.verdict is Verdict.REJECT
    assert outcome.reason.startswith("SEM-01: no endpoint of shop/web:http is ready")


@pytest.mark.parametrize("place", PLACES)
def test_sem_02_cluster_ip_local_without_local_endpoints_drops(place):
    outcome = ask(an_oracle(a_route(situation="remote", internal_local=True)), place, FrontendKind.CLUSTER_IP)
    assert outcome.verdict is Verdict.DROP
    assert outcome.reason.startswith("SEM-02")


def test_sem_03_pod_keeps_its_address():
    outcome = ask(an_oracle(a_route()), SourcePlace.POD, FrontendKind.CLUSTER_IP)
    assert addresses(outcome) == [HERE[V4].address, THERE[V4].address]
    assert not masqueraded(outcome)
    assert outcome.shares[0].reason == "SEM-03: the source is a pod: in the cluster's pod range 10.244.0.0/16"


@pytest.mark.parametrize("place", [SourcePlace.NODE, SourcePlace.OTHER])
def test_sem_04_others_are_masqueraded(place):
    outcome = ask(an_oracle(a_route()), place, FrontendKind.CLUSTER_IP)
    assert masqueraded(outcome)
    assert outcome.shares[0].reason == "SEM-04: the source is not a pod: not in the cluster's pod range 10.244.0.0/16"


@pytest.mark.parametrize(("place", "internal_local"), list(product(PLACES, [False, True])))
def test_sem_05_without_a_detector_nothing_is_masqueraded(place, internal_local):
    outcome = ask(an_oracle(a_route(internal_local=internal_local), node=a_node(detectors={})), place, FrontendKind.CLUSTER_IP)
    assert not masqueraded(outcome)
    assert outcome.shares[0].reason.startswith("SEM-05")


@pytest.mark.parametrize(("place", "detectors"), list(product(PLACES, [{}, a_node().detectors])))
def test_sem_06_masquerade_all(place, detectors):
    outcome = ask(an_oracle(a_route(), node=a_node(masquerade_all=True, detectors=detectors)), place, FrontendKind.CLUSTER_IP)
    assert masqueraded(outcome)
    assert outcome.shares[0].reason.startswith("SEM-06")


@pytest.mark.parametrize("place", PLACES)
def test_sem_07_internal_policy_local_uses_local_endpoints_and_never_changes_masquerading(place):
    both, local = an_oracle(a_route()), an_oracle(a_route(internal_local=True))
    outcome = ask(local, place, FrontendKind.CLUSTER_IP)
    assert addresses(outcome) == [HERE[V4].address]
    assert masqueraded(outcome) is masqueraded(ask(both, place, FrontendKind.CLUSTER_IP))


@pytest.mark.parametrize(("kind", "place", "local"), list(product(EXTERNALS, PLACES, [False, True])))
def test_sem_10_external_without_endpoints_rejects(kind, place, local):
    outcome = ask(an_oracle(a_route(situation="none", external_local=local)), place, kind)
    assert outcome.verdict is Verdict.REJECT
    assert outcome.reason.startswith("SEM-10")


@pytest.mark.parametrize(("kind", "place"), list(product(EXTERNALS, PLACES)))
def test_sem_11_external_policy_cluster_masquerades_everybody(kind, place):
    outcome = ask(an_oracle(a_route()), place, kind)
    assert addresses(outcome) == [HERE[V4].address, THERE[V4].address]
    assert masqueraded(outcome)


@pytest.mark.parametrize("kind", EXTERNALS)
def test_sem_12_a_pod_short_circuits_the_local_policy(kind):
    outcome = ask(an_oracle(a_route(situation="remote", external_local=True)), SourcePlace.POD, kind)
    assert addresses(outcome) == [THERE[V4].address]
    assert not masqueraded(outcome)


@pytest.mark.parametrize("kind", EXTERNALS)
def test_sem_13_the_node_short_circuits_the_local_policy(kind):
    outcome = ask(an_oracle(a_route(situation="remote", external_local=True)), SourcePlace.NODE, kind)
    assert addresses(outcome) == [THERE[V4].address]
    assert masqueraded(outcome)


@pytest.mark.parametrize("kind", EXTERNALS)
def test_sem_14_external_policy_local_keeps_the_client(kind):
    outcome = ask(an_oracle(a_route(external_local=True)), SourcePlace.OTHER, kind)
    assert addresses(outcome) == [HERE[V4].address]
    assert not masqueraded(outcome)
    assert outcome.shares[0].reason.startswith("SEM-14")


@pytest.mark.parametrize("kind", EXTERNALS)
def test_sem_15_external_policy_local_without_local_endpoints_drops(kind):
    outcome = ask(an_oracle(a_route(situation="remote", external_local=True)), SourcePlace.OTHER, kind)
    assert outcome.verdict is Verdict.DROP
    assert outcome.reason == "SEM-15: external traffic policy Local, and no endpoint of shop/web:http is on this node"


@pytest.mark.parametrize(("kind", "situation"), list(product(EXTERNALS, ["remote", "both"])))
def test_sem_16_without_a_detector_a_pod_is_like_others(kind, situation):
    oracle = an_oracle(a_route(situation=situation, external_local=True), node=a_node(detectors={}))
    pod, other = ask(oracle, SourcePlace.POD, kind), ask(oracle, SourcePlace.OTHER, kind)
    assert pod.place is SourcePlace.OTHER
    assert pod == other


@pytest.mark.parametrize("place", PLACES)
def test_sem_17_external_policy_never_touches_cluster_ips(place):
    plain, local = an_oracle(a_route()), an_oracle(a_route(external_local=True))
    assert ask(plain, place, FrontendKind.CLUSTER_IP) == ask(local, place, FrontendKind.CLUSTER_IP)


@pytest.mark.parametrize(("kind", "place"), list(product(EXTERNALS, PLACES)))
def test_sem_18_internal_policy_never_touches_external_frontends(kind, place):
    plain, local = an_oracle(a_route(situation="remote")), an_oracle(a_route(situation="remote", internal_local=True))
    assert ask(plain, place, kind) == ask(local, place, kind)


# --- 3.3 Cross-cutting rules -------------------------------------------------------------------------------------------


def test_sem_20_hairpin_is_masqueraded_for_the_backend_itself_only():
    packet = Packet(HERE[V4].address, CLUSTER_IP[V4], Protocol.TCP, 80, "pod1")
    here, there = an_oracle(a_route()).trace(packet).shares
    assert (here.masquerade, there.masquerade) == (True, False)
    assert here.reason.startswith("SEM-20")


def test_sem_20_a_backend_of_another_node_is_no_hairpin_here():
    remote = Backend(POD[V4], 8080, local=False, hairpin=False)
    outcome = an_oracle(a_route(cluster=(remote,))).trace(Packet(POD[V4], CLUSTER_IP[V4], Protocol.TCP, 80, "eth0"))
    assert not masqueraded(outcome)


def test_sem_20_holds_for_short_circuits_too():
    outcome = an_oracle(a_route(external_local=True, situation="local")).trace(
        Packet(HERE[V4].address, BALANCER[V4], Protocol.TCP, 80, "pod1")
    )
    assert masqueraded(outcome)


def test_sem_25_affinity_is_told():
    assert ask(an_oracle(a_route(affinity_seconds=10800)), SourcePlace.POD, FrontendKind.CLUSTER_IP).affinity_seconds == 10800
    assert ask(an_oracle(a_route()), SourcePlace.POD, FrontendKind.CLUSTER_IP).affinity_seconds == 0


@given(count=st.integers(1, 50))
@settings(max_examples=30)
def test_sem_26_every_backend_is_equally_likely(count):
    backends = tuple(Backend(f"10.244.2.{n}", 8080, local=False, hairpin=False) for n in range(count))
    outcome = ask(an_oracle(a_route(cluster=backends)), SourcePlace.POD, FrontendKind.CLUSTER_IP)
    assert {share.probability for share in outcome.shares} == {1 / count}


@pytest.mark.parametrize(
    ("family", "place", "port", "protocol"),
    [*product(Family, PLACES, [81], Protocol), *product(Family, PLACES, [80], [Protocol.UDP, Protocol.SCTP])],
)
def test_sem_27_other_ports_of_a_cluster_ip_are_rejected(family, place, port, protocol):
    sources, interface = PLACES[place]
    outcome = an_oracle(a_route(family)).trace(Packet(sources[family], CLUSTER_IP[family], protocol, port, interface))
    assert outcome.verdict is Verdict.REJECT
    assert outcome.reason.startswith("SEM-27")
    assert outcome.frontend is None


@pytest.mark.parametrize(("family", "place"), list(product(Family, PLACES)))
def test_sem_28_an_address_nobody_owns_is_dropped(family, place):
    sources, interface = PLACES[place]
    nobody = {V4: "10.96.200.200", V6: "fd00:10:96::c8c8"}[family]
    outcome = an_oracle(a_route(family)).trace(Packet(sources[family], nobody, Protocol.TCP, 80, interface))
    assert outcome.verdict is Verdict.DROP
    assert outcome.reason.startswith("SEM-28")


def test_sem_29_two_owners_of_one_place_never_break_it():
    first = a_route()
    second = a_route(port_name=ServicePortName("shop", "zzz", "", Protocol.TCP), situation="none")
    assert ask(an_oracle(first, second), SourcePlace.POD, FrontendKind.CLUSTER_IP).port_name == first.port_name


def test_what_is_not_ours_is_left_alone():
    outcome = an_oracle(a_route()).trace(Packet(POD[V4], "192.0.2.77", Protocol.TCP, 80, "pod2"))
    assert (outcome.verdict, outcome.port_name, outcome.frontend, outcome.shares) == (Verdict.UNTOUCHED, None, None, ())


# --- 3.4 Source ranges -------------------------------------------------------------------------------------------------

RANGED = {"source_ranges": ("198.18.1.10/32", "192.168.50.0/24"), "external_local": False}


@pytest.mark.parametrize("place", PLACES)
def test_sem_30_a_source_in_no_range_is_dropped_pods_and_nodes_too(place):
    route = a_route(source_ranges=("172.16.0.0/12",))
    node = a_node(local_addresses={V4: (NODE[V4],)})
    outcome = ask(an_oracle(route, node=node), place, FrontendKind.LOAD_BALANCER_IP)
    assert outcome.verdict is Verdict.DROP
    assert outcome.reason.startswith("SEM-30")


@pytest.mark.parametrize(("kind", "place"), list(product([k for k in FrontendKind if k is not FrontendKind.LOAD_BALANCER_IP], PLACES)))
def test_sem_30_ranges_filter_load_balancer_ips_only(kind, place):
    """Pain 60: source ranges do not guard node ports."""
    route = a_route()
    assert ask(an_oracle(structs.replace(route, source_ranges=("172.16.0.0/12",))), place, kind) == ask(an_oracle(route), place, kind)


@pytest.mark.parametrize("place", [SourcePlace.NODE, SourcePlace.OTHER])
def test_sem_31_allowed_sources_go_on(place):
    outcome = ask(an_oracle(a_route(**RANGED)), place, FrontendKind.LOAD_BALANCER_IP)
    assert outcome.verdict is Verdict.FORWARD
    assert outcome == ask(an_oracle(a_route()), place, FrontendKind.LOAD_BALANCER_IP)


@pytest.mark.parametrize("vip_is_source", [True, False])
def test_sem_32_the_load_balancer_ip_itself_may_be_a_source(vip_is_source):
    route = a_route(source_ranges=("192.168.50.0/24",), vip_is_source=vip_is_source)
    node = a_node(local_addresses={V4: (NODE[V4], BALANCER[V4])})
    outcome = an_oracle(route, node=node).trace(Packet(BALANCER[V4], BALANCER[V4], Protocol.TCP, 80))
    assert outcome.verdict is (Verdict.FORWARD if vip_is_source else Verdict.DROP)
    assert outcome.place is SourcePlace.NODE


@pytest.mark.parametrize(("place", "verdict"), [(SourcePlace.OTHER, Verdict.REJECT), (SourcePlace.POD, Verdict.DROP)])
def test_sem_33_ranges_hold_without_endpoints(place, verdict):
    """Preface (a): disallowed sources are dropped even with no endpoints, allowed ones rejected."""
    outcome = ask(an_oracle(a_route(situation="none", **RANGED)), place, FrontendKind.LOAD_BALANCER_IP)
    assert outcome.verdict is verdict
    assert outcome.reason.startswith("SEM-33" if verdict is Verdict.DROP else "SEM-10")


def test_sem_34_ranges_are_judged_by_the_address_that_was_asked():
    """A backend inside or outside the ranges plays no part, nor does another Service's range on another address."""
    other = a_route(port_name=ServicePortName("shop", "b", "", Protocol.TCP), cluster_ip="10.96.0.11", load_balancer_ips=("203.0.113.11",),
                    external_ips=(), node_port=0, source_ranges=("172.16.0.0/12",))
    assert ask(an_oracle(a_route(), other), SourcePlace.OTHER, FrontendKind.LOAD_BALANCER_IP).verdict is Verdict.FORWARD


# --- 3.5 Node ports ----------------------------------------------------------------------------------------------------


def to_node_port(address, accepted, source=CLIENT, interface="eth0", situation="both", **fields):
    family = V6 if ":" in address else V4
    node = a_node(node_ports={family: accepted}, **fields)
    return an_oracle(a_route(family, situation), node=node).trace(Packet(source[family], address, Protocol.TCP, NODE_PORT, interface))


@pytest.mark.parametrize("address", [NODE[V4], SECOND[V4], NODE[V6], SECOND[V6]])
def test_sem_41_match_all_is_every_local_address(address):
    assert to_node_port(address, NodePortAddresses()).verdict is Verdict.FORWARD


def test_sem_41_an_address_of_another_host_is_none_of_ours():
    assert to_node_port("192.168.50.2", NodePortAddresses()).verdict is Verdict.UNTOUCHED


@pytest.mark.parametrize(("loopback", "verdict"), [(True, Verdict.FORWARD), (False, Verdict.UNTOUCHED)])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8"])
def test_sem_41_and_45_loopback_only_where_it_is_enabled(address, loopback, verdict):
    source = {V4: "127.0.0.1"}
    outcome = to_node_port(address, NodePortAddresses(loopback=loopback), source, "")
    assert outcome.verdict is verdict
    if verdict is Verdict.FORWARD:
        assert masqueraded(outcome)
    else:
        assert outcome.reason.startswith("SEM-41")


def test_sem_41_ipv6_loopback_never_accepts_node_ports():
    outcome = to_node_port("::1", NodePortAddresses(loopback=True), {V6: "::1"}, "")
    assert outcome.verdict is Verdict.UNTOUCHED


def test_sem_42_restricted_addresses_are_exactly_these():
    accepted = NodePortAddresses(match_all=False, addresses=(NODE[V4],))
    assert to_node_port(NODE[V4], accepted).verdict is Verdict.FORWARD
    refused = to_node_port(SECOND[V4], accepted)
    assert refused.verdict is Verdict.UNTOUCHED
    assert refused.reason == f"SEM-42: {SECOND[V4]} does not accept node ports"


@pytest.mark.parametrize(("addresses_", "verdict"), [(("127.0.0.1",), Verdict.FORWARD), ((NODE[V4],), Verdict.UNTOUCHED)])
def test_sem_42_loopback_among_restricted_addresses(addresses_, verdict):
    accepted = NodePortAddresses(match_all=False, addresses=addresses_, loopback=True)
    assert to_node_port("127.0.0.1", accepted, {V4: "127.0.0.1"}, "").verdict is verdict


@pytest.mark.parametrize(("address", "verdict"), [(NODE[V4], Verdict.REJECT), (SECOND[V4], Verdict.UNTOUCHED)])
def test_sem_46_node_ports_are_rejected_on_accepted_addresses_only(address, verdict):
    accepted = NodePortAddresses(match_all=False, addresses=(NODE[V4],))
    assert to_node_port(address, accepted, situation="none").verdict is verdict


def test_node_port_of_the_other_family_is_not_ours():
    outcome = an_oracle(a_route(V4)).trace(Packet(CLIENT[V6], NODE[V6], Protocol.TCP, NODE_PORT, "eth0"))
    assert outcome.verdict is Verdict.UNTOUCHED


# --- how packets are written -------------------------------------------------------------------------------------------


def test_addresses_may_be_written_in_any_way():
    outcome = an_oracle(a_route(V6)).trace(Packet("FD00:10:244:1:0::12%eth0", "fd00:10:96:0:0:0:0:0010", Protocol.TCP, 80, "pod2"))
    assert outcome.verdict is Verdict.FORWARD


@pytest.mark.parametrize(("source", "target"), [("10.0.0.1", "fd00::1"), ("nobody", "10.0.0.1"), ("10.0.0.1", "")])
def test_what_is_no_packet_is_an_error(source, target):
    with pytest.raises(ValueError, match="address"):
        an_oracle().trace(Packet(source, target, Protocol.TCP, 80))


# --- the matrix --------------------------------------------------------------------------------------------------------

TYPES = {
    "ClusterIP": {"node_port": 0, "external_ips": (), "load_balancer_ips": ()},
    "ClusterIP with an external IP": {"node_port": 0, "load_balancer_ips": ()},
    "NodePort": {"external_ips": (), "load_balancer_ips": ()},
    "LoadBalancer": {},
}
CELLS = list(product(TYPES, SITUATIONS, [False, True], [False, True], Family, Protocol, PLACES, ["detector", "none", "masquerade all"]))


def facts_for(detection):
    if detection == "none":
        return a_node(detectors={})
    return a_node(masquerade_all=detection == "masquerade all")


def expected(kind, situation, internal_local, external_local, place, detection):
    """Return verdict, backends and masquerading as the table of 3.2 has them, row by row and independently of the oracle's code."""
    pods_known = detection != "none"
    if situation == "none":
        return Verdict.REJECT, [], None                                     # SEM-01, SEM-10
    everywhere = list(SITUATIONS[situation][0])
    here = list(SITUATIONS[situation][1])
    if kind is FrontendKind.CLUSTER_IP:
        used = here if internal_local else everywhere
        if not used:
            return Verdict.DROP, [], None                                   # SEM-02
        is_masqueraded = detection == "masquerade all" or (pods_known and place is not SourcePlace.POD)
        return Verdict.FORWARD, used, is_masqueraded                        # SEM-03 to SEM-07
    if not external_local:
        return Verdict.FORWARD, everywhere, True                            # SEM-11
    if place is SourcePlace.POD and pods_known:
        return Verdict.FORWARD, everywhere, False                           # SEM-12
    if place is SourcePlace.NODE:
        return Verdict.FORWARD, everywhere, True                            # SEM-13
    return (Verdict.FORWARD, here, False) if here else (Verdict.DROP, [], None)  # SEM-14, SEM-15, SEM-16


def test_the_matrix():
    """Service type x endpoints x both policies x family x protocol x place x detection, at every frontend: the table, nothing else."""
    asked = 0
    for type_, situation, internal_local, external_local, family, protocol, place, detection in CELLS:
        fields = {**TYPES[type_], "internal_local": internal_local, "external_local": external_local}
        route = a_route(family, situation, protocol, **fields)
        oracle = an_oracle(route, node=facts_for(detection))
        for frontend in route.frontends():
            outcome = ask(oracle, place, frontend.kind, family, protocol)
            verdict, backends, is_masqueraded = expected(frontend.kind, situation, internal_local, external_local, place, detection)
            cell = (type_, situation, internal_local, external_local, family, protocol, place, detection, frontend.kind)
            assert outcome.verdict is verdict, cell
            assert addresses(outcome) == [one[family].address for one in backends], cell
            assert {share.masquerade for share in outcome.shares} == (set() if is_masqueraded is None else {is_masqueraded}), cell
            assert outcome.reason.startswith("SEM-"), cell
            assert (outcome.frontend, outcome.port_name) == (frontend, route.port_name), cell
            asked += 1
    assert len(CELLS) == 4 * 4 * 2 * 2 * 2 * 3 * 3 * 3
    assert asked == len(CELLS) // 4 * (1 + 2 + 2 + 4)


def test_every_route_is_found_among_many():
    routes = [
        a_route(port_name=ServicePortName("many", f"s{n}", "", Protocol.TCP), cluster_ip=f"10.96.{n // 250}.{n % 250 + 1}", node_port=0,
                external_ips=(), load_balancer_ips=())
        for n in range(1000)
    ]
    oracle = an_oracle(*routes)
    for route in routes:
        outcome = oracle.trace(Packet(POD[V4], route.cluster_ip, Protocol.TCP, 80, "pod2"))
        assert outcome.port_name == route.port_name
    assert len({RouteKey(V4, route.port_name) for route in routes}) == 1000


@pytest.mark.parametrize("family", Family)
def test_the_frontend_at_an_address_is_the_one_that_packets_meet(family):
    route = a_route(family)
    oracle = an_oracle(route)
    for address, port, kind in (
        (CLUSTER_IP[family], 80, FrontendKind.CLUSTER_IP),
        (EXTERNAL[family], 80, FrontendKind.EXTERNAL_IP),
        (BALANCER[family], 80, FrontendKind.LOAD_BALANCER_IP),
        (NODE[family], NODE_PORT, FrontendKind.NODE_PORT),
    ):
        frontend, met = oracle.frontend_at(address, Protocol.TCP, port)
        assert (frontend.kind, met) == (kind, route)
    for address, port, protocol in (
        (CLUSTER_IP[family], 81, Protocol.TCP),
        (CLUSTER_IP[family], 80, Protocol.UDP),
        (CLIENT[family], NODE_PORT, Protocol.TCP),
    ):
        assert oracle.frontend_at(address, protocol, port) is None
