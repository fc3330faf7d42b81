"""pain 30: other programs' virtual servers are theirs."""

import pytest
from fakes import routes as make
from fakes.ipvs import desired
from hypothesis import given
from hypothesis import strategies as st
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import VirtualKey
from pointsman.ipvs.ownership import Inherited, Ownership
from pointsman.routing.route import Family, Protocol

V4 = Family.IPV4


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_pain_29_every_virtual_server_that_we_make_is_known_again(family, data):
    wanted = desired(family, data.draw(make.routes(family, 1)), node=data.draw(make.nodes(family)))
    owner = Ownership(family, Options(), wanted)
    assert all(owner.owns(key) for key in wanted if isinstance(key, VirtualKey))


def test_pain_30_others_are_not_ours():
    owner = Ownership(V4, Options(), desired(V4, make.route(node_port=30080, backends=[make.backend(V4, 1)])))
    node = make.NODE_ADDRESS[V4]
    assert owner.owns(VirtualKey(V4, Protocol.TCP, node, 30080))
    assert not owner.owns(VirtualKey(V4, Protocol.UDP, node, 30080))
    assert not owner.owns(VirtualKey(V4, Protocol.TCP, node, 443))
    assert not owner.owns(VirtualKey(V4, Protocol.TCP, "198.51.100.77", 80))
    assert not owner.owns(VirtualKey(V4, mark=7))


def test_a_leftover_at_an_address_of_our_device_is_ours():
    owner = Ownership(V4, Options(), [AddressKey("10.96.0.9")])
    assert owner.owns(VirtualKey(V4, Protocol.TCP, "10.96.0.9", 81))


def test_pain_29_excluded_addresses_are_never_ours():
    owner = Ownership(V4, Options("rr", ("10.96.0.0/16",)), [AddressKey("10.96.0.9")])
    assert not owner.owns(VirtualKey(V4, Protocol.TCP, "10.96.0.9", 81))


def test_pain_29_what_kube_proxy_left_is_ours_at_this_nodes_addresses():
    node = make.NODE_ADDRESS[V4]
    inherited = Inherited(frozenset({(Protocol.TCP, 30080)}), frozenset({"203.0.113.1,tcp:80"}), frozenset({node}))
    owner = Ownership(V4, Options(), [], inherited)
    assert owner.owns(VirtualKey(V4, Protocol.TCP, node, 30080))
    assert owner.owns(VirtualKey(V4, Protocol.TCP, "203.0.113.1", 80))
    assert not owner.owns(VirtualKey(V4, Protocol.UDP, node, 30080))
    assert not owner.owns(VirtualKey(V4, Protocol.TCP, "198.51.100.77", 30080)), "pain 30"
