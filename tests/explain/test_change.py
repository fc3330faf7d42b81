from msgspec import structs
from pointsman.explain.change import Count, Kind, changes, counted, notices
from pointsman.routing.build import build
from pointsman.routing.route import Notice
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


def test_counts_and_notices():
    assert counted({"a": 1, "b": 1}, {"b": 2, "c": 1}) == Count(1, 1, 1)
    old = Notice("Service a/b", "spec", "x")
    assert notices([old], [old, structs.replace(old, text="y")]) == (structs.replace(old, text="y"),)
