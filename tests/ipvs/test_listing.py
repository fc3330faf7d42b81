"""The text of /proc/net/ip_vs: what it tells is what netlink tells, and what it cannot tell is left to netlink."""

import pytest
from fakes.scratch import namespace, shell
from hypothesis import given
from hypothesis import strategies as st
from pointsman.ipvs import listing, servers
from pointsman.ipvs.drain import Drain
from pointsman.ipvs.objects import Load, RealKey, RealServer, VirtualKey
from pointsman.ipvs.servers import Servers
from pointsman.routing.route import Family, Protocol

HEADING = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
DNS = VirtualKey(Family.IPV6, Protocol.UDP, "fd00:96::a", 53)
REAL4 = "  -> 0AF40107:1F90      Masq    3      2          1         "
REAL6 = "  -> [fd00:0244:0000:0000:0000:0000:0000:0007]:0035      Masq    0      0          0         "


def parsed(*lines):
    return listing.parse(HEADING.splitlines() + list(lines))


def test_servers_of_both_families_are_read():
    found = parsed(
        "TCP  0A600001:0050 rr persistent 10800 FFFFFFFF", REAL4,
        "UDP  [fd00:0096:0000:0000:0000:0000:0000:000a]:0035 mh ", REAL6,
        "SCTP  0A600002:0007 wlc ",
    )  # fmt: skip
    assert found == {
        WEB: {RealKey(WEB, "10.244.1.7", 8080): (RealServer(3), Load(2, 1))},
        DNS: {RealKey(DNS, "fd00:244::7", 53): (RealServer(0), Load())},
        VirtualKey(Family.IPV4, Protocol.SCTP, "10.96.0.2", 7): {},
    }


def test_what_the_text_cannot_tell_is_left_out():
    tunnel = REAL4.replace("Masq  ", "Tunnel")
    assert parsed("FWM  0000004D rr ", REAL4, "TCP  0A600001:0050 rr ", REAL4, tunnel, REAL4) == {}
    assert parsed("TCP  0A600001:0050 rr ", REAL4 + "7", "TCP  0A600001 rr", REAL4, "", "TCP", REAL4) == {}


@given(st.lists(st.text(max_size=80), max_size=8))
def test_no_text_is_too_odd(lines):
    assert isinstance(parsed(*lines), dict)


def test_without_the_file_there_is_nothing(monkeypatch):
    monkeypatch.setattr(listing, "PATH", "/proc/thread-self/net/no-such-file")
    assert listing.read() == {}


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_one_reading_tells_the_same_as_a_question_for_each(monkeypatch):
    """Virtual servers by address in both families, by mark, with another forwarding, and without any real server."""
    with namespace():
        shell("ip addr add 10.244.1.7/32 dev lo; ip addr add fd00:244::7/128 dev lo")
        for virtual, real in (("-t 10.96.0.1:80", "10.244.1.7"), ("-u [fd00:96::1]:53", "[fd00:244::7]")):
            shell(f"ipvsadm -A {virtual} -s wrr -p 60; ipvsadm -a {virtual} -r {real}:8080 -m -w 3")
            shell(f"ipvsadm -a {virtual} -r {real}:8081 -m -w 0")
        shell("ipvsadm -A --sctp-service 10.96.0.2:7 -o -s rr || true; ipvsadm -A -f 9 -s rr; ipvsadm -a -f 9 -r 10.244.1.7:80 -m")
        shell("ipvsadm -A -f 9 -6 -s rr; ipvsadm -a -f 9 -6 -r [fd00:244::7]:80 -m; ipvsadm -A -t 10.96.0.3:1 -s rr")
        shell("ipvsadm -a -t 10.96.0.3:1 -r 192.0.2.7 -i -w 2; ipvsadm -A -t 10.96.0.4:1 -s rr")
        for family in Family:
            seen = []
            for many in (servers.MANY, 0):
                monkeypatch.setattr(servers, "MANY", many)
                asking = Servers(family, Drain(60.0))
                seen.append(await asking.observe(lambda _: True))
                await asking.close()
            assert seen[0] == seen[1]
            assert len(seen[0]) > 4
