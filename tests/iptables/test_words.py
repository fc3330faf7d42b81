from pointsman.dataplane.contract import ABSENT
from pointsman.iptables import names
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.words import NODE, differences, subject_of

NOTE = '-m comment --comment "shop/web:http'
BODY = f'-p tcp {NOTE}" -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.0.0.1:80'
CHAIN = RuleKey("nat", "KUBE-SVC-ABC")
LEAF = RuleKey("nat", "KUBE-DST-01", f'-d 10.96.0.1/32 -p tcp {NOTE} cluster IP" -m tcp --dport 80 -j KUBE-SVC-ABC')


def told(key, wanted, found, subject=""):
    return [(one.subject, one.text) for one in differences(key, wanted, found, subject)]


def test_endpoints_are_compared_one_by_one():
    wanted = f"{BODY}\n-p tcp -j DNAT --to-destination 10.0.0.2:80"
    found = f"{BODY}\n-p tcp -j DNAT --to-destination 10.0.0.9:80"
    assert told(CHAIN, wanted, found, "shop/web:http tcp") == [
        ("shop/web:http tcp", "endpoint 10.0.0.2:80 is missing"),
        ("shop/web:http tcp", "connections go to 10.0.0.9:80, which is none of its endpoints here"),
    ]
    assert told(CHAIN, wanted, ABSENT, "s")[0] == ("s", "endpoint 10.0.0.1:80 is missing")
    assert told(CHAIN, ABSENT, BODY) == [("shop/web:http", "connections go to 10.0.0.1:80, which is none of its endpoints here")]
    assert told(CHAIN, wanted, wanted.replace("0.50000000000", "0.90000000000"), "s") == [
        ("s", "its endpoints are not chosen as they should be")]  # fmt: skip


def test_hooks_places_chains_and_sets():
    hook = names.HOOKS[0].key
    assert told(hook, "", ABSENT, NODE) == [(NODE, "packets in INPUT (filter) do not reach KUBE-EXTERNAL-SERVICES: the jump is missing")]
    assert "more than once" in told(hook, "", "2", NODE)[0][1]
    assert told(LEAF, "", ABSENT, "s") == [("s", "cluster IP 10.96.0.1:80 does not lead to its endpoints")]
    assert told(LEAF, ABSENT, "") == [("shop/web:http", "cluster IP 10.96.0.1:80 leads somewhere, but nobody wants it")]
    jump = RuleKey("nat", "KUBE-DST", "-d 0.0.0.1/0.0.0.15 -j KUBE-DST-1")
    assert told(jump, "", ABSENT, NODE) == [(NODE, "the way from KUBE-DST to KUBE-DST-1 is missing")]
    refusal = RuleKey("filter", "KUBE-DST-01", "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DROP")
    assert "is refused, but should not be" in told(refusal, ABSENT, "")[0][1]
    [(_, text)] = told(RuleKey("nat", "KUBE-SERVICES"), "-j A", "-j B", NODE)
    assert text == "chain KUBE-SERVICES (nat) holds other rules than it should"
    assert told(SetKey("POINTSMAN-CLUSTER-IP", "10.96.0.1"), "", ABSENT, "s") == [
        ("s", "cluster IP 10.96.0.1 is missing in set POINTSMAN-CLUSTER-IP")]  # fmt: skip
    [(_, text)] = told(SetKey("POINTSMAN-HAIRPIN"), "hash:ip", "hash:net", NODE)
    assert text == "set POINTSMAN-HAIRPIN is of another type than it should be"


def test_subjects_come_from_comments():
    assert subject_of('-m comment --comment "shop/web:http cluster IP"') == "shop/web:http"
    assert subject_of("-m comment --comment kubernetes") == NODE
