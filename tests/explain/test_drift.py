from msgspec import structs
from pointsman.explain.drift import between
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.words import differences
from pointsman.routing.build import build
from pointsman.routing.route import Family
from proxy.views import NODE, small

VIEW = small()
COMPILER = IptablesCompiler(Family.IPV4)


def wanted():
    found = dict(COMPILER.static(VIEW.node, VIEW.routing))
    for key, route in VIEW.routing.routes.items():
        if key.family is Family.IPV4:
            found |= COMPILER.compile(route, VIEW.node)
    return found


def drift(seen, routing=VIEW.routing):
    return between(COMPILER, differences, seen, family=Family.IPV4, routing=routing, node=VIEW.node)


def test_nothing_differs_where_all_is_as_wanted():
    assert drift(wanted()) == ()


def test_what_is_missing_is_told_with_whose_it_is_and_the_node_comes_first():
    seen = wanted()
    del seen[SetKey("POINTSMAN-CLUSTER-IP", "10.96.0.10")]
    del seen[RuleKey("nat", "KUBE-MARK-MASQ")]
    assert [(one.subject, one.text) for one in drift(seen)] == [
        ("node", "chain KUBE-MARK-MASQ (nat) is missing"),
        ("shop/web:http tcp", "cluster IP 10.96.0.10 is missing in set POINTSMAN-CLUSTER-IP"),
    ]
    assert [one.key for one in drift(seen)] == ["nat KUBE-MARK-MASQ", "set POINTSMAN-CLUSTER-IP: 10.96.0.10"]


def test_what_nobody_wants_is_told_too():
    found = drift(wanted(), build(structs.replace(VIEW.snapshot, services={}), NODE))
    assert any(one.text.startswith("connections go to 10.244.1.1:8080") and one.subject.startswith("shop/web") for one in found)
