from fakes import routes as make
from fakes.ipvs import desired
from pointsman.dataplane.contract import ABSENT
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.removal import describe, removal
from pointsman.routing.route import Family

V4 = Family.IPV4


def test_everything_goes_and_packets_are_led_away_first():
    seen = desired(V4, make.route(backends=[make.backend(V4, 1, local=True)]))
    plan = removal(seen)
    assert {change.key for change in plan.changes} == set(seen)
    assert all(change.after is ABSENT for change in plan.changes)
    assert isinstance(plan.changes[0].key, AddressKey)
    assert all(not content for content in plan.groups.values())


def test_what_goes_is_told_in_words():
    seen = desired(V4, make.route(backends=[make.backend(V4, 1), make.backend(V4, 2)]))
    words = describe(seen, V4, "legacy")
    assert "virtual server TCP 10.96.0.58:80 (2)" in words
    assert "ipset KUBE-CLUSTER-IP (1)" in words
    assert "addresses on kube-ipvs0, IPv4 (1)" in words
    assert "legacy IPv4 nat: chain KUBE-IPVS-SERVICES" in words
    assert "legacy IPv4 nat: jump in PREROUTING" in words
    assert describe({}, V4, "legacy") == ()
