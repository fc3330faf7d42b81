import asyncio
import json
import socket

import aiohttp
import pytest
from pointsman.kube.objects import Node, NodeSpec, ObjectMeta, Taint
from pointsman.proxy.health import FamilyHealth, Health, eligible, healthz, livez, serve
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
    assert eligible({"n1": plain}, "n1")
    assert eligible({"n1": cordoned}, "n1")
    assert not eligible({"n1": tainted}, "n1")
    assert not eligible({"n1": deleted}, "n1")
    assert not eligible({"n2": plain}, "n1")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert isinstance(port, int)
        return port


async def fetch(url: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    await response.read()
                    return response.status, dict(response.headers)
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def test_both_paths_are_served_with_kube_proxys_headers() -> None:
    port = free_port()
    server = asyncio.create_task(serve(f"127.0.0.1:{port}", lambda: LEAVING, lambda: NOW))
    async with asyncio.timeout(60):
        status, headers = await fetch(f"http://127.0.0.1:{port}/healthz")
        assert status == 503
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert (await fetch(f"http://127.0.0.1:{port}/livez"))[0] == 200
        assert (await fetch(f"http://127.0.0.1:{port}/metrics"))[0] == 404
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


async def test_proc_11_a_taken_port_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        server = asyncio.create_task(serve(f"127.0.0.1:{port}", lambda: FINE, lambda: NOW, retry=0.01))
        async with asyncio.timeout(60):
            while "health is not served" not in caplog.text:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        assert (await fetch(f"http://127.0.0.1:{port}/livez"))[0] == 200
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


async def test_an_empty_address_serves_nothing() -> None:
    await serve("", lambda: FINE, lambda: NOW)
