"""Health: families that owe something for too long, and nodes on their way out."""

import json

from pointsman.kube.objects import Node, NodeSpec, ObjectMeta, Taint
from pointsman.proxy.health import Checks, FamilyHealth, Health, eligible, healthy, healthz, livez, readyz
from pointsman.proxy.servers import JSON, Answer, Question
from pointsman.routing.route import Family

NOW = 1_700_000_000.0
FINE = Health({Family.IPV4: FamilyHealth(NOW - 10)}, eligible=True, timeout=60)
LATE = Health({Family.IPV4: FamilyHealth(NOW - 100, pending=61), Family.IPV6: FamilyHealth(NOW - 5, pending=60)}, eligible=True, timeout=60)
LEAVING = Health({Family.IPV4: FamilyHealth(NOW - 10)}, eligible=False, timeout=60)


def body(answer: tuple[int, bytes]) -> dict[str, object]:
    value = json.loads(answer[1])
    assert isinstance(value, dict)
    return value


def test_hlt_04_the_body_of_healthz() -> None:
    assert healthz(FINE, NOW)[0] == 200
    assert body(healthz(FINE, NOW)) == {
        "lastUpdated": "2023-11-14T22:13:20Z",
        "currentTime": "2023-11-14T22:13:20Z",
        "nodeEligible": True,
        "healthy": True,
        "status": {"IPv4": {"lastUpdated": "2023-11-14T22:13:10Z", "healthy": True}},
    }


def test_hlt_11_health_of_the_families_is_not_that_of_the_node() -> None:
    assert healthy(LEAVING)
    assert not healthy(LATE)


def test_hlt_04_livez_does_not_speak_of_the_node() -> None:
    assert "nodeEligible" not in body(livez(FINE, NOW))


def test_hlt_01_a_family_is_unhealthy_when_a_change_waits_longer_than_the_timeout() -> None:
    for answer in (livez(LATE, NOW), healthz(LATE, NOW)):
        assert answer[0] == 503
        value = body(answer)
        assert value["healthy"] is False
        assert value["lastUpdated"] == "2023-11-14T22:11:40Z"
        assert value["status"] == {
            "IPv4": {"lastUpdated": "2023-11-14T22:11:40Z", "healthy": False},
            "IPv6": {"lastUpdated": "2023-11-14T22:13:15Z", "healthy": True},
        }


def test_pain_55_a_node_on_its_way_out_fails_healthz_and_not_livez() -> None:
    assert livez(LEAVING, NOW)[0] == 200
    status, _ = healthz(LEAVING, NOW)
    assert status == 503
    assert body(healthz(LEAVING, NOW))["healthy"] is True


def test_hlt_06_ready_is_who_has_programmed_everything_and_lives() -> None:
    begun, ill = Health({}, eligible=True, timeout=60), Health(LATE.families, eligible=True, timeout=60, programmed=True)
    carrying = Health(LEAVING.families, eligible=False, timeout=60, programmed=True)
    assert [readyz(one, NOW)[0] for one in (begun, ill, carrying)] == [503, 503, 200]
    assert body(readyz(begun, NOW)) == {**body(livez(begun, NOW)), "programmed": False}
    assert Checks(lambda: carrying, lambda: NOW).server("").paths["/readyz"](Question()).status == 200


def test_hlt_01_families_that_never_reported_are_not_listed() -> None:
    status, _ = livez(Health({}, eligible=True, timeout=60), NOW)
    assert status == 200
    assert body(livez(Health({}, eligible=True, timeout=60), NOW))["status"] == {}


def test_hlt_03_eligibility() -> None:
    plain = Node(ObjectMeta(name="n1"))
    cordoned = Node(ObjectMeta(name="n1"), NodeSpec(taints=(Taint("node.kubernetes.io/unschedulable"),)))
    tainted = Node(ObjectMeta(name="n1"), NodeSpec(taints=(Taint("x"), Taint("ToBeDeletedByClusterAutoscaler"))))
    deleted = Node(ObjectMeta(name="n1", deletion_timestamp="2026-01-01T00:00:00Z"))
    assert eligible({}, "n1")
    assert not eligible({}, "n1", known=True)
    assert eligible({"n1": plain}, "n1")
    assert eligible({"n1": cordoned}, "n1")
    assert not eligible({"n1": tainted}, "n1")
    assert not eligible({"n1": deleted}, "n1")
    assert not eligible({"n2": plain}, "n1")


def test_hlt_05_answers_are_counted_by_path_and_status() -> None:
    state = FINE
    checks = Checks(lambda: state, lambda: NOW)
    paths = checks.server("127.0.0.1:10256").paths
    assert paths["/livez"](Question()) == Answer(200, livez(FINE, NOW)[1], JSON)
    state = LEAVING
    assert checks.healthz(Question()).status == 503
    assert checks.livez(Question()).status == 200
    assert checks.counts == {("livez", 200): 2, ("healthz", 503): 1}
