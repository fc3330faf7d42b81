from typing import ClassVar

import pytest
from msgspec import structs
from pointsman.kube.events import Batch, Problem, Remove, Replace, Upsert
from pointsman.kube.objects import Kind, Node, NodeAddress, NodeStatus, ObjectMeta, ref_of
from pointsman.proxy.agent import Agent, Parts
from pointsman.proxy.config import Config
from pointsman.proxy.facts import Host
from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Family, Protocol, ServicePortName

from .engines import FakeEngine, FakeLoop
from .views import endpoint, endpoint_slice, service

WEB = service("web", "10.96.0.10")
WEB_SLICE = endpoint_slice("web", endpoint("10.244.1.1", "n1"))
SERVICES = Replace(Kind.SERVICE, (WEB,))
SLICES = Replace(Kind.ENDPOINT_SLICE, (WEB_SLICE,))
HOST = Host("n1", {Family.IPV4: ("127.0.0.1", "192.168.50.1"), Family.IPV6: ("::1",)})


def agent(**settings: object) -> tuple[Agent, FakeLoop]:
    loop = FakeLoop()
    config = structs.replace(Config(manifests="m", cluster_cidr=("10.244.0.0/16",), node_port_addresses=("primary",)), **settings)
    return Agent(Parts(config, HOST, FakeEngine({}), {Family.IPV4: loop})), loop


def test_in_07_nothing_is_offered_before_services_and_slices_have_both_been_read() -> None:
    one, loop = agent()
    one.receive(Batch((SLICES,)))
    one.move(Host("n1", {Family.IPV4: ("10.9.9.9",), Family.IPV6: ()}))
    assert loop.offers == []
    one.receive(Batch((SERVICES,)))
    (offer,) = loop.offers
    assert len(offer[0].changed) == 1


def test_a_loop_knows_that_the_input_is_incomplete_before_it_is_offered_anything() -> None:
    one, loop = agent()
    one.receive(Batch((SERVICES, SLICES), blind=True))
    assert loop.complete_at_offer == [False]
    one.receive(Batch(()))
    assert loop.complete is True


def test_a_change_that_changes_nothing_is_not_offered() -> None:
    one, loop = agent()
    one.receive(Batch((SERVICES, SLICES)))
    one.receive(Batch((Upsert(WEB), Upsert(WEB_SLICE))))
    assert len(loop.offers) == 1


def test_a_changed_slice_offers_its_own_routes_only() -> None:
    one, loop = agent()
    api = service("api", "10.96.0.11")
    one.receive(Batch((Replace(Kind.SERVICE, (WEB, api)), SLICES)))
    one.receive(Batch((Upsert(endpoint_slice("web", endpoint("10.244.1.2", "n1"))),)))
    assert [key.port_name.name for key in loop.offers[-1][0].changed] == ["web"]


def test_a_nodes_change_makes_new_facts() -> None:
    one, loop = agent()
    one.receive(Batch((SERVICES, SLICES)))
    one.receive(Batch((Upsert(Node(ObjectMeta("n1"), status=NodeStatus((NodeAddress("InternalIP", "192.168.50.1"),)))),)))
    assert loop.offers[-1][1].node_ips[Family.IPV4] == "192.168.50.1"


def test_changed_addresses_are_offered_and_equal_ones_are_not() -> None:
    one, loop = agent()
    one.receive(Batch((SERVICES, SLICES)))
    one.move(HOST)
    assert len(loop.offers) == 1
    one.move(Host("n1", {Family.IPV4: ("127.0.0.1",), Family.IPV6: ()}))
    assert loop.offers[-1][1].local_addresses[Family.IPV4] == ("127.0.0.1",)


def test_problems_and_notices_are_told_in_the_view_and_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    one, _ = agent(node_port_addresses=())
    problem = Problem("bad.yaml:1", "", "", "not YAML")
    one.receive(Batch((SERVICES, SLICES), problems=(problem,)))
    one.receive(Batch((Remove(ref_of(WEB)),)))
    assert one.view().problems == (problem,)
    assert [notice.field for notice in one.view().notices] == ["--nodeport-addresses"]
    reasons = [vars(record).get("reason", "") for record in caplog.records]
    assert reasons.count("not YAML") == 1
    assert sum("consider 'primary'" in reason for reason in reasons) == 1


def test_health_is_that_of_the_loops_and_of_the_node() -> None:
    one, _ = agent(sync_period=5.0)
    one.receive(Batch((SERVICES, SLICES, Replace(Kind.NODE, (Node(ObjectMeta("n2")),)))))
    health = one.health()
    assert health.timeout == 10.0
    assert health.families[Family.IPV4].pending == 7.0
    assert not health.eligible


