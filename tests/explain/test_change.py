import pytest
from msgspec import structs
from pointsman.explain.change import Count, Kind, changes, counted, notices
from pointsman.routing.build import build
from pointsman.routing.route import Backend, Notice, ServiceRoute, Topology, TopologyMode
from pointsman.routing.snapshot import Snapshot
from proxy.views import NODE, endpoint, endpoint_slice, service, snapshot


def routing(*endpoints, **spec):
    return build(snapshot([service("web", "10.96.0.10", **spec)], [endpoint_slice("web", *endpoints)]), NODE)


ONE, TWO = endpoint("10.244.1.1", "n1"), endpoint("10.244.2.1", "n2")


def test_endpoints_and_policies_are_told_one_by_one():
    [found] = changes(routing(ONE), routing(TWO, internal_traffic_policy="Local", session_affinity="ClientIP"))
    assert (found.subject, found.kind) == ("shop/web:http tcp", Kind.CHANGED)
    assert "endpoint 10.244.1.1:8080 goes" in found.texts
    assert "internal traffic policy Cluster → Local" in found.texts
    assert any(text.startswith("session affinity 0 s → 10800 s") for text in found.texts)
    assert "new connections to cluster IP: forwards → drops" in found.texts


def test_what_comes_and_goes_as_a_whole():
    empty = build(Snapshot(), NODE)
    [added] = changes(empty, routing(ONE))
    [removed] = changes(routing(ONE), empty)
    assert (added.kind, removed.kind) == (Kind.ADDED, Kind.REMOVED)
    assert added.texts == ("cluster IP 10.96.0.10:80", "1 endpoint: 10.244.1.1:8080")


def test_the_same_is_no_change():
    assert changes(routing(ONE, TWO), routing(TWO, ONE)) == ()


END = Backend("10.244.9.9", 8080, local=False, hairpin=False)
OTHERWISE = {
    "cluster_ip": "10.96.0.77", "port": 81, "node_port": 30999, "node_port_taken": ("192.168.50.1",), "external_ips": ("192.0.2.9",),
    "load_balancer_ips": ("192.0.2.10",), "source_ranges": ("192.0.2.0/24",), "vip_is_source": True, "internal_local": True,
    "external_local": True, "affinity_seconds": 7, "scheduler": "lc", "scheduler_flags": ("sh-port",), "cluster": (END,), "local": (END,),
    "reachable": (END,), "any_endpoint": True, "topology": Topology(TopologyMode.SAME_ZONE), "lingering": (END,), "reset_after": 30.0,
}  # fmt: skip


@pytest.mark.parametrize("name", [one for one in ServiceRoute.__struct_fields__ if one not in {"port_name", "family"}])
def test_a_change_of_any_field_of_a_route_is_told(name):
    """A gate that says nothing changes, and something does, is worse than none; the two fields left out are the route's key."""
    [(key, route)] = routing().routes.items()
    old, new = (structs.replace(routing(), routes={key: one}) for one in (route, structs.replace(route, **{name: OTHERWISE[name]})))
    [found] = changes(old, new)
    assert found.texts


@pytest.mark.parametrize(("field", "value", "says"), [
    ("weight", 3, "endpoint 10.244.9.9:8080 weighs 1 → 3"), ("local", True, "endpoint 10.244.9.9:8080 is on this node"),
    ("hairpin", True, "endpoint 10.244.9.9:8080 is where nobody knows"),
])  # fmt: skip
def test_a_change_of_an_endpoint_that_stays_is_told(field, value, says):
    [(key, route)] = routing().routes.items()
    ends = (END, structs.replace(END, **{field: value}))
    old, new = (structs.replace(routing(), routes={key: structs.replace(route, cluster=(end,), reachable=(end,))}) for end in ends)
    assert [one.texts for one in changes(old, new)] == [(says,)]


def test_what_becomes_of_connections_is_told():
    [(key, route)] = routing(ONE).routes.items()
    resets = structs.replace(routing(ONE), routes={key: structs.replace(route, reset_after=30.0)})
    [found] = changes(routing(ONE), resets)
    assert found.texts == ("connections to an endpoint that has left: kept → ended after 30 s",)


def test_counts_and_notices():
    assert counted({"a": 1, "b": 1}, {"b": 2, "c": 1}) == Count(1, 1, 1)
    old = Notice("Service a/b", "spec", "x")
    assert notices([old], [old, structs.replace(old, text="y")]) == (structs.replace(old, text="y"),)
