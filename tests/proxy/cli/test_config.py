from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pointsman.proxy.cli.config import command

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
GOOD = HEAD + "clusterCIDR: 10.244.0.0/16\nnodePortAddresses: [primary]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.conf"


def check(*arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(command, ["check", *map(str, arguments)], input=stdin, standalone_mode=False)


def test_every_setting_is_printed_with_its_origin(file: Path) -> None:
    file.write_text(GOOD + "iptables:\n  syncPeriod: 1m30s\n")
    result = check(file)
    assert result.return_value == 0
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert ["iptables.syncPeriod", "1m30s", "config.conf:6 iptables.syncPeriod"] in rows
    assert ["conntrack.tcpEstablishedTimeout", "24h0m0s", "default"] in rows
    assert ["clientConnection.qps", "5", "default"] in rows
    assert ["ipvs.drainCap", "15m0s", "default"] in rows
    assert result.stderr == ""


def test_only_what_differs_is_printed_if_asked(file: Path) -> None:
    file.write_text(GOOD)
    assert [line.split()[0] for line in check(file, "--changed").stdout.splitlines()] == ["clusterCIDR", "nodePortAddresses"]


def test_everything_wrong_and_everything_in_vain_is_told_with_its_line(file: Path) -> None:
    file.write_text(GOOD + "mode: magic\niptables:\n  masqueradeBit: 99\n  masqueradBit: 9\nportRange: 1-2\n")
    result = check(file)
    assert result.return_value == 2
    assert result.stderr.splitlines() == [
        "note: config.conf:8: iptables.masqueradBit: is not known; did you mean iptables.masqueradeBit?",
        "note: config.conf:9: portRange: has no effect here",
        "problem: config.conf:5: mode: 'magic' is unknown; this version knows: iptables, ipvs, nftables",
        "problem: config.conf:7: iptables.masqueradeBit: 99 is no bit of a 32-bit mark; use 0 to 31",
    ]


def test_what_is_doubtful_is_a_note(file: Path) -> None:
    file.write_text(HEAD + "mode: ipvs\n")
    result = check(file)
    assert result.return_value == 0
    assert "note: clusterCIDR: is not set" in result.stderr


def test_proc_02_a_mode_that_this_version_lacks_is_a_problem(file: Path) -> None:
    file.write_text(GOOD + "mode: nftables\n")
    result = check(file)
    assert result.return_value == 2
    assert "problem: config.conf:5: mode: this version cannot program nftables; it can program: iptables, ipvs" in result.stderr


def test_the_file_may_come_from_standard_input() -> None:
    result = check("-", "--changed", stdin=GOOD)
    assert result.return_value == 0
    assert "stdin:3 clusterCIDR" in result.stdout


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    result = CliRunner().invoke(command, ["check", str(file)])
    assert result.exit_code == 2
    assert f"{file} cannot be read: No such file or directory" in result.output
