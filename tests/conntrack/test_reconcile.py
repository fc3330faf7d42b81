"""Which flows are deleted, and when to look."""

import pytest
from fakes.flows import SCTP, TCP, UDP, V4, V6, backend, flow, judge, route, routing
from msgspec.structs import replace
from pointsman.conntrack import reconcile
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.names import Known, Names
from pointsman.conntrack.reconcile import PAUSE, PERIOD, SHARE, Rhythm
from pointsman.conntrack.tombstones import Served, Tombstones

GONE = backend("10.2.0.5", "dns-5")
CASES = {"ok": "10.2.0.7:53", "draining": "10.2.0.6:53", "stale": "10.2.0.5:53", "unnatted": "10.96.0.10:53"}


def doomed(protocol, case, *, reset_after=None, left_at=None, now=1000.0):
    one = route(protocol=protocol, lingering=(backend("10.2.0.6"),), reset_after=reset_after)
    stones = Tombstones()
    if left_at is not None:
        before = replace(one, reachable=(*one.reachable, GONE))
        stones.follow({one.key: before}, {one.key: one}, left_at)
    found = flow(at=CASES[case], protocol=protocol)
    return reconcile.doomed(found, judge(one, tombstones=stones).judge(found), stones, now)


@pytest.mark.parametrize(
    ("protocol", "wanted"), [(UDP, {"stale", "unnatted"}), (SCTP, {"unnatted"}), (TCP, set())], ids=["udp", "sctp", "tcp"]
)
def test_ct_03_what_is_deleted_by_protocol(protocol, wanted):
    """CT-01 and CT-02: who serves keeps its flows, and connections with an end of their own stay."""
    assert {case for case in CASES if doomed(protocol, case)} == wanted


def test_pain_85_connections_end_some_time_after_their_endpoint_left():
    assert not doomed(TCP, "stale", reset_after=30.0, left_at=980.0)
    assert doomed(TCP, "stale", reset_after=30.0, left_at=970.0)
    assert doomed(SCTP, "stale", reset_after=30.0, left_at=970.0)
    assert doomed(TCP, "stale", reset_after=0.0, left_at=1000.0)
    assert not doomed(TCP, "draining", reset_after=0.0, left_at=900.0)
    assert not doomed(TCP, "unnatted", reset_after=0.0, left_at=900.0)
    assert not doomed(TCP, "stale", reset_after=30.0), "nobody saw it leave: it counts from now"


def test_an_association_to_an_address_where_another_pod_is_stays():
    """Both may be on the network of a node, of which only the address is known."""
    one = route(protocol=SCTP)
    stones = Tombstones()
    stones.follow({one.key: replace(one, reachable=(GONE,))}, {one.key: one}, 1.0)
    found = flow(at="10.2.0.5:53", protocol=SCTP)
    judgement = judge(one, names=Names(lambda: Known({"10.2.0.5": "pod shop/web-1"})), tombstones=stones).judge(found)
    assert judgement.kind is FlowClass.RECYCLED
    assert not reconcile.doomed(found, judgement, stones, 1000.0)


def test_another_zone_is_never_touched():
    found = flow(at="10.2.0.5:53", zone=4)
    assert not reconcile.doomed(found, judge(route()).judge(found), Tombstones(), 0.0)


def test_only_protocols_that_may_hold_wrong_flows_are_looked_at():
    stones = Tombstones()
    assert reconcile.protocols([route(protocol=TCP)], stones, V4) == set()
    assert reconcile.protocols([route(), route(protocol=TCP, reset_after=5.0)], stones, V4) == {UDP, TCP}
    assert reconcile.protocols([route()], stones, V6) == set()
    one = route(protocol=SCTP)
    stones.follow({}, {one.key: one}, 1.0)
    stones.follow({one.key: one}, {one.key: None}, 2.0)
    assert reconcile.protocols([], stones, V4) == {SCTP}


def test_a_part_judges_its_protocol_as_the_whole_does():
    whole = routing(route(), route("web", protocol=TCP, cluster_ip="10.96.0.11"))
    found = reconcile.part(whole, V4, UDP)
    assert {key.port_name.name for key in found.routes} == {"dns"}
    assert (found.cluster_ips, found.service_cidrs) == (whole.cluster_ips, whole.service_cidrs)


def test_in_43_changes_that_may_leave_flows_behind():
    one = route()
    assert reconcile.matters(None, one)
    assert reconcile.matters(one, None)
    assert reconcile.matters(one, replace(one, reachable=one.reachable[:1]))
    assert reconcile.matters(one, replace(one, external_ips=()))
    assert not reconcile.matters(one, replace(one, affinity_seconds=5))
    moved = replace(one, reachable=one.reachable[:1], lingering=one.reachable[1:])
    assert not reconcile.matters(one, moved), "who drains keeps its flows"
    web = route(protocol=TCP)
    assert not reconcile.matters(web, None)
    assert reconcile.matters(web, replace(web, reset_after=1.0))


def test_frontends_with_flows_keep_their_tombstones():
    one = flow("192.0.2.9:53")
    stones = Tombstones()
    old = route(external_ips=("192.0.2.9",))
    stones.follow({}, {old.key: old}, 1.0)
    stones.follow({old.key: old}, {old.key: None}, 2.0)
    left = [(one, judge(route("x", cluster_ip="10.96.0.11"), tombstones=stones).judge(one))]
    assert Served(V4, UDP, "192.0.2.9", 53) in reconcile.spared(left)
    assert Served(V4, UDP, "", 53) in reconcile.spared(left)
    foreign = flow("192.0.2.9:53", "10.9.9.9:53")
    assert reconcile.spared([(foreign, judge(tombstones=stones).judge(foreign))]) == set()


def test_what_waits_says_until_when():
    one = route(protocol=TCP, reset_after=30.0)
    found = flow(at="10.2.0.5:53", protocol=TCP)
    stones = Tombstones()
    left = [(found, judge(one).judge(found))]
    assert reconcile.waits(left, stones, 100.0) == 130.0
    assert reconcile.waits(left, stones, 131.0) is None
    assert reconcile.waits([], stones, 0.0) is None


def test_a_look_follows_a_change_at_once_and_otherwise_comes_now_and_then():
    rhythm = Rhythm()
    assert rhythm.next_time() == 0.0
    rhythm.began(10.0)
    rhythm.ended(0.01, 10.01, again=False)
    assert rhythm.next_time() == 10.0 + PERIOD
    rhythm.ask(40.0)
    rhythm.ask(41.0)
    assert rhythm.next_time() == 40.0


def test_a_storm_of_changes_is_bounded():
    """However many ask, there is a pause in proportion to the work."""
    rhythm, now, looks = Rhythm(), 0.0, 0
    while now < 100.0:
        rhythm.ask(now)
        now = max(now, rhythm.next_time())
        rhythm.began(now)
        looks += 1
        rhythm.ended(0.5, now + 0.5, again=True)
        now += 0.5
    assert looks <= 100.0 / (0.5 * (1 + SHARE)) + 1
    quick = Rhythm()
    quick.began(0.0)
    quick.ended(0.001, 0.001, again=True)
    assert quick.next_time() == 0.001 + PAUSE


def test_a_change_during_a_look_leads_to_another_and_a_date_is_kept():
    rhythm = Rhythm()
    rhythm.began(0.0)
    rhythm.ask(0.1)
    rhythm.ended(0.2, 0.2, again=False)
    assert rhythm.next_time() == 0.2 + PAUSE
    rhythm.began(5.0)
    rhythm.ended(0.1, 5.1, again=False, at=20.0)
    assert rhythm.next_time() == 20.0
