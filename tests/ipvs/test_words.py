from pointsman.dataplane.contract import ABSENT
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.ipvs.words import differences
from pointsman.routing.route import Family, Protocol

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
REAL = RealKey(WEB, "10.244.1.1", 8080)


def told(key, wanted, found):
    [one] = differences(key, wanted, found, "shop/web:http tcp")
    assert one.subject == "shop/web:http tcp"
    return one.text


def test_the_same_fault_reads_as_in_other_modes():
    assert told(REAL, RealServer(), ABSENT) == "endpoint 10.244.1.1:8080 is missing"
    assert told(REAL, ABSENT, RealServer()) == "connections go to 10.244.1.1:8080, which is none of its endpoints here"
    assert told(REAL, RealServer(), RealServer(3)) == "endpoint 10.244.1.1:8080 is not reached as it should be"
    assert told(WEB, VirtualServer(), ABSENT) == "TCP 10.96.0.1:80 does not lead to its endpoints"
    assert told(WEB, ABSENT, VirtualServer()) == "TCP 10.96.0.1:80 leads somewhere, but nobody wants it"
    assert told(WEB, VirtualServer(), VirtualServer("lc")) == "TCP 10.96.0.1:80 chooses its endpoint otherwise than it should"


def test_addresses_rules_and_sets():
    assert told(AddressKey("10.96.0.1"), "", ABSENT) == "address 10.96.0.1 is not on kube-ipvs0, so its packets do not stay here"
    assert "the jump is missing" in told(RuleKey("nat", "PREROUTING", "-j KUBE-IPVS-SERVICES"), "", ABSENT)
    assert told(RuleKey("nat", "KUBE-IPVS-SERVICES"), "-j A", "-j B") == "chain KUBE-IPVS-SERVICES (nat) holds other rules than it should"
    assert told(SetKey("KUBE-CLUSTER-IP", "10.96.0.1,tcp:80"), "", ABSENT) == "10.96.0.1,tcp:80 is missing in set KUBE-CLUSTER-IP"
    assert told(SetKey("KUBE-CLUSTER-IP"), "a", ABSENT) == "set KUBE-CLUSTER-IP is missing"


def test_who_is_nobodys_is_the_nodes():
    [one] = differences(WEB, ABSENT, VirtualServer())
    assert one.subject == "node"
    assert one.found == "scheduler rr"
