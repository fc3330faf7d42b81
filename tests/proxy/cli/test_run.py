from pathlib import Path

import pytest
from click.testing import CliRunner
from pointsman.proxy import daemon
from pointsman.proxy.cli import run
from pointsman.proxy.config import Config


def test_everything_wrong_with_the_command_line_is_told_at_once() -> None:
    arguments = ["--proxy-mode=magic", "--manifests=/nonexistent", "--iptables-masquerade-bit=99", "left-over"]
    result = CliRunner().invoke(run.command, arguments)
    assert result.exit_code == 2
    for text in ("'magic' is unknown", "no such folder", "99 is no bit", "'left-over'", "Nothing was changed"):
        assert text in result.output


def test_without_root_it_says_so_before_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(run.command, ["--manifests", str(tmp_path)])
    assert result.exit_code == 1
    assert "only root" in result.output
    assert "sudo" in result.output


def test_the_daemon_gets_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    monkeypatch.setattr(run.os, "geteuid", lambda: 0)
    monkeypatch.setattr(run.logs, "configure", lambda *_: None)
    monkeypatch.setattr(daemon, "main", lambda config: seen.append(config) or 7)
    result = CliRunner().invoke(run.command, ["--manifests", str(tmp_path), "--masquerade-all"], standalone_mode=False)
    assert result.return_value == 7
    assert seen == [Config(manifests=str(tmp_path), masquerade_all=True, nftables_masquerade_all=True)]
