"""The nine classes, each with its reason; and that a judgement agrees with the oracle and the route."""

from fakes.flows import NODE, SCTP, TCP, UDP, V4, backend, flow, judge, route, routing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pointsman.conntrack import reconcile
from pointsman.conntrack.classify import WRONG, FlowClass, Judge, classify, through
from pointsman.conntrack.flow import Status
from pointsman.conntrack.names import Known, Names
from pointsman.conntrack.tombstones import Tombstones
from pointsman.routing.route import FrontendKind

DNS = route()
OTHER = Names(lambda: Known({"10.2.0.9": "pod blog/web-1", "172.20.0.9": "node n2"}, {"10.96.0.200": "Service mesh/web"}))


def left(*ends):
    """Return tombstones of a Service that lost endpoints, and had all frontends of `DNS`."""
    stones = Tombstones()
    stones.follow({}, {DNS.key: replace(DNS, reachable=ends, cluster=ends)}, 100.0)
    stones.follow({DNS.key: replace(DNS, reachable=ends, cluster=ends)}, {DNS.key: DNS}, 200.0)
    return stones


def gone():
    """Return tombstones of a Service that was deleted."""
    stones = left(backend("10.2.0.9", "dns-9"))
    stones.follow({DNS.key: DNS}, {DNS.key: None}, 300.0)
    return stones


def judged(one, *routes, names=OTHER, stones=None):
    found = judge(*(routes or (DNS,)), names=names, tombstones=stones).judge(one)
    return found.kind, found.reason


def test_ok_names_frontend_service_endpoint_and_pod():
    found = judge(DNS).judge(flow())
    assert found.kind is FlowClass.OK
    assert found.reason == "from cluster IP 10.96.0.10:53 of shop/dns to its endpoint 10.2.0.7:53 (pod dns-1)"
    assert (found.service, found.backend.pod, through(found)) == ("shop/dns", "dns-1", FrontendKind.CLUSTER_IP)


def test_every_frontend_is_recognised():
    kinds = {to: through(judge(DNS).judge(flow(to))) for to in ("10.96.0.10:53", "192.0.2.1:53", "172.20.0.1:30053")}
    assert list(kinds.values()) == [FrontendKind.CLUSTER_IP, FrontendKind.EXTERNAL_IP, FrontendKind.NODE_PORT]


def test_draining_is_who_serves_on_without_taking_new_ones():
    kind, reason = judged(flow(at="10.2.0.6:53"), replace(DNS, lingering=(backend("10.2.0.6", "dns-0"),)))
    assert kind is FlowClass.DRAINING
    assert reason == "10.2.0.6:53 (pod dns-0) serves on, but takes no new connections of shop/dns"


def test_pain_1_stale_backend_is_none_of_the_endpoints():
    kind, reason = judged(flow(at="10.2.0.5:53"))
    assert kind is FlowClass.STALE_BACKEND
    assert reason == "from cluster IP 10.96.0.10:53 of shop/dns to 10.2.0.5:53, which is none of its endpoints"


def test_the_port_of_an_endpoint_counts():
    """CT-04."""
    assert judged(flow(at="10.2.0.7:5353"))[0] is FlowClass.STALE_BACKEND


def test_pain_6_a_service_without_endpoints_is_judged_like_any_other():
    assert judged(flow(), route(ends=()))[0] is FlowClass.STALE_BACKEND


def test_who_left_is_named():
    assert judged(flow(at="10.2.0.5:53"), stones=left(backend("10.2.0.5", "dns-5")))[1].endswith("none of its endpoints (it was pod dns-5)")


def test_pain_83_recycled_is_an_address_that_is_another_pods_now():
    kind, reason = judged(flow(at="10.2.0.9:53"), stones=left(backend("10.2.0.9", "dns-9")))
    assert kind is FlowClass.RECYCLED
    assert reason.endswith("which is none of its endpoints: it was pod dns-9, and pod blog/web-1 is there now")


def test_nobody_is_said_to_have_taken_over_where_nobody_knows_who_was_there():
    kind, reason = judged(flow(at="10.2.0.9:53"))
    assert kind is FlowClass.STALE_BACKEND
    assert reason.endswith("(it is pod blog/web-1)")


