"""Another mode is taken away in the right order, with modes that only remember; the kernels' part is in tests/contract."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec import structs
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import succession
from pointsman.proxy.agent import Agent, Parts
from pointsman.proxy.config import Config
from pointsman.proxy.drained import Drained
from pointsman.proxy.facts import Host
from pointsman.proxy.mode import Loop
from pointsman.routing.route import Family, Protocol

from .engines import FakeEngine, FakeLoop


class Leftover:
    """A mode that left something here, or cannot be taken away; what drains of it does so until `drained`."""

    def __init__(self, error: KernelError | None = None, drains: tuple[Drained, ...] = ()) -> None:
        self.cleaned = 0
        self.error = error
        self.drains = drains
        self.drained = asyncio.Event()
        self.buried: frozenset[str] = frozenset()

    def retire(self, config: Config, endpoints: object) -> "Leftover":
        return self

    async def succeed(self) -> tuple[str, ...]:
        return ()

    async def begin(self) -> tuple[str, ...]:
        self.cleaned += 1
        if self.error:
            raise self.error
        return ("chain KUBE-OLD",)

    async def finish(self) -> None:
        if self.drains:
            await self.drained.wait()

    def draining(self, wall: datetime) -> tuple[Drained, ...]:
        return () if self.drained.is_set() else self.drains

    def bury(self, addresses: frozenset[str]) -> None:
        self.buried = addresses


class NoPeer:
    """Stands for `takeover` where no kube-proxy ever was."""

    async def announce(self, mode: str, variant: str, *, allowed: bool) -> None:
        pass

    async def ended(self) -> None:
        pass

    async def run(self, mode: str, variant: str, *, allowed: bool) -> None:
        pass


def routing_agent(loops: dict[Family, Loop], **settings: object) -> Agent:
    config = structs.replace(Config(manifests="m"), **settings)
    return Agent(Parts(config, Host("n1", {Family.IPV4: (), Family.IPV6: ()}), FakeEngine({}), loops))


async def test_what_other_modes_left_goes_only_when_ours_is_programmed_and_was_read_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    busy = KernelError(ErrorKind.BUSY, "a set is in use", "ipset")
    modes = {"iptables": Leftover(), "other": Leftover(), "third": Leftover(busy)}
    monkeypatch.setattr(succession, "MODES", modes)
    monkeypatch.setattr(succession, "takeover", NoPeer())
    done = asyncio.Event()

    class Slow(FakeLoop):
        async def applied(self, revision: int) -> None:
            return

        async def verified(self) -> None:
            await done.wait()

    agent = routing_agent({Family.IPV4: Slow(), Family.IPV6: Slow()}, mode="iptables")
    retiring = asyncio.create_task(succession.succeed(agent))
    await asyncio.sleep(0.01)
    assert not any(mode.cleaned for mode in modes.values())
    done.set()
    await retiring
    assert {name: mode.cleaned for name, mode in modes.items()} == {"iptables": 0, "other": 1, "third": 2}
    assert "removed what an earlier proxy left" in caplog.text
    assert "pointsman cleanup" in caplog.text


async def test_what_hangs_on_what_kube_proxy_left_goes_later(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    hanging = Leftover(KernelError(ErrorKind.BUSY, "chain KUBE-MARK-MASQ is in use", "nat"))

    class Mine(Leftover):
        async def succeed(self) -> tuple[str, ...]:
            hanging.error = None
            return ("chain KUBE-NODE-PORT",)

    monkeypatch.setattr(succession, "MODES", {"mine": Mine(), "hanging": hanging})
    agent = routing_agent({Family.IPV4: FakeLoop()}, mode="mine")
    await succession.retire_others(agent)
    assert hanging.cleaned == 2
    assert list(agent.leaving) == [hanging]
    assert not caplog.records


async def test_what_another_mode_lets_end_is_shown_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mode whose connections go on does not keep the others from being taken away."""
    caplog.set_level("INFO")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    row = Drained(Family.IPV4, "10.244.1.1", 80, "TCP 10.96.0.1:80", Protocol.TCP, "10.96.0.1", 80, 3, 0, moment, moment)
    slow, quick = Leftover(drains=(row,)), Leftover()
    monkeypatch.setattr(succession, "MODES", {"iptables": Leftover(), "slow": slow, "quick": quick})
    monkeypatch.setattr(succession, "takeover", NoPeer())

    class Done(FakeLoop):
        async def verified(self) -> None:
            return

    agent = routing_agent({Family.IPV4: Done()}, mode="iptables")
    await succession.retire_others(agent)
    ending = asyncio.create_task(succession.let_end(agent))
    await asyncio.sleep(0)
    assert quick.cleaned == 1
    assert agent.view().draining == (row,)
    assert "go on until they end" in caplog.text
    slow.drained.set()
    await ending
    assert agent.view().draining == ()
    assert "nothing of the other mode is left" in caplog.text
