"""DNS without the agent: a folder of manifests, followed; ended by a signal."""

import asyncio
import os
import signal
import socket

import pytest
from fakes import dns as fake
from fakes.apiserver import FakeApi, FakeClient
from pointsman.proxy.dns import alone, reading
from pointsman.proxy.dns.service import DnsError
from pointsman.proxy.dns.sockets import Place

PATIENCE = 60.0


async def test_names_of_manifests_are_served_as_they_change(tmp_path):
    (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes cluster.local\n}\n")
    folder = tmp_path / "manifests"
    folder.mkdir()
    fake.write(folder, "web", fake.service("shop", "web", ["10.96.0.80"]))
    place = Place("127.0.0.1", fake.free_port(), 0)
    serving = asyncio.create_task(alone.serve(alone.Options(corefile=str(tmp_path / "Corefile"), manifests=str(folder), listen=place)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)

        async def until(wanted, name):
            async with asyncio.timeout(PATIENCE):
                while (got := fake.values(await fake.ask(client, (place.address, place.port), name, seconds=0.5))) != wanted:
                    assert not serving.done() or serving.result() is None, got
                    await asyncio.sleep(0.05)

        await until(["10.96.0.80"], "web.shop.svc.cluster.local")
        await until("NXDOMAIN", "cart.shop.svc.cluster.local")
        fake.write(folder, "cart", fake.service("shop", "cart", ["10.96.0.81"]))
        await until(["10.96.0.81"], "cart.shop.svc.cluster.local")
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        assert await serving == 0


async def test_questions_over_tcp_reach_the_upstream_over_tcp(tmp_path):
    """FWD-30, FWD-11: through the very process that serves, from clients of TCP and of UDP, one after the other and at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    upstream = fake.Everywhere(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "198.51.100.7", listener)
    port = listener.getsockname()[1]
    blocks = (". {\n  forward . 127.0.0.1:%d\n}\n", "forced.test {\n  forward . 127.0.0.1:%d {\n    force_tcp\n  }\n}\n")
    (tmp_path / "Corefile").write_text("".join(block % port for block in blocks))
    place = Place("127.0.0.1", fake.free_port(), 0)
    serving = asyncio.create_task(alone.serve(alone.Options(corefile=str(tmp_path / "Corefile"), listen=place)))

    async def over_tcp(name, seconds=PATIENCE):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.setblocking(False)
            return fake.values(await fake.ask_stream(client, (place.address, place.port), name, seconds=seconds))

    async def over_udp(name):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            return fake.values(await fake.ask(client, (place.address, place.port), name, seconds=PATIENCE))

    async with asyncio.timeout(PATIENCE):
        while await over_tcp("first.test", 1.0) != [upstream.address]:
            assert not serving.done()
            await asyncio.sleep(0.05)
    for number in range(3):
        assert await over_tcp(f"{number}.test") == [upstream.address]
        assert await over_udp(f"{number}.forced.test") == [upstream.address]
    many = [over_tcp(f"many{number}.test") for number in range(20)] + [over_udp(f"{number}.all.forced.test") for number in range(20)]
    assert await asyncio.gather(*many) == [[upstream.address]] * len(many)
    assert upstream.asked == 0
    upstream.close()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        assert await serving == 0


async def test_a_corefile_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(DnsError, match="Corefile"):
        await alone.serve(alone.Options(corefile=str(tmp_path / "Corefile")))


async def test_names_of_the_api_are_served_and_headless_ones_read(tmp_path, monkeypatch):
    """REC-07: what routing leaves out is asked for here."""
    (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes cluster.local\n}\n")
    api = FakeApi()
    api.put("Namespace", "default")
    api.put("Service", "db", spec={"clusterIP": "None", "ports": [{"port": 5432}]})
    labels = {"kubernetes.io/service-name": "db", "service.kubernetes.io/headless": ""}
    api.put("EndpointSlice", "db-1", labels=labels, addressType="IPv4", endpoints=[{"addresses": ["10.244.1.9"]}], ports=[{"port": 5432}])
    asked = []

    class Client(FakeClient):
        async def close(self):
            asked.append("closed")

    async def connect(kubeconfig, master):
        asked.append((kubeconfig, master))
        return Client(api)

    monkeypatch.setattr(reading, "connect", connect)
    place = Place("127.0.0.1", fake.free_port(), 0)
    options = alone.Options(corefile=str(tmp_path / "Corefile"), master="10.0.0.1:6443", listen=place)
    serving = asyncio.create_task(alone.serve(options))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        async with asyncio.timeout(PATIENCE):
            name = "db.default.svc.cluster.local"
            while fake.values(await fake.ask(client, (place.address, place.port), name, seconds=0.5)) != ["10.244.1.9"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        assert await serving == 0
    assert asked == [("", "10.0.0.1:6443"), "closed"]
