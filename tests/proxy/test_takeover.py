"""What kube-proxy, and we in the other variant, left beside us: found, removed, or left and told. Others' rules stay byte for byte."""

import asyncio
import logging

import pytest
from fakes.scratch import lock_file, namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import takeover
from pointsman.proxy.config import Config
from pointsman.proxy.modes import MODES
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel

LAST = '-m comment --comment "NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
SERVICE = '-d 10.96.0.10/32 -p tcp -m comment --comment "shop/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-67NZLRHBNDSAWJRO'
KUBE_PROXY = f"""\
*filter
:KUBE-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SVC-67NZLRHBNDSAWJRO - [0:0]
:KUBE-SEP-QMF4YXF5NKTU4GUV - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES {SERVICE}
-A KUBE-SERVICES {LAST}
-A KUBE-SVC-67NZLRHBNDSAWJRO -j KUBE-SEP-QMF4YXF5NKTU4GUV
-A KUBE-SEP-QMF4YXF5NKTU4GUV -p tcp -m tcp -j DNAT --to-destination 10.9.0.5:8080
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
"""
OURS = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-DST - [0:0]
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -j KUBE-DST
COMMIT
"""
NFTABLES = "add table ip kube-proxy; add table ip6 kube-proxy; add chain ip kube-proxy services; add table ip others"


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(takeover.peers, "running", tuple)
    with namespace(), lock_file(monkeypatch, tmp_path):
        yield


def load(variant, text):
    shell(f"iptables-{variant}-restore --noflush", text=text)


def rules(variant):
    return [line for line in shell(f"iptables-{variant}-save 2>/dev/null").splitlines() if "KUBE" in line]


async def test_what_stands_beside_ours_goes_and_ours_stays(caplog):
    """The variant that is programmed has nothing of others: its chains became ours."""
    caplog.set_level(logging.INFO)
    load("nft", OURS)
    load("legacy", KUBE_PROXY)
    shell(f"nft '{NFTABLES}'")
    before = rules("nft")
    await takeover.run("iptables", "nft", allowed=True)
    assert rules("nft") == before
    assert [line.split()[0] for line in rules("legacy")] == [":KUBE-KUBELET-CANARY", ":KUBE-FIREWALL"]
    assert "kube-proxy" not in shell("nft list tables")
    assert "table ip others" in shell("nft list tables")
    assert "removed what an earlier proxy left" in caplog.text
    caplog.clear()
    await takeover.run("iptables", "nft", allowed=True)
    assert not caplog.records


async def test_another_mode_leaves_the_rules_of_both_variants_to_the_end_of_the_iptables_mode():
    load("nft", KUBE_PROXY)
    load("legacy", OURS)
    shell(f"nft '{NFTABLES}'")
    await takeover.run("ipvs", "legacy", allowed=True)
    assert "kube-proxy" not in shell("nft list tables")
    assert rules("legacy")
    await MODES["iptables"].retire(Config(mode="ipvs", takeover=False), frozenset).begin()
    assert rules("legacy") == []
    assert "KUBE-SVC-67NZLRHBNDSAWJRO" in str(rules("nft")), "what is kube-proxy's stays where taking over is not allowed"
    await MODES["iptables"].retire(Config(mode="ipvs"), frozenset).begin()
    assert [line.split()[0] for line in rules("nft")] == [":KUBE-KUBELET-CANARY", ":KUBE-FIREWALL"]


async def test_without_permission_kube_proxys_stays_and_is_told(caplog):
    load("legacy", KUBE_PROXY)
    shell(f"nft '{NFTABLES}'")
    before = rules("legacy")
    await takeover.run("iptables", "nft", allowed=False)
    assert rules("legacy") == before
    assert "table ip kube-proxy" in shell("nft list tables")
    (told,) = caplog.records
    assert "--takeover=false" in told.message
    assert told.objects >= 8


class FakeMode:
    """A mode with one thing of ours and one of kube-proxy's, or one that cannot be read."""

    def __init__(self, error=None):
        self.error = error

    async def cleanup(self, *, dry_run, spare=True):
        assert dry_run
        if self.error:
            raise self.error
        return ("device ours",) if spare else ("device ours", "ipset KUBE-NODE-PORT-TCP (1)")


