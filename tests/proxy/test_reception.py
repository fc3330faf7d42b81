"""What the agent answers and tells, all together, and how it ends where a server may not fail."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pointsman.kube.events import Batch, Replace, Upsert
from pointsman.kube.objects import Kind
from pointsman.kube.recorder import Recorder
from pointsman.proxy.announce import Announcer
from pointsman.proxy.config_watch import Stop
from pointsman.proxy.reception import answer
from pointsman.routing.route import Protocol, ServicePortName

from .test_agent import SLICES, agent
from .test_servers import fetch, free_port
from .views import endpoint, endpoint_slice, service


class Server:
    """An API server that takes every event."""

    def __init__(self) -> None:
        self.posted: list[dict[str, object]] = []

    async def get(self, path: str, query: object = None) -> bytes:
        return b'{"items": [{"metadata": {"uid": "u"}}]}'

    async def post(self, path: str, body: dict[str, object]) -> bytes:
        self.posted.append(body)
        return b"{}"


async def nothing() -> None:
    return


async def until(true) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def received(folder: Path, **settings: object):
    """An agent that answers: with the loop that it programs, the API server that it tells, its ports, and what ends it."""
    ports = {"healthz": free_port(), "metrics": free_port()}
    known = {f"{name}_bind_address": f"127.0.0.1:{port}" for name, port in ports.items()} | {"socket": str(folder / "agent.sock")}
    one, loop = agent(**{**known, **settings})
    told = Server()
    one.parts.announcer = Announcer(Recorder(told, "n1", lambda: 1e9), dice=lambda: 0.0)
    stop = Stop()
    running = asyncio.create_task(answer(one, nothing, stop))
    try:
        yield one, loop, told, ports, stop
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_health_metrics_and_status_are_answered(tmp_path: Path) -> None:
    async with received(tmp_path) as (_, _, _, ports, _):
        assert (await fetch(f"http://127.0.0.1:{ports['healthz']}/livez"))[0] == 200
        status, text, headers = await fetch(f"http://127.0.0.1:{ports['metrics']}/metrics")
        assert status == 200
        assert 'kubeproxy_proxy_livez_total{code="200"} 1.0' in text
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert (await fetch(f"http://127.0.0.1:{ports['metrics']}/proxyMode"))[1] == "iptables"
        await until((tmp_path / "agent.sock").is_socket)


async def test_hlt_10_a_health_check_node_port_opens_once_the_kernel_follows(tmp_path: Path) -> None:
    port = free_port()
    spec = {"type": "LoadBalancer", "external_traffic_policy": "Local", "health_check_node_port": port}
    async with received(tmp_path, node_port_addresses=("127.0.0.0/8",)) as (one, loop, _, _, _):
        one.receive(Batch((Replace(Kind.SERVICE, (service("web", "10.96.0.10", **spec),)), SLICES)))
        loop.progress.offered(one.snapshot.revision, 1.0)
        await asyncio.sleep(0.1)
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0
        loop.settle()
        status, text, _ = await fetch(f"http://127.0.0.1:{port}/")
        assert (status, json.loads(text)["localEndpoints"]) == (200, 1)
        one.receive(Batch((Upsert(endpoint_slice("web", endpoint("10.244.2.1", "n2"))),)))
        assert (await fetch(f"http://127.0.0.1:{port}/"))[0] == 503


async def test_a_broken_service_becomes_an_event(tmp_path: Path) -> None:
    async with received(tmp_path, external_ips="deny") as (one, _, told, _, _):
        one.receive(Batch((Replace(Kind.SERVICE, (service("web", "10.96.0.10", external_ips=("192.0.2.1",)),)), SLICES)))
        await until(lambda: told.posted)
        (event,) = told.posted
        assert event["reason"] == "ServiceNotRouted"
        assert event["metadata"]["namespace"] == "shop"


async def test_a_service_that_the_kernel_does_not_take_becomes_an_event(tmp_path: Path) -> None:
    async with received(tmp_path) as (one, loop, told, _, _):
        one.receive(Batch((Replace(Kind.SERVICE, (service("web", "10.96.0.10"),)), SLICES)))
        loop.refusals[ServicePortName("shop", "web", "http", Protocol.TCP)] = "the kernel does not take it"
        loop.progress.offered(one.snapshot.revision, 1.0)
        loop.settle()
        await until(lambda: told.posted)
        assert told.posted[0]["note"] == "port http: the kernel does not take it"


@pytest.mark.parametrize(("name", "reason"), [("healthz", "FailedToStartProxierHealthcheck"), ("metrics", "FailedToStartMetricServer")])
async def test_proc_11_with_hard_fail_the_agent_says_why_and_ends(
    tmp_path: Path, name: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = {f"{name}_bind_address": f"127.0.0.1:{squatter.getsockname()[1]}", "bind_address_hard_fail": True}
        async with received(tmp_path, **taken) as (_, _, told, _, stop):
            async with asyncio.timeout(60):
                await stop.wait()
            assert stop.status == 1
            assert [event["reason"] for event in told.posted] == [reason]
            assert "ending, as --bind-address-hard-fail asks for" in caplog.text


async def test_hlt_13_a_port_that_cannot_be_had_becomes_an_event_at_the_service(tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        spec = {"type": "LoadBalancer", "external_traffic_policy": "Local", "health_check_node_port": squatter.getsockname()[1]}
        async with received(tmp_path, node_port_addresses=("127.0.0.0/8",)) as (one, loop, told, _, _):
            one.receive(Batch((Replace(Kind.SERVICE, (service("web", "10.96.0.10", **spec),)), SLICES)))
            loop.progress.offered(one.snapshot.revision, 1.0)
            loop.settle()
            await until(lambda: told.posted)
            (event,) = told.posted
            assert (event["reason"], event["regarding"]["name"]) == ("FailedToStartServiceHealthcheck", "web")
