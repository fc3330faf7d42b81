import pytest
from fakes import routes as make
from fakes.ipvs import desired
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.contract import ABSENT
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs import names
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.ipvs.ownership import Ownership
from pointsman.ipvs.removal import describe, reduction, remainder, removal
from pointsman.routing.route import Family, Protocol

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


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_what_remains_serves_and_proves_the_virtual_servers_that_are_kept(family, data):
    """Whichever are kept: their addresses stay, the rest goes, and a process that remembers nothing knows them again."""
    everything = desired(family, *data.draw(make.some_routes(family)))
    seen = {key: value for key, value in everything.items() if not isinstance(key, VirtualKey | RealKey)}
    virtuals = sorted((key for key in everything if isinstance(key, VirtualKey)), key=str)
    kept = set(data.draw(st.sets(st.sampled_from(virtuals)))) if virtuals else set()
    left = remainder(seen, kept, [], family, 14)
    owner = Ownership(family, Options(), left)
    assert all(owner.owns(key) for key in kept)
    bound = {key.address for key in left if isinstance(key, AddressKey)}
    assert {key.address for key in kept if key.protocol and AddressKey(key.address) in seen} <= bound
    if all(key.protocol for key in kept):
        assert bound <= {key.address for key in kept}
    assert any(isinstance(key, RuleKey) for key in left) is bool(bound)
    assert remainder(left, kept, [], family, 14) == left, "another look, or another process, changes nothing"
    plan = reduction(seen, left)
    assert {change.key for change in plan.changes if change.after is not ABSENT} <= {key for key in left if isinstance(key, RuleKey)}


def test_a_mark_keeps_the_addresses_at_which_packets_got_it():
    route = make.route(
        external_ips=("192.0.2.9",), load_balancer_ips=("203.0.113.9",), external_local=True, backends=[make.backend(V4, 1, local=True)]
    )
    everything = desired(V4, route)
    seen = {key: value for key, value in everything.items() if not isinstance(key, VirtualKey | RealKey)}
    mark = VirtualKey(V4, mark=names.mark(route))
    assert mark in everything
    assert {key.address for key in remainder(seen, [mark], [], V4, 14) if isinstance(key, AddressKey)} == {"192.0.2.9", "203.0.113.9"}


def test_an_address_that_lingers_is_guarded_and_nothing_more():
    seen = {key: value for key, value in desired(V4, make.route(backends=[make.backend(V4, 1)])).items() if not isinstance(key, RealKey)}
    left = remainder(seen, [], [AddressKey("10.96.0.58")], V4, 14)
    sets = {key for key in left if isinstance(key, SetKey)}
    assert sets == {SetKey("KUBE-IPVS-IPS"), SetKey("KUBE-IPVS-IPS", "10.96.0.58")}
    assert remainder(seen, [], [], V4, 14) == {}


def test_what_proves_kube_proxys_node_ports_stays_as_long_as_they_do():
    """Its sets of node ports are not ours; without them a process that starts in between would not know whose these virtual servers are."""
    node_port = VirtualKey(V4, Protocol.TCP, "192.0.2.7", 30080)
    at_the_device = VirtualKey(V4, Protocol.TCP, "10.96.0.1", 443)
    proofs = {
        SetKey("KUBE-NODE-PORT-TCP"): "bitmap:port range 0-65535",
        SetKey("KUBE-CLUSTER-IP"): "hash:ip,port family inet maxelem 65536",
    }
    seen = {
        **proofs,
        SetKey("KUBE-LOAD-BALANCER-LOCAL"): "hash:ip,port family inet maxelem 65536",
        SetKey("KUBE-IPVS-IPS"): "hash:ip family inet maxelem 65536",
        AddressKey("10.96.0.1"): "",
    }
    assert remainder(seen, [node_port], [], V4, 14) == proofs
    left = remainder(seen, [node_port, at_the_device], [], V4, 14)
    assert proofs.items() <= left.items()
    assert not proofs.keys() & remainder(seen, [at_the_device], [], V4, 14).keys()
    assert remainder(left, [], [], V4, 14) == {}
