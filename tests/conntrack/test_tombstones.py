"""What is remembered of frontends and endpoints that went."""

import msgspec
import pytest
from fakes.flows import SCTP, TCP, UDP, V4, V6, backend, route
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.conntrack import tombstones as module
from pointsman.conntrack.tombstones import REST_SECONDS, Notebook, Served, Tombstones


def followed(*moves):
    """Return the tombstones after a sequence of states, each a list of routes, one second apart."""
    stones, before = Tombstones(), {}
    for moment, routes in enumerate(moves, 100):
        after = {one.key: one for one in routes}
        changed = {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        stones.follow(before, changed, float(moment))
        before = after
    return stones


def test_pain_7_every_frontend_of_a_deleted_service_has_a_tombstone():
    stones = followed([route()], [])
    for found in (stones.gone(V4, UDP, "10.96.0.10", 53), stones.gone(V4, UDP, "192.0.2.1", 53), stones.gone_node_port(V4, UDP, 30053)):
        assert found is not None
        assert (found.service, found.since) == ("shop/dns", 101.0)
    assert stones.gone(V4, TCP, "10.96.0.10", 53) is None
    assert len(stones) == 3


def test_a_frontend_that_is_dropped_or_served_again():
    stones = followed([route()], [route(external_ips=())])
    assert stones.gone(V4, UDP, "192.0.2.1", 53) is not None
    assert len(stones) == 1
    assert len(followed([route()], [route(external_ips=())], [route()])) == 0


def test_a_frontend_that_goes_from_one_service_to_another_is_served():
    other = route("other", cluster_ip="10.96.0.11", node_port=30054)
    assert followed([route()], [route(external_ips=()), other]).gone(V4, UDP, "192.0.2.1", 53) is None


@pytest.mark.parametrize(("protocol", "count"), [(UDP, 3), (SCTP, 3), (TCP, 0)])
def test_only_what_does_not_end_by_itself_is_remembered(protocol, count):
    assert len(followed([route(protocol=protocol)], [])) == count


def test_who_left_is_known_until_somebody_is_there_again():
    one, two = backend("10.2.0.7", "dns-1"), backend("10.2.0.8", "dns-2")
    left = followed([route(ends=(one, two))], [route(ends=(two,))])
    found = left.departed("shop/dns", "10.2.0.7", 53)
    assert found is not None
    assert (found.pod, found.since) == ("dns-1", 101.0)
    assert left.departed("shop/dns", "10.2.0.8", 53) is None
    again = followed([route(ends=(one, two))], [route(ends=(two,))], [route(ends=(backend("10.2.0.7", "dns-9"), two))])
    assert again.departed("shop/dns", "10.2.0.7", 53) is None


def test_who_drains_has_not_left():
    one, two = backend("10.2.0.7", "dns-1"), backend("10.2.0.8", "dns-2")
    assert followed([route(ends=(one, two))], [route(ends=(two,), lingering=(one,))]).departed("shop/dns", "10.2.0.7", 53) is None


def test_a_departure_that_nobody_saw_counts_from_when_it_is_noticed():
    stones = Tombstones()
    assert stones.sighted("shop/dns", "10.2.0.7", 53, 50.0).since == 50.0
    assert stones.sighted("shop/dns", "10.2.0.7", 53, 60.0).since == 50.0


def test_memory_of_departures_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "ROOM", 10)
    many = tuple(backend(f"10.2.1.{number}", str(number)) for number in range(30))
    stones = followed([route(ends=many)], [route(ends=())])
    assert stones.departed("shop/dns", "10.2.1.0", 53) is None
    assert stones.departed("shop/dns", "10.2.1.29", 53) is not None


