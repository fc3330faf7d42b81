import pytest
from fakes.scratch import shell
from pointsman.iptables.reading import read, rules_of
from pointsman.iptables.variant import Variant
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel


async def test_both_variants_and_the_sets_that_rules_ask_are_read(scratch):
    shell("ipset create ASKED hash:ip; ipset add ASKED 10.0.0.1; ipset create OTHER hash:ip")
    shell("iptables-nft -A FORWARD -m set --match-set ASKED src -j DROP; iptables-legacy -A FORWARD -s 10.0.0.0/8 -j DROP")
    found = await read(Family.IPV4, Variant.NFT)
    assert [rules.label for rules in found.rulesets] == ["iptables nft", "iptables legacy"]
    assert found.sets.keys() == {"ASKED"}
    assert found.said == "2 rules (iptables nft and iptables legacy), 1 sets"
    [rule] = found.rulesets[0].rules("filter", "FORWARD")
    assert (rule.packets, rule.octets) == (0, 0)


async def test_looking_makes_no_table(scratch):
    assert (await rules_of(Family.IPV4, Variant.LEGACY)).tables == {}
    assert (await read(Family.IPV6, Variant.NFT)).sets == {}
    assert shell("cat /proc/net/ip_tables_names", check=False) == ""
