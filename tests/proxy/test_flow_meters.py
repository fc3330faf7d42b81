"""What the reconciler of flows counts."""

from collections import Counter

from pointsman.conntrack.classify import FlowClass
from pointsman.proxy.flow_meters import FlowMeters
from pointsman.routing.route import Protocol

UDP = Protocol.UDP


def test_a_look_replaces_what_was_seen_and_adds_services_up():
    meters = FlowMeters()
    meters.looked(UDP, Counter({(FlowClass.OK, "shop/a"): 3, (FlowClass.OK, "shop/b"): 4, (FlowClass.UNNATTED, ""): 1}))
    assert meters.seen[UDP] == {FlowClass.OK: 7, FlowClass.UNNATTED: 1}
    meters.looked(UDP, Counter({(FlowClass.OK, "shop/a"): 2}))
    assert meters.seen[UDP] == {FlowClass.OK: 2}


def test_a_copy_does_not_change_any_more():
    meters = FlowMeters()
    copy = meters.copy()
    meters.looks.observe(1.0)
    meters.deleted[UDP, FlowClass.UNNATTED] += 1
    meters.looked(UDP, Counter({(FlowClass.OK, ""): 1}))
    assert (copy.looks.total, copy.deleted, copy.seen) == (0, {}, {})
