from msgspec import structs
from pointsman.iptables.matching import Place
from pointsman.iptables.passage import Passage
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.walk import Walk
from pointsman.routing.packet import Packet, Verdict
from pointsman.routing.route import Protocol

TABLES = """*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 10.96.0.9/32 -j CT --notrack
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 10.96.0.1/32 -j DNAT --to-destination 10.244.2.1:8080
-A PREROUTING -d 10.96.0.9/32 -j DNAT --to-destination 10.244.2.1:8080
-A OUTPUT -d 10.96.0.1/32 -j DNAT --to-destination 192.168.50.1:8080
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 9999 -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -d 10.244.3.0/24 -j DROP
COMMIT
""".splitlines()


def trace(source, destination, port=80, interface="eth0", schedule=None):
    passage = Passage(Walk((ruleset(TABLES),), Place(frozenset({"192.168.50.1"}), {}), lambda *_: False), {"10.244.2.1": "eth1"})
    passage = structs.replace(passage, schedule=schedule) if schedule else passage
    [way] = passage.trace(Packet(source, destination, Protocol.TCP, port, interface)).ways
    return way


def test_a_packet_that_arrives_is_translated_passed_on_and_masqueraded():
    way = trace("10.0.0.1", "10.96.0.1")
    assert (way.verdict, way.address, way.port, way.masquerade, way.local) == (Verdict.FORWARD, "10.244.2.1", 8080, True, False)


def test_a_packet_that_is_sent_meets_output_and_may_stay_here():
    way = trace("192.168.50.1", "10.96.0.1", interface="")
    assert (way.verdict, way.address, way.local) == (Verdict.FORWARD, "192.168.50.1", True)


def test_what_is_for_this_node_meets_input_and_what_is_not_meets_forward():
    assert trace("10.0.0.1", "192.168.50.1", 9999).verdict is Verdict.REJECT
    assert trace("10.0.0.1", "10.244.3.9", 9999).verdict is Verdict.DROP
    assert trace("10.0.0.1", "10.244.4.9", 9999).verdict is Verdict.UNTOUCHED


def test_untracked_packets_see_no_nat():
    assert trace("10.0.0.1", "10.96.0.9").verdict is Verdict.UNTOUCHED


def test_ipvs_takes_packets_behind_input():
    def schedule(flight):
        return [structs.replace(flight, destination="10.244.2.1", port=8080, ipvs=True)]

    way = trace("10.0.0.1", "192.168.50.1", schedule=schedule)
    assert (way.verdict, way.address, way.masquerade) == (Verdict.FORWARD, "10.244.2.1", True)
