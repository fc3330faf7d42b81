"""Requests as bytes: equal to pyroute2's for every kind of request, refused before they are sent where a value does not fit."""

import struct

import pytest
from fakes.servers import by_library, destination, real_keys, real_servers, service, virtual_keys, virtual_servers
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.ipvs import wire
from pointsman.ipvs.objects import RealKey, RealServer, Timeouts, VirtualKey, VirtualServer
from pointsman.netlink.codec import attributes
from pointsman.routing.route import Family, Protocol
from pyroute2.ipvs import IPVSDest, IPVSService

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
REAL = RealKey(WEB, "10.244.1.7", 8080)


@given(virtual_keys(), st.data())
@settings(max_examples=150, deadline=None)
def test_virtual_servers_are_written_as_pyroute2_writes_them(key, data):
    server = data.draw(virtual_servers(key.family))
    assert wire.new_virtual(key, server) == by_library(1, service(key, server))
    assert wire.set_virtual(key, server) == by_library(2, service(key, server))
    assert wire.delete_virtual(key) == by_library(3, service(key))
    assert wire.ask_virtual(key) == by_library(4, service(key))
    assert wire.zero(key) == by_library(16, service(key))


@given(real_keys(), real_servers())
@settings(max_examples=150, deadline=None)
def test_real_servers_are_written_as_pyroute2_writes_them(key, server):
    virtual = service(key.virtual)
    assert wire.new_real(key, server) == by_library(5, virtual, destination(key, server))
    assert wire.set_real(key, server) == by_library(6, virtual, destination(key, server))
    assert wire.delete_real(key) == by_library(7, virtual, destination(key))
    assert wire.dump_reals(key.virtual) == by_library(8, virtual)


@given(*[st.integers(0, wire.LONGEST)] * 3)
@settings(deadline=None)
def test_requests_about_the_whole_are_written_as_pyroute2_writes_them(tcp, tcp_fin, udp):
    assert by_library(4) == wire.DUMP_VIRTUALS
    assert by_library(13) == wire.ASK_TIMEOUTS
    assert by_library(15) == wire.ASK_FACTS
    assert by_library(16) == wire.ZERO_ALL
    # The library knows these attributes only as bytes.
    numbers = {"TCP": tcp, "TCP_FIN": tcp_fin, "UDP": udp}
    parts = [(f"IPVS_CMD_ATTR_TIMEOUT_{name}", struct.pack("=I", number)) for name, number in numbers.items()]
    assert wire.set_timeouts(Timeouts(tcp, tcp_fin, udp)) == by_library(12, *parts)


def parts(body):
    """Return the attributes of a request as a set, whatever their order."""
    return {kind: {inner: bytes(payload) for inner, payload in attributes(content)} for kind, content in attributes(body, 4)}


def test_pyroute2_own_objects_say_the_same():
    """`IPVSService` and `IPVSDest` order attributes their own way, and set what we leave out as zero."""
    library = IPVSService(addr="10.96.0.1", port=80, protocol=6, sched_name="rr", flags={"flags": 0, "mask": 0xFFFFFFFF})
    assert parts(by_library(1, ("IPVS_CMD_ATTR_SERVICE", library.dump_nla()))) == parts(wire.new_virtual(WEB, VirtualServer()))
    real = IPVSDest(addr="10.244.1.7", port=8080, fwd_method=0, weight=3)
    written = parts(by_library(5, ("IPVS_CMD_ATTR_SERVICE", library.dump_key()), ("IPVS_CMD_ATTR_DEST", real.dump_nla())))
    ours = parts(wire.new_real(REAL, RealServer(weight=3)))
    assert written[1] == ours[1]
    assert {kind: payload for kind, payload in written[2].items() if kind < 13} == ours[2]
    assert all(not any(payload) for kind, payload in written[2].items() if kind >= 13), "tunnel attributes, all zero"


def test_masquerading_is_the_default_unlike_pyroute2():
    """`IPVSDest` without a method means direct route (3): a Service's connections would vanish."""
    assert parts(wire.new_real(REAL, RealServer()))[2][3] == struct.pack("=I", 0)
    assert IPVSDest(addr="10.244.1.7", port=80)["fwd_method"] == 3


def test_an_ipv6_virtual_server_has_its_prefix_length_as_a_native_number():
    """pyroute2 sets no mask for IPv6, and could only write a dotted one: the kernel refuses with EINVAL."""
    key = VirtualKey(Family.IPV6, Protocol.TCP, "fd00::1", 80)
    assert parts(wire.new_virtual(key, VirtualServer()))[1][9] == struct.pack("=I", 128)
    assert "netmask" not in dict(IPVSService(addr="fd00::1", port=80, protocol=6))


def test_to_change_is_not_to_delete():
    """pyroute2's command "update" sends the kernel's delete command."""
    assert wire.set_virtual(WEB, VirtualServer())[0] == 2
    assert wire.set_real(REAL, RealServer())[0] == 6


def test_a_whole_ipv4_address_persists_by_default():
    assert parts(wire.new_virtual(WEB, VirtualServer()))[1][9] == b"\xff\xff\xff\xff"
    assert parts(wire.new_virtual(WEB, VirtualServer(persistence_prefix=24)))[1][9] == b"\xff\xff\xff\x00"


@pytest.mark.parametrize(
    "request_",
    [
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0", 80)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.256", 80)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "", 80)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "fd00::1", 80)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV6, Protocol.TCP, "10.96.0.1", 80)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 65536)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4)),
        lambda: wire.ask_virtual(VirtualKey(Family.IPV4, mark=2**32)),
        lambda: wire.new_virtual(WEB, VirtualServer(scheduler="")),
        lambda: wire.new_virtual(WEB, VirtualServer(scheduler="x" * 16)),
        lambda: wire.new_virtual(WEB, VirtualServer(persistence_prefix=33)),
        lambda: wire.new_virtual(WEB, VirtualServer(persistence_prefix=0)),
        lambda: wire.new_virtual(WEB, VirtualServer(persistence_seconds=-1)),
        lambda: wire.new_virtual(WEB, VirtualServer(persistence_engine="ü")),
        lambda: wire.new_real(REAL, RealServer(weight=-1)),
        lambda: wire.new_real(REAL, RealServer(weight=2**31)),
        lambda: wire.new_real(RealKey(WEB, "10.244.1.7", -1), RealServer()),
        lambda: wire.delete_real(RealKey(WEB, "pod", 80)),
        lambda: wire.set_timeouts(Timeouts(tcp=-1)),
        lambda: wire.set_timeouts(Timeouts(udp=wire.LONGEST + 1)),
    ],
)
def test_what_does_not_fit_is_a_value_error(request_):
    with pytest.raises(ValueError, match=r"\w"):
        request_()


def test_an_address_is_packed_as_the_network_writes_it():
    assert wire.packed("10.96.0.1") == bytes([10, 96, 0, 1])
    assert wire.packed("fd00::1") == bytes([0xFD, *[0] * 14, 1])
