from datetime import UTC, datetime

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Choice, Variant
from pointsman.ipvs.names import mark_of
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.proxy import config, modes
from pointsman.proxy.mode import Ended
from pointsman.proxy.modes import MODES, usable
from pointsman.routing.build import build
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family

from .views import endpoint, endpoint_slice, service, snapshot

NODE = NodeFacts("n1")
ROUTING = build(snapshot([service("web", "10.96.0.10")], [endpoint_slice("web", endpoint("10.244.1.1", "n1"))]), NODE)
V4, V6 = Family.IPV4, Family.IPV6
NO_V6 = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv6 table nat for iptables (legacy): x; load it", "iptables IPv6")
NO_V4 = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv4 table nat for iptables (legacy): x; load it", "iptables IPv4")
NO_IPSET = KernelError(ErrorKind.UNSUPPORTED, "no such program: install the Debian package ipset", "ipset")


def test_the_modes_are_those_that_the_configuration_accepts() -> None:
    assert set(MODES) <= set(config.MODES)


@pytest.mark.parametrize("name", list(MODES))
def test_a_mode_describes_itself_without_a_kernel(name: str) -> None:
    mode = MODES[name]
    assert "10.244.1.1:8080" in mode.text(V4, ROUTING, NODE)
    assert "10.244.1.1:8080" not in mode.text(V6, ROUTING, NODE)
    assert set(mode.fragments(V4, ROUTING, NODE)) == {"static", "shop/web:http tcp"}
    assert set(mode.fragments(V6, ROUTING, NODE)) == {"static"}


@pytest.mark.parametrize("beside", [0, 7])
async def test_pain_40_rules_in_the_other_variant_are_told(
    beside: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def chosen(_: str) -> Choice:
        return Choice(Variant.NFT, "because", beside)

    monkeypatch.setattr(modes, "choose", chosen)
    assert (await MODES["iptables"].open(config.Config(manifests="m"))).variant == "nft"
    assert ("the other variant" in caplog.text) is bool(beside)


def test_proc_09_an_absent_family_leaves_the_other_one_alone() -> None:
    assert usable({V4: (), V6: ()}) == ((V4, V6), ())
    assert usable({V4: (), V6: (NO_V6,)}) == ((V4,), ())
    assert usable({V4: (NO_V4,), V6: ()}) == ((V6,), ())


def test_proc_02_an_error_forbids_starting_and_is_told_once() -> None:
    _, errors = usable({V4: (NO_IPSET,), V6: (KernelError(NO_IPSET.kind, NO_IPSET.text, NO_IPSET.subject),)})
    assert [str(error) for error in errors] == [str(NO_IPSET)]
    _, errors = usable({V4: (NO_V4,), V6: (NO_V6,)})
    assert errors == (NO_V4, NO_V6)


async def test_the_iptables_mode_goes_at_once_when_another_one_has_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bool, bool]] = []

    async def cleanup(*, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        calls.append((dry_run, spare))
        return ("chain KUBE-SERVICES",)

    monkeypatch.setattr(modes.iptables_cleanup, "cleanup", cleanup)
    leaving = MODES["iptables"].retire(config.Config(mode="ipvs"), frozenset)
    assert await leaving.begin() == ("chain KUBE-SERVICES",)
    await leaving.finish()
    leaving.bury(frozenset())
    await MODES["iptables"].retire(config.Config(mode="ipvs", takeover=False), frozenset).begin()
    assert calls == [(False, False), (False, True)], "kube-proxy's rules go where taking over is allowed"
    assert leaving.draining(datetime.now(UTC)) == ()
    assert await MODES["iptables"].succeed() == ()


def test_pain_85_a_connection_that_ends_is_found_behind_its_frontend_and_behind_its_mark() -> None:
    name = next(iter(ROUTING.routes)).port_name
    connection = Ended(name.protocol, name, 30080, "192.0.2.1", 80, "10.244.1.1", 8080)
    engine = modes.IpvsEngine(Variant.LEGACY, "because", config.Config())
    engine.end(V4, [connection])
    virtuals = (VirtualKey(V4, name.protocol, "192.0.2.1", 80), VirtualKey(V4, mark=mark_of(name, 30080)))
    assert engine._kernels[V4].servers.ended == {RealKey(virtual, "10.244.1.1", 8080) for virtual in virtuals}
    assert not engine._kernels[V6].servers.ended
    modes.IptablesEngine(Variant.LEGACY, "because").end(V4, [connection])


def test_the_ipvs_mode_has_nothing_to_show_before_it_begins_to_go() -> None:
    leaving = MODES["ipvs"].retire(config.Config(mode="iptables", ipvs_drain_cap=5.0), frozenset)
    leaving.bury(frozenset({"10.244.1.1"}))
    assert leaving.draining(datetime.now(UTC)) == ()
