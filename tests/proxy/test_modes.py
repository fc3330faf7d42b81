import asyncio
from collections.abc import Callable

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Variant
from pointsman.proxy import config, modes
from pointsman.proxy.modes import MODES, IptablesEngine, usable
from pointsman.routing.build import build
from pointsman.routing.node import NodeFacts, NodePortAddresses
from pointsman.routing.route import Family

from .views import endpoint, endpoint_slice, service, snapshot

NODE = NodeFacts("n1", node_ports={Family.IPV4: NodePortAddresses(loopback=True)})
ROUTING = build(snapshot([service("web", "10.96.0.10")], [endpoint_slice("web", endpoint("10.244.1.1", "n1"))]), NODE)
V4, V6 = Family.IPV4, Family.IPV6
NO_V6 = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv6 table nat for iptables (legacy): x; load it", "iptables IPv6")
NO_V4 = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv4 table nat for iptables (legacy): x; load it", "iptables IPv4")
NO_IPSET = KernelError(ErrorKind.UNSUPPORTED, "no such program: install the Debian package ipset", "ipset")


def test_the_modes_are_those_that_the_configuration_accepts() -> None:
    assert tuple(MODES) == config.MODES


@pytest.mark.parametrize("name", list(MODES))
def test_a_mode_describes_itself_without_a_kernel(name: str) -> None:
    mode = MODES[name]
    assert "10.244.1.1:8080" in mode.text(V4, ROUTING, NODE)
    assert "10.244.1.1:8080" not in mode.text(V6, ROUTING, NODE)
    assert set(mode.fragments(V4, ROUTING, NODE)) == {"static", "shop/web:http tcp"}
    assert set(mode.fragments(V6, ROUTING, NODE)) == {"static"}


def test_proc_09_an_absent_family_leaves_the_other_one_alone() -> None:
    assert usable({V4: (), V6: ()}) == ((V4, V6), ())
    assert usable({V4: (), V6: (NO_V6,)}) == ((V4,), ())
    assert usable({V4: (NO_V4,), V6: ()}) == ((V6,), ())


def test_proc_02_an_error_forbids_starting_and_is_told_once() -> None:
    _, errors = usable({V4: (NO_IPSET,), V6: (KernelError(NO_IPSET.kind, NO_IPSET.text, NO_IPSET.subject),)})
    assert [str(error) for error in errors] == [str(NO_IPSET)]
    _, errors = usable({V4: (NO_V4,), V6: (NO_V6,)})
    assert errors == (NO_V4, NO_V6)


class AppliedLoop:
    """Has applied its first revision when the test says so."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def applied(self, revision: int) -> None:
        assert revision == 0
        await self.done.wait()


async def tended(node: NodeFacts, allow: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "allow_loopback_node_ports", allow)
    loop = AppliedLoop()
    tending = asyncio.create_task(IptablesEngine(Variant.LEGACY, "").tend({V4: loop}, lambda: node))  # type: ignore[dict-item]
    await asyncio.sleep(0)
    assert not tending.done()
    loop.done.set()
    await tending


async def test_sem_45_loopback_is_opened_only_behind_its_shield(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    await tended(NODE, lambda: calls.append("allow") is None, monkeypatch)
    assert calls == ["allow"]


async def test_pain_79_loopback_is_not_opened_where_nobody_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> bool:
        raise AssertionError("nobody asked for it")

    await tended(NodeFacts("n1"), never, monkeypatch)


async def test_a_setting_that_cannot_be_written_is_told_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied() -> bool:
        raise KernelError(ErrorKind.DENIED, "read-only", "sysctl x")

    await tended(NODE, denied, monkeypatch)
    assert "node ports on 127.0.0.1 do not work" in caplog.text
