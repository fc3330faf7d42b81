import asyncio

import pytest
from fakes.planted import config, prepare, program
from fakes.scratch import lock_file, namespace, shell
from pointsman.dataplane.errors import KernelError
from pointsman.iptables.variant import Variant
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.proxy.inspection import IptablesInspector, IpvsInspector, inspector, without_draining
from pointsman.proxy.known import from_source
from pointsman.proxy.modes import MODES
from pointsman.routing.packet import Packet, Verdict
from pointsman.routing.route import Family, Protocol

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
OLD = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.2", 80)


def test_what_drains_is_no_difference():
    kept, going, last = RealKey(WEB, "10.0.0.1", 80), RealKey(WEB, "10.0.0.2", 80), RealKey(OLD, "10.0.0.3", 80)
    seen = {WEB: VirtualServer(), OLD: VirtualServer(), kept: RealServer(), going: RealServer(0), last: RealServer(0)}
    assert without_draining(seen).keys() == {WEB, kept}


async def test_every_mode_has_an_inspector():
    kinds = {"iptables": IptablesInspector, "ipvs": IpvsInspector}
    for mode in MODES:
        assert isinstance(await inspector(mode, config(mode, "legacy"), "legacy"), kinds[mode])


@pytest.mark.kernel
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_programmed_kernel_is_seen_as_it_is(variant, monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", variant))
        known = from_source(config("iptables", variant))
        asyncio.run(_look(known, variant))


async def _look(known, variant):
    routing, node = known.picture.routing(), known.picture.node
    looker = await inspector("iptables", known.picture.config, variant)
    assert await looker.differences(Family.IPV4, routing, node) == ()
    sight = await looker.sight(Family.IPV4, ["10.244.1.16"])
    trace = sight.tracer.trace(Packet("10.244.1.16", "10.96.10.1", Protocol.TCP, 80, "eth0"))
    assert [way.verdict for way in trace.ways] == [Verdict.FORWARD] * 3
    assert {one.subject for one in await looker.passed(Family.IPV4)} >= {"shop/web:http", "monitoring/statsd"}
    shell(f"iptables-{variant} -w -t nat -F PREROUTING")
    [found] = await looker.differences(Family.IPV4, routing, node)
    assert "the jump is missing" in found.text


@pytest.mark.kernel
async def test_a_variant_whose_tools_are_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pointsman.iptables.run._ADMIN_FOLDERS", str(tmp_path))
    with pytest.raises(KernelError, match="install"):
        await IptablesInspector(Variant.NFT).sight(Family.IPV4, [])
