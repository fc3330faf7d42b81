"""IPVS-40, pains 30 and 63: everything of ours goes from any state, twice is the same as once."""

import pytest
from fakes import routes as make
from fakes.inherited import KUBE_PROXYS
from fakes.ipvs import desired, difference
from fakes.scratch import lock_file, namespace, shell
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs.cleanup import cleanup, forwarding, remove_inherited
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.routing.route import Family

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

LEGACY = (Variant.LEGACY,)


def chains():
    return {line.split()[0][1:] for line in shell("iptables-legacy-save").splitlines() if line.startswith(":KUBE")}


async def test_both_families_and_the_device_go(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell("ipvsadm -A -t 203.0.113.77:443 -s wlc; iptables-legacy -A INPUT -p tcp --dport 9 -j ACCEPT")
        for family in Family:
            kernel = IpvsKernel(family, Variant.LEGACY, Writer(), Settings())
            wanted = desired(family, make.route(family, node_port=30080, backends=[make.backend(family, 1)]))
            assert not (await kernel.apply(difference(family, wanted, {}))).failed
            await kernel.close()
        assert await forwarding(LEGACY) == frozenset(Family)
        told = await cleanup(dry_run=True, variants=LEGACY)
        assert "device kube-ipvs0" in told
        assert await cleanup(dry_run=False, variants=LEGACY) == told
        assert await forwarding(LEGACY) == frozenset()
        assert await cleanup(dry_run=False, variants=LEGACY) == ()
        assert shell("ipvsadm -Sn") == "-A -t 203.0.113.77:443 -s wlc\n"
        assert shell("ipset list -name") == ""
        assert "--dport 9" in shell("iptables-legacy-save")
        assert "KUBE" not in shell("iptables-legacy-save; ip6tables-legacy-save; ip link")


async def test_ipvs_20_and_ipvs_21_all_that_kube_proxy_left_goes(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell(KUBE_PROXYS)
        shell("ipvsadm -A -t 203.0.113.77:30080 -s wlc")
        told = await cleanup(dry_run=True, variants=LEGACY, spare=False)
        assert await cleanup(dry_run=False, variants=LEGACY, spare=False) == told
        assert chains() == {"KUBE-MARK-MASQ"}, "that is the iptables mode's"
        assert shell("ipset list -name") == ""
        assert sorted(shell("ipvsadm -Sn").splitlines()) == ["-A -t 203.0.113.77:30080 -s wlc", "-A -u 192.0.2.7:30080 -s rr"], "pain 30"
        assert "kube-ipvs0" not in shell("ip -o link")


async def test_pain_30_what_is_kube_proxys_stays_unless_it_is_taken_over(monkeypatch, tmp_path):
    """`pointsman cleanup` next to a kube-proxy that is in use harms nothing."""
    state = "ipvsadm -Sn; ipset save; iptables-legacy-save | grep -v ^#; ip -o -4 addr show dev kube-ipvs0"
    with lock_file(monkeypatch, tmp_path), namespace():
        shell(KUBE_PROXYS)
        before = shell(state)
        assert await cleanup(dry_run=True, variants=LEGACY) == ()
        assert await cleanup(dry_run=False, variants=LEGACY) == ()
        assert await forwarding(LEGACY) == frozenset(), "nobody need wait for what is not ours"
        assert shell(state) == before
        assert "device kube-ipvs0" in await cleanup(dry_run=True, variants=LEGACY, spare=False)


async def test_what_is_kube_proxys_alone_goes_beside_ours(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell(KUBE_PROXYS)
        kernel = IpvsKernel(Family.IPV4, Variant.LEGACY, Writer(), Settings())
        wanted = desired(Family.IPV4, make.route(backends=[make.backend(Family.IPV4, 1)]))
        try:
            assert not (await kernel.apply(difference(Family.IPV4, wanted, await kernel.observe()))).failed
            assert await kernel.observe() == wanted
            told = await remove_inherited(LEGACY)
            assert "legacy IPv4 nat: chain KUBE-LOAD-BALANCER" in told
            assert await remove_inherited(LEGACY) == ()
            assert await kernel.observe() == wanted
        finally:
            await kernel.close()
        assert chains() - {"KUBE-MARK-MASQ"} == {key.chain for key in wanted if isinstance(key, RuleKey) and not key.rule}
        assert not any("NODE-PORT-TCP" in name or "SCTP" in name for name in shell("ipset list -name").split())
