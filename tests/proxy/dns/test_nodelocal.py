"""What NodeLocal DNSCache leaves, recognised by its comments and removed."""

import pytest
from fakes.scratch import lock_file, namespace, shell
from pointsman.proxy.dns import nodelocal

RULES = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j CT --notrack
-A PREROUTING -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j CT --notrack
-A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j CT --notrack
-A OUTPUT -d 192.0.2.1/32 -j ACCEPT
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -m comment --comment "NodeLocal DNS Cache: allow DNS traffic" -j ACCEPT
COMMIT
"""


def test_rules_are_known_by_their_comments():
    found = dict(nodelocal.found(RULES.splitlines()))
    assert {table: len(rules) for table, rules in found.items()} == {"raw": 3, "filter": 1}
    assert found["filter"][0].startswith("INPUT -d 169.254.20.10/32")


@pytest.mark.kernel
@pytest.mark.parametrize("variant", ["nft", "legacy"])
async def test_pain_75_rules_go_also_doubled_ones_and_nothing_else(tmp_path, monkeypatch, variant):
    with namespace(), lock_file(monkeypatch, tmp_path):
        shell(f"iptables-{variant}-restore", text=RULES)
        told = await nodelocal.remove(dry_run=True)
        assert "NodeLocal" in shell(f"iptables-{variant}-save")
        assert await nodelocal.remove() == told
        assert sorted(told) == [
            f"{variant} IPv4 filter: 1 rules of NodeLocal DNSCache", f"{variant} IPv4 raw: 3 rules of NodeLocal DNSCache",
        ]  # fmt: skip
        left = shell(f"iptables-{variant}-save")
        assert "NodeLocal" not in left
        assert "-A OUTPUT -d 192.0.2.1/32 -j ACCEPT" in left
        assert await nodelocal.remove() == ()


@pytest.mark.kernel
@pytest.mark.ipvs  # a kernel that has dummy links
async def test_its_device_goes_with_its_addresses():
    with namespace():
        shell("ip link add nodelocaldns type dummy; ip addr add 169.254.20.10/32 dev nodelocaldns; ip link add other type dummy")
        assert await nodelocal.remove(dry_run=True) == ("device nodelocaldns",)
        assert await nodelocal.remove() == ("device nodelocaldns",)
        left = shell("ip link show")
        assert "nodelocaldns" not in left
        assert "other" in left


@pytest.mark.kernel
async def test_a_device_of_its_name_that_is_no_dummy_stays():
    with namespace():
        shell("ip link add nodelocaldns type bridge")
        assert await nodelocal.remove() == ()
        assert "nodelocaldns" in shell("ip link show")


async def test_a_running_node_cache_is_waited_for(monkeypatch, caplog):
    looks, removed = iter([(77,), (77,), ()]), []

    async def remove():
        removed.append(next(looks, "no more looks"))
        return ("device nodelocaldns",)

    monkeypatch.setattr(nodelocal.peers, "running", lambda program: next(looks) if program == "node-cache" else ())
    monkeypatch.setattr(nodelocal, "POLL", 0.001)
    monkeypatch.setattr(nodelocal, "remove", remove)
    await nodelocal.take_over()
    assert removed == ["no more looks"]
    assert caplog.text.count("still runs here") == 1