def test_the_same_pod_under_another_service_is_not_recycled():
    assert judged(flow(at="10.2.0.9:53"), stones=left(backend("10.2.0.9", "web-1")))[0] is FlowClass.STALE_BACKEND


def test_an_address_of_a_node_is_not_recycled():
    kind, reason = judged(flow(at="172.20.0.9:53"), stones=left(backend("172.20.0.9", "dns-9")))
    assert kind is FlowClass.STALE_BACKEND
    assert reason.endswith("(it is node n2)")


def test_pain_2_unnatted_was_made_without_rules_or_endpoints():
    kind, reason = judged(flow(at="10.96.0.10:53"))
    assert kind is FlowClass.UNNATTED
    assert reason.endswith("it was made while there were no endpoints or no rules")
    assert judged(flow(at="10.96.0.10:53"), route(ends=()))[1].endswith("not translated: there are no endpoints")


def test_a_node_port_that_is_its_own_endpoint_is_not_unnatted():
    """A host-network endpoint may listen on the very port that is the node port."""
    own = backend("172.20.0.1", "agent", 30053)
    assert judged(flow("172.20.0.1:30053", "172.20.0.1:30053"), route(ends=(own,)))[0] is FlowClass.OK


def test_pain_7_stale_frontend_was_a_service():
    kind, reason = judged(flow("192.0.2.1:53"), route("x", cluster_ip="10.96.0.99", node_port=0, external_ips=()), stones=gone())
    assert kind is FlowClass.STALE_FRONTEND
    assert reason == "from 192.0.2.1:53, which was shop/dns and is not any more, to 10.2.0.7:53 (it was pod dns-1)"


def test_pain_7_a_deleted_service_whose_pods_address_was_recycled():
    kind, _ = judged(flow("192.0.2.1:53", "10.2.0.9:53"), route("x", cluster_ip="10.96.0.99", node_port=0, external_ips=()), stones=gone())
    assert kind is FlowClass.RECYCLED


OTHER_ROUTE = route("x", cluster_ip="10.96.0.99", node_port=0, external_ips=())


def test_a_deleted_node_port_is_known_at_this_nodes_addresses_only():
    assert judged(flow("172.20.0.1:30053"), OTHER_ROUTE, stones=gone())[0] is FlowClass.STALE_FRONTEND
    assert judged(flow("172.20.0.2:30053"), OTHER_ROUTE, stones=gone())[0] is FlowClass.FOREIGN


def test_an_address_that_was_a_services_and_is_a_hosts_now_is_left_alone():
    """What is not translated goes where a new flow would go."""
    for to in ("192.0.2.1:53", "10.96.0.10:53", "172.20.0.1:30053"):
        assert judged(flow(to, to), OTHER_ROUTE, stones=gone())[0] is FlowClass.NOT_A_SERVICE


def test_a_service_that_another_proxy_took_over_is_that_ones():
    names = Names(lambda: Known({}, {"10.96.0.10": "Service shop/dns"}))
    kind, reason = judged(flow(), OTHER_ROUTE, stones=gone(), names=names)
    assert kind is FlowClass.FOREIGN
    assert "which another proxy serves" in reason


def test_a_former_node_port_that_somebody_else_leads_elsewhere():
    """A port of a container, at a port of the host that was a node port: it leads to what was never an endpoint of the Service."""
    assert judged(flow("172.20.0.1:30053", "10.2.0.7:5353"), OTHER_ROUTE, stones=gone())[0] is FlowClass.FOREIGN
    assert judged(flow("172.20.0.1:30053", "10.2.0.9:53"), OTHER_ROUTE, stones=gone())[0] is FlowClass.RECYCLED, "who left earlier counts"


def test_where_nobody_knows_the_endpoints_every_translated_flow_counts():
    stones = Tombstones()
    stones.inherit(left().notebook("n1"), 500.0)
    assert judged(flow("192.0.2.1:53", "10.2.0.99:53"), OTHER_ROUTE, stones=stones)[0] is FlowClass.STALE_FRONTEND


def test_what_lies_in_the_service_range_may_be_another_proxys():
    """Its Services are not read by default (IN-01), so nothing tells them from deleted ones, and nothing of them is ever deleted."""
    for to, number in (("10.96.0.77:53", "SEM-28"), ("10.96.0.10:54", "SEM-27")):
        one = flow(to)
        found = judge(DNS, tombstones=Tombstones()).judge(one)
        assert found.kind is FlowClass.FOREIGN
        assert number in found.reason
        assert not reconcile.doomed(one, found, Tombstones(), 0.0)


