import json
from datetime import UTC, datetime, timedelta

import msgspec
from click.testing import CliRunner
from msgspec import structs
from pointsman.kube.events import Problem
from pointsman.proxy.cli.dns_state import DnsState
from pointsman.proxy.cli.status import Conntrack, Report, command, dns_troubles, text, troubles
from pointsman.proxy.drained import DrainReport
from pointsman.proxy.report import SCHEMA, status
from pointsman.proxy.status import ApplyStatus, FailingKey, FamilyStatus, ForeignStatus

from ..views import small

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
THEN = NOW - timedelta(seconds=30)
APPLIED = ApplyStatus(3, THEN, 0.01)
WELL = FamilyStatus("IPv4", 7, 7, THEN, 0, None, 0.0, THEN, APPLIED, 0, (), ForeignStatus(), read_at=THEN, queued_at=THEN)
KEY = FailingKey("nat KUBE-SVC-A", "invalid", "no such match", 5, THEN, NOW)


def agent(*families):
    return status(structs.replace(small(), families=families, problems=()))


def told(*families):
    found = agent(*families)
    report = Report(SCHEMA, found, DrainReport(SCHEMA, ()), Conntrack(50, 100), tuple(troubles(found)))
    return text(report, NOW)


def test_all_well_has_since_and_no_trouble():
    said = told(WELL)
    assert "revision 7 applied of 7 wanted, in sync since" in said
    assert "(30 s ago)" in said
    assert "connection tracking: 50 entries of 100 (50%)" in said
    assert said.endswith("all that is wanted is programmed\n")


def test_every_trouble_has_since_and_because():
    locked = ApplyStatus(1, THEN, 1, "locked")
    late = structs.replace(WELL, pending_since=THEN, in_sync_since=None, failing_keys=1, failing=(KEY,), apply=locked)
    said = told(late)
    assert "not applied because: locked" in said
    assert "nat KUBE-SVC-A fails since" in said
    assert "because no such match (tried 5 times, again at" in said


def test_foreign_changes_name_their_culprit():
    foreign = ForeignStatus(2, 40, "table nat", "iptables (pid 7)", THEN)
    said = told(structs.replace(WELL, foreign=foreign))
    assert "2 foreign changes noticed, 40 objects repaired; the last 30 s ago: table nat by iptables (pid 7)" in said


def test_what_could_not_be_read_is_a_trouble_though_all_else_is_programmed():
    lost = Problem("https://10.0.0.1:6443", "Service, EndpointSlice", "", "no route to host; what was read last stays in force")
    found = structs.replace(agent(WELL), problems=(lost,))
    [trouble] = troubles(found)
    assert trouble == f"not all that is wanted is known: {lost}"
    said = text(Report(SCHEMA, found, DrainReport(SCHEMA, ()), None, (trouble,)), NOW)
    assert said.endswith(f"trouble: {trouble}\n")
    assert said.count("no route to host") == 1


def test_a_loop_that_is_stuck_is_told():
    assert any("stuck since 100 s" in one for one in troubles(agent(structs.replace(WELL, stalled_seconds=100.0))))


def test_without_an_agent_the_exit_status_is_3(tmp_path):
    result = CliRunner().invoke(command, ["--socket", str(tmp_path / "none")])
    assert result.exit_code == 3
    assert "pointsman run" in result.output


def test_dns_is_told_and_what_is_wrong_with_it():
    found = structs.replace(agent(WELL), dns=True)
    dns = DnsState(serving=True, listens=("169.254.20.10:53",), names="complete", resident_bytes=30 * 2**20)
    assert dns_troubles(found, dns, "") == []
    said = text(Report(SCHEMA, found, DrainReport(SCHEMA, ()), None, (), dns), NOW)
    assert "DNS: answers at 169.254.20.10:53; all names of the cluster are known; 30 MiB\n" in said
    assert "memory: its resolver has 30 MiB of the 60 MiB that it may have (50%)\n" in said
    assert dns_troubles(found, DnsState(serving=False, failures=("no such plugin",)), "") == [
        "DNS: the resolver does not answer (no such plugin); queries to the cluster's DNS address go to the endpoints of its Service",
    ]
    assert "its sockets could not be opened" in dns_troubles(found, None, "")[0]
    assert dns_troubles(agent(WELL), None, "") == []  # none is wanted here


def test_memory_and_writes_stand_beside_their_budgets():
    found = structs.replace(agent(WELL), resident_bytes=40 * 2**20, mode="ipvs")
    said = text(Report(SCHEMA, found, DrainReport(SCHEMA, ()), None, ()), NOW)
    assert "memory: the agent has 40 MiB of the 80 MiB that it may have (50%)\n" in said
    assert "the last 30 s ago in 0.010 s (one change may take 0.020 s)\n" in said
    large = structs.replace(found, services=10_000, mode="iptables", variant="legacy")
    said = text(Report(SCHEMA, large, DrainReport(SCHEMA, ()), None, ()), NOW)
    assert "of the 150 MiB" in said
    assert "(one change may take 0.800 s)" in said
    beyond = text(Report(SCHEMA, structs.replace(large, services=10_001), DrainReport(SCHEMA, ()), None, ()), NOW)
    assert "may" not in beyond


def test_the_document_is_json():
    found = agent(WELL)
    report = Report(SCHEMA, found, DrainReport(SCHEMA, ()), None, ())
    assert json.loads(msgspec.json.encode(report))["agent"]["families"][0]["revisionApplied"] == 7
