from datetime import UTC, datetime, timedelta

from pointsman.proxy.drained import Drained, report
from pointsman.routing.build import build
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol

from .views import endpoint, endpoint_slice, service, snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUTING = build(snapshot([service("web", "10.96.0.10")], [endpoint_slice("web", endpoint("10.244.1.1", "n1"))]), NodeFacts("n1"))


def one(address: str, since: datetime, real: str = "10.244.1.9") -> Drained:
    end = since + timedelta(seconds=900)
    return Drained(Family.IPV4, real, 8080, f"TCP {address}:80", Protocol.TCP, address, 80, 2, 1, since, end, "web-1")


def test_pain_23_what_drains_is_told_with_its_service_the_longest_first() -> None:
    found = report([one("10.96.0.10", NOW), one("10.96.0.99", NOW - timedelta(seconds=5))], ROUTING)
    assert [row.service for row in found.draining] == ["", "shop/web:http"]
    last = found.draining[1]
    assert (last.server, last.pod, last.active_connections, last.inactive_connections) == ("10.244.1.9:8080", "web-1", 2, 1)
    assert last.removed_by - last.since == timedelta(seconds=900)


def test_nothing_drains() -> None:
    assert report((), None).draining == ()


def test_servers_are_written_as_people_write_them() -> None:
    assert one("10.96.0.10", NOW, "fd00::9").server == "[fd00::9]:8080"