def test_pain_19_endpoints_of_a_node_that_is_gone_are_buried() -> None:
    one, _ = agent()
    nodes = Replace(Kind.NODE, tuple(Node(ObjectMeta(name)) for name in ("n1", "n2")))
    one.receive(Batch((SERVICES, endpoints_on("n1", "n2"), nodes)))
    assert one.parts.engine.buried == frozenset()
    one.receive(Batch((Remove(ref_of(Node(ObjectMeta("n2")))),)))
    assert one.parts.engine.buried == {"10.244.2.1"}


def test_in_03_where_only_this_node_is_followed_the_others_are_not_taken_for_gone() -> None:
    one, _ = agent(manifests="", kubeconfig="k")
    one.parts.engine.buried = frozenset()
    one.receive(Batch((SERVICES, endpoints_on("n1", "n2"), Replace(Kind.NODE, (Node(ObjectMeta("n1")),)))))
    assert one.parts.engine.buried == frozenset()


def test_hlt_03_a_node_that_the_api_does_not_know_is_not_eligible() -> None:
    one, _ = agent(manifests="")
    assert not one.health().eligible
    one.receive(Batch((SERVICES, SLICES, Replace(Kind.NODE, (Node(ObjectMeta("n1")),)))))
    assert one.health().eligible
    one.receive(Batch((Remove(ref_of(Node(ObjectMeta("n1")))),)))
    assert not one.health().eligible


def test_what_the_kernel_does_not_take_is_known_of_all_families() -> None:
    one, loop = agent()
    port_name = ServicePortName("shop", "web", "http", Protocol.TCP)
    loop.refusals[port_name] = "the kernel does not take it"
    assert one.refused() == {port_name: "the kernel does not take it"}


def test_nothing_is_buried_while_no_node_is_known() -> None:
    one, _ = agent()
    one.receive(Batch((SERVICES, endpoints_on("n1", "n2"), Replace(Kind.NODE, (Node(ObjectMeta("n1")),)))))
    one.receive(Batch((Replace(Kind.NODE, ()),)))
    assert one.parts.engine.buried == frozenset()


def test_pain_90_a_node_that_nobody_has_seen_is_not_lost() -> None:
    """A source may tell of this node only."""
    one, _ = agent()
    one.receive(Batch((SERVICES, endpoints_on("n1", "n2"), Replace(Kind.NODE, (Node(ObjectMeta("n1")),)))))
    one.receive(Batch((endpoints_on("n1"),)))
    assert one.parts.engine.buried == frozenset()


def test_pain_90_it_does_not_matter_whether_the_node_or_its_endpoints_go_first() -> None:
    nodes = Replace(Kind.NODE, tuple(Node(ObjectMeta(name)) for name in ("n1", "n2")))
    gone = Remove(ref_of(Node(ObjectMeta("n2"))))
    for changes in ((gone, endpoints_on("n1")), (endpoints_on("n1"), gone)):
        one, _ = agent()
        one.receive(Batch((SERVICES, endpoints_on("n1", "n2"), nodes)))
        for change in changes:
            one.receive(Batch((change,)))
        assert one.parts.engine.buried == {"10.244.2.1"}


def endpoints_on(*names: str) -> Replace:
    found = (endpoint(f"10.244.{number}.1", name) for number, name in enumerate(names, 1))
    return Replace(Kind.ENDPOINT_SLICE, (endpoint_slice("web", *found),))


def test_endpoints_are_those_that_services_use_now() -> None:
    one, _ = agent()
    assert one.endpoints() == frozenset()
    one.receive(Batch((SERVICES, SLICES)))
    assert one.endpoints() == {(Protocol.TCP, "10.244.1.1", 8080)}
    one.receive(Batch((Remove(ref_of(WEB_SLICE)),)))
    assert one.endpoints() == frozenset()


class FakeDns:
    """Gives the modes routes with one more frontend."""

    local: ClassVar = {}

    def advance(self, snapshot: object, dirty: object) -> bool:
        return False

    def offered(self, change: RoutingChange) -> RoutingChange:
        shown = {key: structs.replace(route, external_ips=("169.254.20.10",)) for key, route in change.routing.routes.items()}
        return RoutingChange(structs.replace(change.routing, routes=shown), {key: shown.get(key) for key in change.changed})


def test_flows_are_judged_by_what_the_modes_have() -> None:
    """Queries to the node's own DNS address that fell back to the cluster's DNS are flows of its Service like others."""
    one, loop = agent()
    one.parts.dns = FakeDns()
    one.receive(Batch((SERVICES, SLICES)))
    (route,) = one.flows.routes.values()
    assert route.external_ips == ("169.254.20.10",)
    withheld = structs.replace(loop.offers[0][0].routing, routes={route.key: structs.replace(route, cluster_ip="")})
    one.offer(RoutingChange(withheld, dict(withheld.routes)))
    assert loop.offers[-1][0].routing.routes == one.flows.routes == withheld.routes