def test_a_tombstone_goes_when_a_late_look_leaves_no_flow():
    stones = followed([route()], [])
    node_port = Served(V4, UDP, "", 30053)
    assert stones.forget(V4, UDP, [], 101.0 + REST_SECONDS - 1) == 0
    assert stones.forget(V6, UDP, [], 1000.0) == 0
    assert stones.forget(V4, SCTP, [], 1000.0) == 0
    assert stones.forget(V4, UDP, [node_port], 1000.0) == 2
    assert list(stones.remembered()) == [node_port]
    assert stones.due(V6, 0.0) is None


def test_in_01_a_service_of_another_proxy_has_no_tombstones():
    stones = followed([route()], [])
    before, revision = len(stones), stones.revision
    assert stones.services() == {"shop/dns"}
    assert stones.hand_over({"shop/dn", "shop/dnsx", "dns"}) == 0
    assert stones.revision == revision
    assert stones.hand_over({"shop/dns"}) == before > 0
    assert stones.services() == frozenset()
    assert stones.revision > revision
    assert [entry.gone for entry in stones.notebook("n1").frontends if entry.service.startswith("shop/dns")] == []


def test_a_tombstone_that_stays_has_no_date():
    stones = followed([route()], [])
    assert stones.due(V4, 101.0) == 101.0 + REST_SECONDS
    assert stones.due(V4, 101.0 + REST_SECONDS) is None, "or it would be looked for without end"


def test_a_tombstone_tells_where_its_frontend_led():
    stones = followed([route(ends=(backend("10.2.0.7"), backend("10.2.0.8")))], [route(ends=(backend("10.2.0.8"),))], [])
    stone = stones.gone(V4, UDP, "10.96.0.10", 53)
    assert stone is not None
    assert stone.ends == {("10.2.0.8", 53)}
    assert [stones.led(stone, f"10.2.0.{last}", 53) for last in (7, 8, 9)] == [True, True, False]


def test_pain_7_a_service_that_goes_while_nobody_watches_is_missed_by_the_next():
    notebook = followed([route(), route("kept", cluster_ip="10.96.0.11", node_port=30054, external_ips=())]).notebook("n1")
    again = msgspec.json.decode(msgspec.json.encode(notebook), type=Notebook)
    assert again == notebook
    assert again.node == "n1"
    after = followed([route("kept", cluster_ip="10.96.0.11", node_port=30054, external_ips=())])
    assert after.inherit(again, 500.0) == 3
    assert after.gone(V4, UDP, "10.96.0.10", 53).since == 500.0
    assert after.gone(V4, UDP, "10.96.0.11", 53) is None


def test_a_tombstone_is_handed_on_with_its_age_and_where_it_led():
    notebook = msgspec.json.decode(msgspec.json.encode(followed([route()], []).notebook("n1")), type=Notebook)
    after = Tombstones()
    assert after.inherit(notebook, 900.0) == 3
    stone = after.gone(V4, UDP, "192.0.2.1", 53)
    assert (stone.since, stone.ends) == (101.0, {("10.2.0.7", 53), ("10.2.0.8", 53)})
    assert after.inherit(notebook, 901.0) == 0


@given(st.lists(st.lists(st.sampled_from(["dns", "web", "log"]), unique=True), min_size=1, max_size=8))
@settings(max_examples=100)
def test_what_is_served_has_no_tombstone_and_what_was_has_one(moves):
    made = {
        name: route(name, cluster_ip=f"10.96.0.{number}", node_port=30000 + number, external_ips=())
        for number, name in enumerate(["dns", "web", "log"], 1)
    }
    stones = followed(*([made[name] for name in names] for names in moves))
    ever, now = {name for names in moves for name in names}, set(moves[-1])
    gone = {one.address for one in stones.remembered() if one.address}
    assert gone == {made[name].cluster_ip for name in ever - now}
    assert {entry.address for entry in stones.notebook("n1").frontends if entry.address and not entry.gone} == {
        made[name].cluster_ip for name in now
    }


def test_a_copy_stays_as_it_was():
    stones = followed([route()], [])
    copy = stones.copy()
    stones.forget(V4, UDP, [], 1000.0)
    assert len(copy) == 3
    assert len(stones) == 0