async def test_without_permission_what_its_ipvs_mode_left_stays_and_is_told_whichever_mode_is_ours(monkeypatch, caplog):
    monkeypatch.setattr(takeover, "MODES", {"iptables": FakeMode(), "ipvs": FakeMode()})
    for mode in ("iptables", "ipvs"):
        caplog.clear()
        await takeover.run(mode, "nft", allowed=False)
        (told,) = caplog.records
        assert "--takeover=false" in told.message
        assert told.named == "ipset KUBE-NODE-PORT-TCP (1)"


async def test_what_its_ipvs_mode_shares_with_ours_is_told_at_the_start(monkeypatch, caplog):
    monkeypatch.setattr(takeover, "MODES", {"iptables": FakeMode(), "ipvs": FakeMode()})
    await takeover.announce("ipvs", "legacy", allowed=True)
    assert not caplog.records
    await takeover.announce("ipvs", "legacy", allowed=False)
    (told,) = caplog.records
    assert "kube-ipvs0" in told.message
    assert "become" in told.message
    monkeypatch.setattr(takeover, "MODES", {"ipvs": FakeMode(KernelError(ErrorKind.UNSUPPORTED, "no IPVS", "ip_vs"))})
    caplog.clear()
    await takeover.announce("ipvs", "legacy", allowed=False)
    assert not caplog.records


async def test_without_permission_ours_of_the_other_variant_goes(caplog):
    load("legacy", OURS)
    await takeover.run("iptables", "nft", allowed=False)
    assert rules("legacy") == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_cannot_be_left_alone_is_told_at_the_start(caplog):
    await takeover.announce("iptables", "legacy", allowed=False)
    assert not caplog.records
    load("legacy", KUBE_PROXY)
    await takeover.announce("iptables", "legacy", allowed=True)
    await takeover.announce("iptables", "nft", allowed=False)
    assert not caplog.records
    await takeover.announce("iptables", "legacy", allowed=False)
    assert "become ours" in caplog.text


async def test_a_kube_proxy_that_runs_is_named_and_waited_for(monkeypatch, caplog):
    answers = [(4711,), (4711,), (4711,), ()]
    monkeypatch.setattr(takeover.peers, "running", lambda: answers.pop(0))
    monkeypatch.setattr(takeover, "POLL", 0.001)
    await takeover.announce("iptables", "nft", allowed=True)
    assert caplog.records[0].pid == "4711"
    async with asyncio.timeout(60):
        await takeover.ended()
    assert answers == []


async def test_one_failure_does_not_keep_the_rest(monkeypatch, caplog):
    async def broken(**_):
        raise KernelError(ErrorKind.BUSY, "the lock is held", "iptables")

    monkeypatch.setattr(takeover, "iptables_cleanup", broken)
    shell(f"nft '{NFTABLES}'")
    await takeover.run("iptables", "nft", allowed=True)
    assert "kube-proxy" not in shell("nft list tables")
    assert "--cleanup" in caplog.text


async def test_proc_04_everything_of_both_goes_in_every_mode():
    load("nft", KUBE_PROXY)
    load("legacy", OURS)
    shell(f"nft '{NFTABLES}'")
    planned = await takeover.remove_all(dry_run=True)
    done = await takeover.remove_all()
    assert planned == done
    assert done.errors == ()
    assert rules("legacy") == []
    assert "kube-proxy" not in shell("nft list tables")
    assert await takeover.remove_all() == takeover.Leftovers()


async def test_proc_04_what_hangs_on_another_mode_goes_after_it(monkeypatch):
    """kube-proxy's KUBE-NODE-PORT, of mode ipvs, leads to KUBE-MARK-MASQ, which the iptables mode has as well (IPVS-24)."""
    load("legacy", "*nat\n:KUBE-NODE-PORT - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n-A KUBE-NODE-PORT -j KUBE-MARK-MASQ\nCOMMIT\n")

    class Ipvs:
        async def cleanup(self, *, dry_run, spare):
            shell("iptables-legacy -t nat -F KUBE-NODE-PORT; iptables-legacy -t nat -X KUBE-NODE-PORT", check=False)
            return ("chain KUBE-NODE-PORT",)

    monkeypatch.setattr(takeover, "MODES", {"ipvs": Ipvs()})
    left = await takeover.remove_all()
    assert left.errors == ()
    assert rules("legacy") == []


