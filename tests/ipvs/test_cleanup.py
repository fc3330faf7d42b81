"""IPVS-40, pains 30 and 63: everything of ours goes from any state, twice is the same as once."""

import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from fakes.scratch import lock_file, namespace, shell
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs.cleanup import cleanup
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.routing.route import Family

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

LEGACY = (Variant.LEGACY,)


async def test_both_families_and_the_device_go(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell("ipvsadm -A -t 203.0.113.77:443 -s wlc; iptables-legacy -A INPUT -p tcp --dport 9 -j ACCEPT")
        for family in Family:
            kernel = IpvsKernel(family, Variant.LEGACY, Writer(), Settings())
            wanted = desired(family, make.route(family, node_port=30080, backends=[make.backend(family, 1)]))
            assert not (await kernel.apply(difference(family, wanted, {}))).failed
            await kernel.close()
        told = await cleanup(dry_run=True, variants=LEGACY)
        assert "device kube-ipvs0" in told
        assert await cleanup(dry_run=False, variants=LEGACY) == told
        assert await cleanup(dry_run=False, variants=LEGACY) == ()
        assert shell("ipvsadm -Sn") == "-A -t 203.0.113.77:443 -s wlc\n"
        assert shell("ipset list -name") == ""
        assert "--dport 9" in shell("iptables-legacy-save")
        assert "KUBE" not in shell("iptables-legacy-save; ip6tables-legacy-save; ip link")
