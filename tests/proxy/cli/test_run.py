from pathlib import Path

import pytest
from click.testing import CliRunner
from pointsman.proxy import capabilities, daemon
from pointsman.proxy.cli import cleanup, run
from pointsman.proxy.config import Config
from pointsman.proxy.config_watch import ConfigFile, digest


def test_everything_wrong_with_the_command_line_is_told_at_once(tmp_path: Path) -> None:
    arguments = ["--proxy-mode=magic", f"--manifests={tmp_path}/missing", "--iptables-masquerade-bit=99", "left-over"]
    result = CliRunner().invoke(run.command, arguments)
    assert result.exit_code == 2
    for text in ("'magic' is unknown", "no such folder", "99 is no bit", "'left-over'", "Nothing was changed"):
        assert text in result.output


def test_without_root_it_says_so_before_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "refusal", lambda: capabilities.lacking("Uid:\t1000\t1000\t1000\t1000\n"))
    result = CliRunner().invoke(run.command, ["--manifests", str(tmp_path)])
    assert result.exit_code == 1
    assert "only root" in result.output
    assert "sudo" in result.output


def test_the_daemon_gets_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    monkeypatch.setattr(capabilities, "refusal", lambda: "")
    monkeypatch.setattr(run.logs, "configure", lambda *_: None)
    monkeypatch.setattr(daemon, "main", lambda config, file: seen.append(config) or (7 if file is None else 8))
    result = CliRunner().invoke(run.command, ["--manifests", str(tmp_path), "--masquerade-all"], standalone_mode=False)
    assert result.return_value == 7
    assert seen == [Config(manifests=str(tmp_path), masquerade_all=True, nftables_masquerade_all=True)]


HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.conf"
    path.write_text(HEAD + "mode: ipvs\niptables:\n  masqueradBit: 3\n")
    return path


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "refusal", lambda: "")
    monkeypatch.setattr(run.logs, "configure", lambda *_: None)


@pytest.mark.usefixtures("root")
def test_proc_07_the_daemon_knows_the_file_as_it_was_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(daemon, "main", lambda *arguments: seen.extend(arguments) or 0)
    arguments = ["--config", str(file), "--hostname-override=n1", "--proxy-mode=iptables"]
    assert CliRunner().invoke(run.command, arguments, standalone_mode=False).return_value == 0
    assert seen == [Config(mode="ipvs", hostname_override="n1"), ConfigFile(file, digest(file.read_bytes()))]
    assert "--proxy-mode has no effect beside --config" in caplog.text
    assert "did you mean iptables.masqueradeBit?" in caplog.text


def test_a_file_that_cannot_be_read_is_named() -> None:
    result = CliRunner().invoke(run.command, ["--config=/nonexistent/config.conf"])
    assert result.exit_code == 2
    assert "--config=/nonexistent/config.conf: cannot be read: No such file or directory" in result.output


@pytest.mark.usefixtures("root")
def test_proc_02_a_mode_that_this_version_lacks_is_an_error_at_start() -> None:
    result = CliRunner().invoke(run.command, ["--proxy-mode=nftables"])
    assert result.exit_code == 1
    assert "--proxy-mode: this version cannot program nftables; it can program: iptables, ipvs" in result.output


@pytest.mark.usefixtures("root")
def test_proc_05_init_only_prepares_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    monkeypatch.setattr(daemon, "prepare_only", lambda config: seen.append(config) or 0)
    assert CliRunner().invoke(run.command, ["--init-only"], standalone_mode=False).return_value == 0
    assert seen == [Config()]
    CliRunner().invoke(run.command, ["--init-only=false", "--version"])
    assert len(seen) == 1


@pytest.mark.usefixtures("root")
def test_proc_04_cleanup_removes_the_rules_of_all_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "everything", lambda: 1)
    result = CliRunner().invoke(run.command, ["--cleanup", "--proxy-mode=nftables"], standalone_mode=False)
    assert result.return_value == 1


def test_proc_06_what_a_file_cannot_say_is_told(tmp_path: Path) -> None:
    target = tmp_path / "written.conf"
    result = CliRunner().invoke(run.command, [f"--write-config-to={target}", "--healthz-bind-address="])
    assert result.exit_code == 0
    assert "healthzBindAddress: a file cannot say this value" in result.output
    assert target.is_file()


def test_proc_06_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(run.command, [f"--write-config-to={tmp_path}"])
    assert result.exit_code == 1
    assert f"{tmp_path} cannot be written: Is a directory" in result.output


def test_what_is_asked_of_the_version_must_make_sense() -> None:
    assert "--version=banana: 'banana' is neither true nor false" in CliRunner().invoke(run.command, ["--version=banana"]).output


@pytest.mark.parametrize(
    ("arguments", "word"), [(["--version"], "Kubernetes v1."), (["--version=raw"], "version.Info{"), (["--version=true"], "Kubernetes ")]
)
def test_the_version_is_told_whatever_else_is_wrong(arguments: list[str], word: str) -> None:
    result = CliRunner().invoke(run.command, [*arguments, "--proxy-mode=magic"])
    assert result.exit_code == 0
    assert result.output.startswith(word)
