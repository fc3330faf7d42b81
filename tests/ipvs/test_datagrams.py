"""Datagrams: the same bytes as messages made one by one, whatever follows what; refused before they are sent where a value does not fit."""

import pytest
from fakes.servers import ADDRESSES, PORTS, real_keys, real_servers, virtual_keys, virtual_servers
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.ipvs import wire
from pointsman.ipvs.datagrams import LONGEST, Writer
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.netlink import codec
from pointsman.routing.route import Family, Protocol

KIND = 30
ONE, TWO = RealServer(), RealServer(weight=0)
WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)


def one_by_one(requests, first):
    last = len(requests) - 1
    flags = [codec.REQUEST | codec.ACK * (place == last) for place in range(len(requests))]
    made = (wire.request(*one) for one in requests)
    return b"".join(codec.encode(KIND, flag, first + n, body) for n, (flag, body) in enumerate(zip(flags, made, strict=True)))


@st.composite
def runs(draw):
    """Return requests in which neighbours often, but not always, are alike but for their address."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            key = draw(virtual_keys())
            value = draw(virtual_servers(key.family))
            command = draw(st.sampled_from([wire.NEW_VIRTUAL, wire.SET_VIRTUAL, wire.DELETE_VIRTUAL]))
            keys = [VirtualKey(key.family, key.protocol, draw(ADDRESSES[key.family]), key.port) for _ in range(3)] if key.protocol else []
            found += [(command, one, None if command == wire.DELETE_VIRTUAL else value) for one in [key, *keys]]
            continue
        key, value = draw(real_keys()), draw(real_servers())
        command = draw(st.sampled_from([wire.NEW_REAL, wire.SET_REAL, wire.DELETE_REAL]))
        values = [None] if command == wire.DELETE_REAL else [value, ONE]
        for _ in range(draw(st.integers(1, 5))):
            address = draw(ADDRESSES[draw(st.sampled_from(Family))])
            port = draw(st.sampled_from([key.port, key.port, draw(PORTS)]))
            found.append((command, RealKey(key.virtual, address, port), draw(st.sampled_from(values))))
    return found


@given(st.lists(runs(), min_size=1, max_size=3), st.integers(1, 2**31))
@settings(max_examples=200, deadline=None)
def test_a_datagram_is_its_messages_one_after_the_other(datagrams, first):
    writer = Writer(KIND)
    for requests in datagrams:
        assert writer.write(requests, first) == one_by_one(requests, first)


@given(real_keys(), real_servers(), virtual_keys(), st.data())
@settings(max_examples=100, deadline=None)
def test_no_message_is_longer_than_is_said(real, server, virtual, data):
    value = data.draw(virtual_servers(virtual.family))
    for request in ((wire.NEW_REAL, real, server), (wire.NEW_VIRTUAL, virtual, value)):
        assert len(Writer(KIND).write([request], 1)) <= LONGEST


def test_what_tells_neighbours_apart_is_written():
    """Each differs from the one before in a single thing."""
    other = VirtualKey(Family.IPV4, Protocol.UDP, "10.96.0.1", 80)
    requests = [
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.1", 8080), ONE),
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.2", 8080), ONE),
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.2", 8081), ONE),
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.2", 8081), TWO),
        (wire.SET_REAL, RealKey(WEB, "10.244.0.2", 8081), TWO),
        (wire.SET_REAL, RealKey(other, "10.244.0.2", 8081), TWO),
        (wire.SET_REAL, RealKey(VirtualKey(Family.IPV4, mark=7), "10.244.0.2", 8081), TWO),
        (wire.SET_REAL, RealKey(VirtualKey(Family.IPV4, mark=8), "10.244.0.2", 8081), TWO),
        (wire.SET_REAL, RealKey(VirtualKey(Family.IPV6, mark=8), "fd00::2", 8081), TWO),
        (wire.DELETE_REAL, RealKey(WEB, "10.244.0.2", 8081), None),
        (wire.DELETE_VIRTUAL, WEB, None),
        (wire.DELETE_VIRTUAL, other, None),
        (wire.NEW_VIRTUAL, other, VirtualServer()),
        (wire.NEW_VIRTUAL, VirtualKey(Family.IPV6, Protocol.UDP, "fd00::1", 80), VirtualServer("lc")),
    ]
    assert Writer(KIND).write(requests, 5) == one_by_one(requests, 5)


@pytest.mark.parametrize("wrong", ["10.244.0", "10.244.0.256", "", "pod", "10.244.0.1\0"])
def test_an_address_that_is_none_is_a_value_error_also_within_a_run(wrong):
    before = [(wire.NEW_REAL, RealKey(WEB, "10.244.0.1", 8080), ONE)]
    with pytest.raises(ValueError, match="no IP address"):
        Writer(KIND).write([*before, (wire.NEW_REAL, RealKey(WEB, wrong, 8080), ONE)], 1)


@pytest.mark.parametrize(
    "request_",
    [
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.1", 65536), ONE),
        (wire.NEW_REAL, RealKey(WEB, "10.244.0.1", 80), RealServer(weight=-1)),
        (wire.NEW_VIRTUAL, VirtualKey(Family.IPV4, Protocol.TCP, "fd00::1", 80), VirtualServer()),
        (wire.NEW_VIRTUAL, VirtualKey(Family.IPV6, Protocol.TCP, "10.96.0.7", 80), VirtualServer()),
        (wire.NEW_VIRTUAL, VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.7", -1), VirtualServer()),
        (wire.NEW_VIRTUAL, VirtualKey(Family.IPV4), VirtualServer()),
        (wire.NEW_VIRTUAL, WEB, VirtualServer(scheduler="")),
    ],
)
def test_what_does_not_fit_is_the_value_error_of_wire(request_):
    with pytest.raises(ValueError, match=r"\w") as expected:
        wire.request(*request_)
    with pytest.raises(ValueError, match=r"\w") as found:
        Writer(KIND).write([request_], 1)
    assert str(found.value) == str(expected.value)
