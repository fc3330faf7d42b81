"""The rules that lead queries to this node's own resolver: their text, and that both variants take them as they are."""

import pytest
from pointsman.iptables import local_dns, names, static
from pointsman.iptables.names import Role
from pointsman.iptables.objects import RuleKey
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing

NOWHERE = Routing(1, {}, {}, {}, (), ())
NODE = NodeFacts("n1", local_dns={Family.IPV4: ("10.96.0.10", "169.254.20.10")})


def test_nld_45_queries_and_replies_of_both_protocols_are_not_tracked():
    found = local_dns.rules(["10.96.0.10"])
    ways = {(protocol, side) for protocol in ("udp", "tcp") for side in ("-d 10.96.0.10/32", "-s 10.96.0.10/32")}
    for table in ("raw", "filter"):
        assert {(one.split()[3], " ".join(one.split()[:2])) for one in found[table]} == ways
    assert all(one.endswith("-j CT --notrack") for one in found["raw"])
    assert all(one.endswith("-j ACCEPT") for one in found["filter"])


@pytest.mark.parametrize(("address", "name"), [("10.96.0.10", "POINTSMAN-DNS"), ("fd00:96::a", "POINTSMAN-DNS-6")])
def test_nld_42_queries_are_taken_aside_only_while_the_address_is_alive(address, name):
    queries = [one for one in local_dns.rules([address])["raw"] if one.startswith("-d ")]
    assert len(queries) == 2
    assert all(f"-m recent --rcheck --seconds 1 --name {name} --mask" in one and "--rdest" in one for one in queries)


def test_a_node_without_a_resolver_has_none_of_it():
    with_dns, without = static.static(Family.IPV4, NODE, NOWHERE), static.static(Family.IPV4, NodeFacts("n1"), NOWHERE)
    more = with_dns.keys() - without.keys()
    assert more == {RuleKey("raw", names.LOCAL_DNS), RuleKey("filter", names.LOCAL_DNS), *(hook.key for hook in names.DNS_HOOKS)}
    assert with_dns[RuleKey("raw", names.LOCAL_DNS)].count("\n") == 7
    assert static.static(Family.IPV6, NODE, NOWHERE).keys() == static.static(Family.IPV6, NodeFacts("n1"), NOWHERE).keys()


def test_dep_what_leads_to_the_resolver_is_ours():
    assert {names.role(table, names.LOCAL_DNS) for table in ("raw", "filter")} == {Role.WHOLE}
    assert all(names.is_hook(hook.table, hook.rule) for hook in names.DNS_HOOKS)
    assert names.role("raw", "KUBE-ELSE") is None
