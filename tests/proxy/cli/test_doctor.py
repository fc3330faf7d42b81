import tarfile

import pytest
from click.testing import CliRunner
from fakes.planted import invoke, prepare
from fakes.scratch import lock_file, namespace, shell
from pointsman.explain.findings import Finding, Level
from pointsman.proxy.cli.doctor import DoctorReport, command, text

FOUND = DoctorReport("s", "n1", "iptables", (
    Finding(Level.BAD, "net.ipv4.ip_forward", "net.ipv4.ip_forward is 0", "nothing passes", "sysctl -w net.ipv4.ip_forward=1"),
    Finding(Level.OK, "mtu", "1500"),
))  # fmt: skip


def test_each_finding_says_why_and_what_to_do():
    assert text(FOUND, everything=False).splitlines() == [
        "bad   net.ipv4.ip_forward: net.ipv4.ip_forward is 0",
        "      why: nothing passes",
        "      fix: sysctl -w net.ipv4.ip_forward=1",
        "1 bad, 0 warnings, 1 well (--all shows them)",
    ]
    assert "ok    mtu: 1500" in text(FOUND, everything=True)


@pytest.mark.kernel
def test_a_node_without_an_agent_is_examined_all_the_same(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell("sysctl -q -w net.ipv4.ip_forward=0")
        result = CliRunner().invoke(command, ["--socket", str(tmp_path / "none")], standalone_mode=False)
    assert result.return_value == 1
    assert "bad   agent:" in result.output
    assert "bad   net.ipv4.ip_forward: net.ipv4.ip_forward is 0" in result.output


@pytest.mark.kernel
def test_a_bundle_is_packed_beside_the_findings(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        status, _ = invoke("doctor", "iptables", "nft", "--bundle", str(tmp_path / "b.tar.gz"))
    assert status == 1  # nothing is programmed
    with tarfile.open(tmp_path / "b.tar.gz") as bundle:
        names = bundle.getnames()
    assert {"pointsman/README", "pointsman/doctor.json", "pointsman/diff.json", "pointsman/picture.json"} <= set(names)
