import pytest
from pointsman.iptables.setlist import member, saved_sets, spelled

SETS = saved_sets("""create IPS hash:ip family inet maxelem 65536
add IPS 10.0.0.1
create NETS hash:net family inet
add NETS 10.0.0.0/8
add NETS 10.1.0.0/16 comment "x"
create PAIRS hash:ip,port family inet skbinfo
add PAIRS 10.96.0.1,tcp:80 skbmark 0x60000050
create RANGES hash:ip,port,net family inet
add RANGES 10.96.0.1,tcp:443,198.51.100.0/24
create PORTS bitmap:port range 0-65535
add PORTS 30000
create MACS hash:mac hashsize 1024
add STRAY 10.0.0.9
""".splitlines())


@pytest.mark.parametrize(("name", "words", "inside"), [
    ("IPS", ["10.0.0.1"], True),
    ("IPS", ["10.0.0.2"], False),
    ("NETS", ["10.2.3.4"], True),
    ("NETS", ["11.0.0.1"], False),
    ("PAIRS", ["10.96.0.1", "tcp:80"], True),
    ("PAIRS", ["10.96.0.1", "udp:80"], False),
    ("RANGES", ["10.96.0.1", "tcp:443", "198.51.100.9"], True),
    ("RANGES", ["10.96.0.1", "tcp:443", "192.0.2.1"], False),
    ("PORTS", ["30000"], True),
    ("MACS", ["x"], None),
    ("ABSENT", ["x"], None),
])  # fmt: skip
def test_membership(name, words, inside):
    assert member(SETS.get(name), words) is inside


def test_the_narrowest_network_is_found_and_what_an_element_carries():
    assert SETS["NETS"].find(["10.1.2.3"]) == "10.1.0.0/16"
    assert SETS["PAIRS"].elements["10.96.0.1,tcp:80"] == "skbmark 0x60000050"
    assert "STRAY" not in SETS


def test_parts_are_spelled_as_ipset_does():
    assert spelled("port", "10.0.0.1", "tcp", 80) == "tcp:80"
    assert spelled("number", "10.0.0.1", "tcp", 80) == "80"
    assert spelled("ip", "::a00:1", "tcp", 80) == "::10.0.0.1"