def test_foreign_is_what_somebody_else_translated():
    kind, reason = judged(flow("192.0.2.77:80", "10.2.0.7:80"))
    assert kind is FlowClass.FOREIGN
    assert reason == "no Service has 192.0.2.77:80/udp; somebody else translated it to 10.2.0.7:80"


def test_a_service_of_another_proxy_is_foreign_although_it_is_in_the_range():
    kind, reason = judged(flow("10.96.0.200:53"))
    assert kind is FlowClass.FOREIGN
    assert "Service mesh/web" in reason


def test_another_zone_is_foreign():
    assert judged(flow(at="10.2.0.5:53", zone=3))[0] is FlowClass.FOREIGN


def test_not_a_service_is_everything_else():
    assert judged(flow("10.2.0.7:53", "10.2.0.7:53")) == (FlowClass.NOT_A_SERVICE, "no Service has 10.2.0.7:53/udp")
    assert judged(flow(protocol=1))[0] is FlowClass.NOT_A_SERVICE
    assert judged(flow("198.51.100.1:53", "198.51.100.1:53", back="172.20.0.1:999"))[0] is FlowClass.NOT_A_SERVICE


def test_protocols_are_told_apart():
    assert judged(flow(protocol=TCP, at="10.96.0.10:53"), DNS, route("web", protocol=SCTP))[0] is FlowClass.NOT_A_SERVICE


def test_pain_15_clash_is_a_changed_port_of_a_client_that_is_not_this_node():
    clash = flow(client="10.5.0.1:40000", back="10.5.0.1:1025")
    kind, reason = judged(clash)
    assert kind is FlowClass.CLASH
    assert "10.5.0.1:40000 uses the same port to 10.2.0.7:53 by another way, so its port is 1025 here" in reason
    assert judged(flow(client="172.20.0.1:40000", back="172.20.0.1:1025"))[0] is FlowClass.OK
    assert judged(flow(back="172.20.0.1:1025"))[0] is FlowClass.OK


def test_a_clash_that_the_kernel_resolved():
    kind, reason = judged(flow(status=Status.NAT_CLASH))
    assert kind is FlowClass.CLASH
    assert "two packets of one socket" in reason


def test_what_is_wrong_is_not_excused_by_a_clash():
    assert judged(flow(at="10.2.0.5:53", client="10.5.0.1:40000", back="10.5.0.1:1025"))[0] is FlowClass.STALE_BACKEND


ADDRESSES = st.sampled_from(["10.96.0.10", "10.96.0.11", "192.0.2.1", "172.20.0.1", "10.2.0.7", "10.2.0.8", "10.2.0.5", "198.51.100.9"])
PORTS = st.sampled_from([53, 80, 30053])


@given(ADDRESSES, PORTS, ADDRESSES, PORTS, st.sampled_from([TCP, UDP]))
@settings(max_examples=200)
def test_a_flow_is_well_exactly_if_the_route_of_its_frontend_holds_its_endpoint(to, to_port, at, at_port, protocol):
    """What the classes say is what oracle and route say; a judgement is remembered without being changed."""
    one = flow(f"{to}:{to_port}", f"{at}:{at_port}", protocol=protocol)
    made = Judge(routing(DNS), NODE)
    found = made.judge(one)
    met = made.oracle.frontend_at(to, protocol, to_port)
    if met is None:
        assert found.port_name is None
        assert found.kind in {FlowClass.STALE_FRONTEND, FlowClass.FOREIGN, FlowClass.NOT_A_SERVICE}
    else:
        assert found.port_name == met[1].port_name
        assert (found.kind not in WRONG) is met[1].holds(at, at_port)
    assert made.judge(one) == found == classify(one, routing(DNS), NODE)


def test_places_are_all_frontends_present_and_past():
    made = judge(route("web", cluster_ip="10.96.0.11", external_ips=()), tombstones=gone())
    places = {(one.address, one.port): route is not None for one, route in made.places(V4)}
    assert places == {("10.96.0.11", 53): True, ("", 30053): False, ("10.96.0.10", 53): False, ("192.0.2.1", 53): False}
