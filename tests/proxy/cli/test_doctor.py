import tarfile
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from fakes.planted import invoke, prepare
from fakes.scratch import lock_file, namespace, shell
from msgspec import structs
from pointsman.explain.findings import Finding, Level
from pointsman.kube.events import Problem
from pointsman.proxy.cli import doctor
from pointsman.proxy.cli.doctor import DoctorReport, command, of_agent, of_kernel, text
from pointsman.proxy.comparison import DiffReport, Entry
from pointsman.proxy.known import Known
from pointsman.proxy.picture import picture
from pointsman.proxy.status import ApplyStatus, FamilyStatus, ForeignStatus

from ..views import PROBLEM, small

THEN = datetime(2026, 1, 1, 12, tzinfo=UTC)

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


def test_a_lost_api_and_objects_nobody_understands_are_bad_and_news_are_old():
    lost = Problem("https://10.0.0.1:6443", "Service, EndpointSlice", "", "no route to host; what was read last stays in force")
    family = FamilyStatus("IPv4", 7, 7, THEN, 0, None, 0.0, THEN, ApplyStatus(1, THEN, 0.01), 0, (), ForeignStatus(), queued_at=THEN)
    well = structs.replace(small(), notices=(), problems=(), families=(family,))
    for problems, levels in (((), []), ((lost,), [Level.BAD, Level.WARN]), ((PROBLEM,), [Level.BAD, Level.WARN])):
        known = Known(picture(structs.replace(well, problems=problems)), "an agent")
        found = [one for one in of_agent(known) if one.level is not Level.OK]
        assert [one.level for one in found] == levels
        assert [one.text for one in found[:1]] == [str(one) for one in problems]
    assert found[0].fix == "kubectl -n shop get service bad -o yaml"


def test_a_flow_that_goes_astray_is_ended_by_its_own_class():
    entry = Entry("IPv4", "shop/dns:udp udp", "a flow of 10.5.0.1:9 goes on ...", "conntrack recycled", "", "udp 17 ...")
    node = structs.replace(entry, subject="node", where="conntrack stale-frontend")
    found = of_kernel(DiffReport("s", "n1", "iptables", "an agent", (entry, node)))
    assert [one.fix for one in found] == [
        "pointsman conntrack flush --class recycled --service shop/dns --proto udp --yes",
        "pointsman conntrack flush --class stale-frontend --proto udp --yes",
    ]


@pytest.mark.kernel
def test_a_node_without_an_agent_is_examined_all_the_same(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        shell("sysctl -q -w net.ipv4.ip_forward=0")
        result = CliRunner().invoke(command, ["--socket", str(tmp_path / "none")], standalone_mode=False)
    assert result.return_value == 1
    assert "bad   agent:" in result.output
    assert "bad   net.ipv4.ip_forward: net.ipv4.ip_forward is 0" in result.output


def test_a_bundle_that_cannot_be_written_is_told_before_anything_is_examined(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "examine", None)
    result = CliRunner().invoke(command, ["--socket", str(tmp_path / "none"), "--bundle", str(tmp_path / "no" / "b.tar.gz")])
    assert result.exit_code == 2
    assert "b.tar.gz cannot be written: No such file or directory" in result.output


@pytest.mark.kernel
def test_a_bundle_is_packed_beside_the_findings(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        status, _ = invoke("doctor", "iptables", "nft", "--bundle", str(tmp_path / "b.tar.gz"))
    assert status == 1  # nothing is programmed
    with tarfile.open(tmp_path / "b.tar.gz") as bundle:
        names = bundle.getnames()
    assert {"pointsman/README", "pointsman/doctor.json", "pointsman/diff.json", "pointsman/picture.json"} <= set(names)
