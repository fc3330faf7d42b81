"""PROC-05, with the settings of connection tracking and of the modes replaced: a test must not change its host."""

import asyncio

import pytest
from pointsman.conntrack.sysctl import Limits
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import modes, privileges
from pointsman.proxy.config import Config

MISSING = KernelError(ErrorKind.MISSING, "no such setting", "sysctl net.netfilter.nf_conntrack_max")
DENIED = KernelError(ErrorKind.DENIED, "cannot be set", "sysctl net.netfilter.nf_conntrack_max")


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], tuple[KernelError, ...]]]:
    """What connection tracking answers, one call after the other."""
    answers: list[tuple[tuple[str, ...], tuple[KernelError, ...]]] = []
    monkeypatch.setattr(privileges.sysctl, "ensure", lambda _: answers.pop(0))
    monkeypatch.setattr(privileges.kernel_modules, "load", lambda _: None)
    return answers


def test_cfg_10_limits_are_those_of_the_configuration() -> None:
    config = Config(
        conntrack_max_per_core=1, conntrack_min=2, conntrack_tcp_established_timeout=3, conntrack_tcp_close_wait_timeout=4,
        conntrack_tcp_be_liberal=True, conntrack_udp_timeout=5, conntrack_udp_stream_timeout=6,
    )
    assert privileges.limits(config) == Limits(1, 2, 3, 4, True, 5, 6)


async def test_what_is_missing_at_the_start_is_tried_again_when_the_rules_are_there(
    outcomes: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    outcomes += [((), (MISSING,)), (("a = 1",), ())]
    errors = privileges.tune(Config())
    ready = asyncio.Event()
    later = asyncio.create_task(privileges.tune_later(Config(), errors, lambda: wait(ready)))
    await asyncio.sleep(0)
    assert len(outcomes) == 1
    ready.set()
    await later
    assert not outcomes
    assert "stays as it is" not in caplog.text


async def test_what_is_denied_is_told_and_not_tried_again(outcomes: list[object], caplog: pytest.LogCaptureFixture) -> None:
    outcomes += [((), (DENIED,))]
    ready = asyncio.Event()
    await privileges.tune_later(Config(), privileges.tune(Config()), lambda: wait(ready))
    assert caplog.text.count("a limit of connection tracking stays as it is") == 1


def test_proc_05_init_only_returns_everything_that_could_not_be_done(outcomes: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes += [((), (DENIED,)), ((), ())]
    asked: list[Config] = []

    def refuse(config: Config) -> None:
        asked.append(config)
        raise MISSING

    monkeypatch.setattr(privileges.MODES["ipvs"], "privileged", refuse)
    config = Config(mode="ipvs")
    assert privileges.prepare_only(config) == (DENIED, MISSING)
    assert asked == [config]
    monkeypatch.setattr(privileges.MODES["ipvs"], "privileged", asked.append)
    assert privileges.prepare_only(config) == ()


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (Config(), True),
        (Config(localhost_node_ports=False), False),
        (Config(node_port_addresses=("primary",)), False),
        (Config(node_port_addresses=("10.0.0.0/8",)), False),
        (Config(node_port_addresses=("127.0.0.0/8", "10.0.0.0/8")), True),
        (Config(node_port_addresses=("fd00::/64",)), True),
    ],
)
def test_sem_45_loopback_node_ports_are_allowed_where_they_may_be_accepted(
    config: Config, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(modes, "allow_loopback_node_ports", lambda: calls.append(True))
    modes.MODES["iptables"].privileged(config)
    assert bool(calls) is wanted


def test_ipvs_makes_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(modes.ipvs_sysctl, "ensure", lambda *, arp: calls.append(arp))
    modes.MODES["ipvs"].privileged(Config(mode="ipvs", ipvs_strict_arp=True))
    assert calls == [True]


async def wait(event: asyncio.Event) -> None:
    await event.wait()