async def test_without_a_kube_proxy_there_is_nobody_to_hand_back_to():
    load("nft", OURS)
    before = rules("nft")
    await takeover.hand_back()
    assert rules("nft") == before


STUCK = f"""{KUBE_PROXY.partition("*nat")[0]}{OURS.replace("COMMIT", "").rstrip()}
:KUBE-SVC-GONE - [0:0]
-A KUBE-DST -d 10.96.0.9/32 -j KUBE-SVC-GONE
COMMIT
"""


async def test_on_the_way_back_ours_makes_way_and_forwards_until_kube_proxy_has_written(monkeypatch):
    """Its filter table is there; nat was refused, because a bucket of ours leads to a chain that it wants to delete."""
    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    monkeypatch.setattr(takeover, "POLL", 0.05)
    load("legacy", STUCK)
    handing = asyncio.create_task(takeover.hand_back())
    deadline = asyncio.get_running_loop().time() + 60
    while not any("-j KUBE-DSTV-GONE" in line for line in rules("legacy")):
        assert asyncio.get_running_loop().time() < deadline
        assert not handing.done()
        await asyncio.sleep(0.05)
    again = KUBE_PROXY.partition("*mangle")[0].replace("COMMIT\n*nat", "COMMIT\n*nat\n:KUBE-SVC-GONE - [0:0]\n-X KUBE-SVC-GONE")
    load("legacy", again)
    async with asyncio.timeout(60):
        await handing


async def test_a_kube_proxy_that_sees_no_reason_to_write_is_given_one(monkeypatch):
    """It came back while an agent ran, which put its own rules back: the canaries by which it would notice are there (IPT-40)."""
    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    for name in ("POLL", "BEGIN"):
        monkeypatch.setattr(takeover, name, 0.05)
    load("legacy", OURS + "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n")
    handing = asyncio.create_task(takeover.hand_back())
    deadline = asyncio.get_running_loop().time() + 60
    while any("KUBE-PROXY-CANARY" in line for line in shell("iptables-legacy-save -t mangle").splitlines()):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    load("legacy", KUBE_PROXY)
    async with asyncio.timeout(60):
        await handing


@pytest.mark.parametrize(("before", "after"), [(STUCK, "-j KUBE-DSTV-GONE"), (OURS, "-j KUBE-DST")])
async def test_a_kube_proxy_that_never_writes_is_told_and_nothing_is_removed(before, after, monkeypatch):
    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    for name in ("POLL", "RETRY", "BEGIN"):
        monkeypatch.setattr(takeover, name, 0.05)
    load("legacy", before)
    with pytest.raises(KernelError, match="nothing was removed: kube-proxy runs here but did not write"):
        await takeover.hand_back()
    assert any(after in line for line in rules("legacy"))


async def test_a_kube_proxy_that_has_written_elsewhere_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    load("legacy", OURS)
    shell(f"nft '{NFTABLES}'")
    async with asyncio.timeout(60):
        await takeover.hand_back()


async def test_a_kube_proxy_that_cannot_begin_beside_our_ipvs_mode_is_told_the_way(monkeypatch):
    async def one():
        return frozenset({Family.IPV4})

    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    monkeypatch.setattr(takeover, "ipvs_forwarding", one)
    for name in ("POLL", "RETRY", "BEGIN"):
        monkeypatch.setattr(takeover, name, 0.05)
    with pytest.raises(KernelError, match="--proxy-mode iptables` take over first"):
        await takeover.hand_back()


async def test_on_the_way_back_from_our_ipvs_mode_kube_proxy_writes_first(monkeypatch):
    async def both():
        return frozenset(Family)

    monkeypatch.setattr(takeover.peers, "running", lambda: (4711,))
    monkeypatch.setattr(takeover, "ipvs_forwarding", both)
    monkeypatch.setattr(takeover, "POLL", 0.05)
    handing = asyncio.create_task(takeover.hand_back())
    load("nft", KUBE_PROXY)
    await asyncio.sleep(0.5)
    assert not handing.done(), "IPv6 is still ours alone"
    shell("ip6tables-nft-restore --noflush", text="*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n")
    async with asyncio.timeout(60):
        await handing
