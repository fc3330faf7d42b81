import io
from datetime import UTC, datetime

from msgspec import structs
from pointsman.proxy.cli.services import decode
from pointsman.proxy.cli.table import family_line, heading, remarks, show
from pointsman.proxy.report import services_document
from pointsman.proxy.status import ApplyStatus, FailingKey, FamilyStatus, ForeignStatus
from pointsman.routing.route import Topology, TopologyMode
from rich.console import Console

from ..views import small

REPORT = decode(b"".join(services_document(small())), "")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FINE = FamilyStatus("IPv4", 3, 3, NOW, 0, None, 0.0, NOW, ApplyStatus(), 0, (), ForeignStatus())


def drawn(*, wide: bool, subject: str = "", report=REPORT) -> str:
    out = io.StringIO()
    show(report, wide=wide, subject=subject, console=Console(file=out, width=200, markup=False, emoji=False, highlight=False))
    return out.getvalue()


def test_short_has_one_row_per_service_port() -> None:
    lines = drawn(wide=False).splitlines()
    rows = [line for line in lines if line.startswith("shop/")]
    assert [row.split()[0] for row in rows] == ["shop/api:http", "shop/six:http", "shop/web:http"]
    assert "none" in rows[0]
    assert "rejected, no endpoints" in rows[0]
    assert "[fd00::10]:80 tcp" in rows[1]
    assert "2: 10.244.1.1:8080, 10.244.2.1:8080; 1 left out" in rows[2]


def test_pain_59_wide_says_why_an_endpoint_is_left_out() -> None:
    text = drawn(wide=True)
    assert "left out: not ready" in text
    assert "n1 (here)" in text
    assert "pod-10.244.2.1" in text


def test_notices_are_those_of_the_subject_and_problems_are_all() -> None:
    assert "refused: Service shop/web" in drawn(wide=False)
    text = drawn(wide=False, subject="Service shop/api")
    assert "suspicious: Service shop/api: spec: odd" in text
    assert "refused: Service shop/web" not in text
    assert "problem: bad.yaml:3" in text


def test_the_heading_says_what_it_waits_for() -> None:
    assert "revision 1, 3 Services known" in heading(REPORT)
    waiting = structs.replace(REPORT, waiting_for=("Service", "EndpointSlice"))
    assert "waiting for the list of Services and EndpointSlices; nothing is programmed yet" in heading(waiting)


def test_a_familys_line() -> None:
    assert family_line(FINE).startswith("IPv4: in sync since 2026-01-31")
    late = structs.replace(FINE, in_sync_since=None, pending_keys=7, pending_since=NOW, apply=ApplyStatus(1, NOW, 0.1, "the lock is held"))
    assert family_line(late).startswith("IPv4: changes wait since 2026-01-31")
    assert family_line(late).endswith("the lock is held")
    stuck = family_line(structs.replace(FINE, stalled_seconds=42.0))
    assert stuck.startswith("IPv4: stuck for 42 s: the kernel could not be read")
    assert "nothing wanted" in family_line(structs.replace(FINE, revision_wanted=None, revision_applied=None))
    assert "4 foreign changes repaired" in family_line(structs.replace(FINE, foreign=ForeignStatus(1, 4)))


def test_failing_keys_are_shown() -> None:
    failing = FailingKey("shop/web:http", "invalid", "refused by the kernel", 3, NOW, NOW)
    report = structs.replace(REPORT, families=(structs.replace(FINE, failing=(failing,), failing_keys=1),))
    assert "shop/web:http: refused by the kernel (tried 3 times)" in drawn(wide=False, report=report)


def test_remarks_put_policies_into_words() -> None:
    port = structs.replace(
        REPORT.service_ports[0],
        internal_missing=None,
        external_missing="drop",
        internal_traffic_policy="Local",
        external_traffic_policy="Local",
        affinity_seconds=180,
        source_ranges=("10.0.0.0/8",),
        topology=Topology(TopologyMode.SAME_ZONE, ""),
    )
    assert remarks(port) == [
        "from outside: dropped, no endpoints on this node",
        "internal policy Local",
        "external policy Local",
        "session affinity 180 s",
        "only from 10.0.0.0/8",
        "hints: same zone",
    ]
    ignored = structs.replace(port, topology=Topology(reason="endpoint x has no zone hint"))
    assert remarks(ignored)[-1] == "hints ignored: endpoint x has no zone hint"
