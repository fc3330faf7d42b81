"""Keys and values of IPVS: how they are named, and that what is no part of a value does not make it another."""

from pointsman.ipvs.objects import RealKey, ServerFlag, VirtualKey, endpoint
from pointsman.routing.route import Family, Protocol

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)


def test_servers_are_named_as_people_write_them():
    assert str(WEB) == "TCP 10.96.0.1:80"
    assert str(VirtualKey(Family.IPV6, Protocol.UDP, "fd00::1", 53)) == "UDP [fd00::1]:53"
    assert str(VirtualKey(Family.IPV6, mark=7)) == "mark 7 IPv6"
    assert str(RealKey(WEB, "10.244.1.7", 8080)) == "10.244.1.7:8080 of TCP 10.96.0.1:80"
    assert endpoint("fd00::1", 1) == "[fd00::1]:1"


def test_the_same_mark_in_two_families_is_two_virtual_servers():
    assert VirtualKey(Family.IPV4, mark=7) != VirtualKey(Family.IPV6, mark=7)


def test_flags_of_newer_kernels_are_kept():
    assert int(ServerFlag(0x81)) == 0x81
