import json
from datetime import UTC, datetime, timedelta

import msgspec
from click.testing import CliRunner
from msgspec import structs
from pointsman.proxy.cli.status import Conntrack, Report, command, text, troubles
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
    return status(structs.replace(small(), families=families))


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


def test_a_loop_that_is_stuck_is_told():
    assert any("stuck since 100 s" in one for one in troubles(agent(structs.replace(WELL, stalled_seconds=100.0))))


def test_without_an_agent_the_exit_status_is_3(tmp_path):
    result = CliRunner().invoke(command, ["--socket", str(tmp_path / "none")])
    assert result.exit_code == 3
    assert "pointsman run" in result.output


def test_the_document_is_json():
    found = agent(WELL)
    report = Report(SCHEMA, found, DrainReport(SCHEMA, ()), None, ())
    assert json.loads(msgspec.json.encode(report))["agent"]["families"][0]["revisionApplied"] == 7
