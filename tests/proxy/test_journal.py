import pytest
from pointsman.kube.events import Problem
from pointsman.proxy.config import ConfigProblem
from pointsman.proxy.flag_table import NAMES
from pointsman.proxy.journal import Journal, config_notices
from pointsman.routing.route import Notice, Severity

BROKEN = Problem("web.yaml:7", "Service shop/web", "spec.ports[0].port", "70000 is no port")
HALF = Problem("cart.yaml:1", "", "", "not YAML")
LOST = Notice("Service shop/web", "spec.externalIPs[0]", "192.0.2.1 belongs to a node")
ODD = Notice("Service shop/cart", "spec.externalIPs[0]", "inside the pod range", Severity.SUSPICIOUS)


def test_a_problem_is_told_once_when_it_appears_and_once_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal()
    journal.set_problems([BROKEN])
    journal.set_problems([BROKEN, HALF])
    journal.set_problems([HALF])
    journal.set_problems([HALF])
    assert [(record.message, vars(record).get("where")) for record in caplog.records] == [
        ("input not usable", "web.yaml:7"),
        ("input not usable", "cart.yaml:1"),
        ("input mended", "web.yaml:7"),
    ]
    assert journal.problems == (HALF,)


def test_a_notice_is_told_once_with_object_field_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal()
    journal.set_notices([LOST, LOST, ODD])
    journal.set_notices([ODD])
    assert [record.message for record in caplog.records] == ["refused", "suspicious", "no longer refused"]
    first = vars(caplog.records[0])
    assert (first["object"], first["field"], first["reason"]) == (LOST.subject, LOST.field, LOST.text)
    assert journal.notices == (ODD,)


def test_what_stands_is_told_once_whatever_else_comes_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    always, other = Notice("configuration", "--x", "never mended", Severity.SUSPICIOUS), Notice("a/b", "spec", "no", Severity.REFUSED)
    journal = Journal([always])
    for notices in ((), (other,), ()):
        journal.set_notices(notices)
        assert journal.notices == (always, *notices)
    assert caplog.text.count("suspicious") == 1


def test_warnings_about_the_configuration_use_the_flags_names() -> None:
    (notice,) = config_notices([ConfigProblem("node_port_addresses", "is not set")], NAMES)
    assert notice == Notice("configuration", "--nodeport-addresses", "is not set", Severity.SUSPICIOUS)
