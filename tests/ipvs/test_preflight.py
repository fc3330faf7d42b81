import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Variant
from pointsman.ipvs import channel, preflight
from pointsman.routing.route import Family


async def test_a_kernel_without_ipvs_is_told_with_both_ways_out(monkeypatch):
    async def absent():
        raise KernelError(ErrorKind.UNSUPPORTED, channel.ABSENT, "ip_vs")

    monkeypatch.setattr(channel, "require", absent)
    [error] = await preflight.preflight(Family.IPV4, Variant.LEGACY, "rr")
    assert "modprobe ip_vs" in str(error)
    assert "--proxy-mode iptables" in str(error)


@pytest.mark.kernel
@pytest.mark.ipvs
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("scheduler", ["rr", "mh", "sed"])
async def test_ipvs_01_what_works_is_tried_apart(family, scheduler):
    with namespace():
        assert await preflight.preflight(family, Variant.LEGACY, scheduler) == ()
        assert shell("ipvsadm -Sn") == ""
        assert "kube-ipvs0" not in shell("ip link")


@pytest.mark.kernel
@pytest.mark.ipvs
async def test_ipvs_01_a_scheduler_that_is_not_there_is_named():
    [error] = await preflight.preflight(Family.IPV4, Variant.LEGACY, "fancy")
    assert "IPVS scheduler fancy" in str(error)
    assert "ip_vs_fancy" in str(error)
    assert error.kind is ErrorKind.UNSUPPORTED
