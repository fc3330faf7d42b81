import asyncio
import os
from functools import partial

import click
import pytest
from click.testing import CliRunner, Result
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy import capabilities, sole
from pointsman.proxy.cli import cleanup
from pointsman.proxy.takeover import Leftovers

RESERVED = partial(sole.reserved, name=f"\0pointsman/test/cleanup/{os.getpid()}", patience=0.0)
"""The reservation of this test, whatever runs on this machine."""


class FakeMode:
    """A mode whose cleanup finds two things once, or fails."""

    def __init__(self, error: KernelError | None = None) -> None:
        self.left = ["chain A", "set B"]
        self.error = error

    async def cleanup(self, *, dry_run: bool, spare: bool = True) -> tuple[str, ...]:
        if self.error:
            raise self.error
        found = tuple(self.left)
        if not dry_run:
            self.left.clear()
        return found


def invoke(monkeypatch: pytest.MonkeyPatch, modes: dict[str, FakeMode], *arguments: str) -> Result:
    monkeypatch.setattr(cleanup, "MODES", modes)
    monkeypatch.setattr(capabilities, "refusal", lambda: "")
    monkeypatch.setattr(cleanup.logs, "configure", lambda *_: None)
    monkeypatch.setattr(cleanup.sole, "reserved", RESERVED)
    return CliRunner().invoke(cleanup.command, list(arguments), standalone_mode=False)


def test_pain_63_doing_it_twice_is_the_same_as_once(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"iptables": FakeMode()}
    first = invoke(monkeypatch, modes)
    assert (first.return_value, first.output) == (0, "removed chain A\nremoved set B\n")
    second = invoke(monkeypatch, modes)
    assert (second.return_value, second.output) == (0, "nothing of pointsman is in this kernel\n")


def test_a_dry_run_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"iptables": FakeMode()}
    result = invoke(monkeypatch, modes, "--dry-run")
    assert result.output == "would remove chain A\nwould remove set B\n"
    assert modes["iptables"].left == ["chain A", "set B"]


async def test_nothing_is_removed_under_a_running_agent_which_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"iptables": FakeMode()}
    async with RESERVED():
        result = await asyncio.to_thread(invoke, monkeypatch, modes)
        looked = await asyncio.to_thread(invoke, monkeypatch, modes, "--dry-run")
    assert isinstance(result.exception, click.ClickException)
    assert f"nothing was removed: another pointsman (process {os.getpid()})" in str(result.exception)
    assert looked.output == "would remove chain A\nwould remove set B\n"
    assert modes["iptables"].left == ["chain A", "set B"]


def test_one_mode_that_fails_does_not_keep_the_others_from_being_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"broken": FakeMode(KernelError(ErrorKind.BUSY, "locked by process 7", "set X")), "iptables": FakeMode()}
    result = invoke(monkeypatch, modes)
    assert result.return_value == 1
    assert "removed chain A" in result.output
    assert "set X: locked by process 7" in result.stderr


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "refusal", lambda: capabilities.lacking("Uid:\t1000\t1000\t1000\t1000\n"))
    result = CliRunner().invoke(cleanup.command, [])
    assert result.exit_code == 1
    assert "only root" in result.output


def test_proc_04_everything_means_kube_proxys_rules_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def remove_all() -> Leftovers:
        return Leftovers(("nftables table ip kube-proxy",), (KernelError(ErrorKind.BUSY, "locked", "set X"),))

    monkeypatch.setattr(cleanup.takeover, "remove_all", remove_all)
    monkeypatch.setattr(capabilities, "refusal", lambda: "")
    monkeypatch.setattr(cleanup.logs, "configure", lambda *_: None)
    monkeypatch.setattr(cleanup.sole, "reserved", RESERVED)
    assert cleanup.everything() == 1
    output = capsys.readouterr()
    assert output.out == "removed nftables table ip kube-proxy\n"
    assert output.err == "pointsman cleanup: set X: locked\n"
