"""What DNS alone reads: what the Corefile wants, and more when another one wants more."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from fakes import dns as fake
from fakes import virtual
from fakes.apiserver import FakeApi, FakeClient
from fakes.corefiles import corefile
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind
from pointsman.proxy.dns import reading as module
from pointsman.proxy.dns.reading import Origin, Reading
from pointsman.proxy.dns.service import DnsError
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.dns.wishes import wishes


def block(*lines):
    return corefile(".:53 {\n" + "".join(f"    {line}\n" for line in lines) + "}\n")


PLAIN = block("kubernetes cluster.local")
VERIFIED = block("kubernetes cluster.local {", "pods verified", "}")


class Client(FakeClient):
    """A client that notes its end."""

    closed = False

    async def close(self):
        self.closed = True


@pytest.fixture
def clients(monkeypatch):
    made = []
    api = FakeApi()
    api.put("Namespace", "default")
    api.service("web")

    async def connect(kubeconfig, master):
        made.append(Client(api))
        return made[-1]

    monkeypatch.setattr(module, "connect", connect)
    return made


@asynccontextmanager
async def reading(first):
    telling = Telling()
    found = Reading(Origin(), telling)
    await found.open(wishes(first))
    running = asyncio.create_task(found.run())
    await asyncio.sleep(20)
    try:
        yield found, telling
    finally:
        running.cancel()
        await asyncio.wait({running})
        await found.close()


def test_obs_50_what_another_corefile_needs_is_read_beside_and_then_taken_over(clients):
    async def main():
        async with reading(PLAIN) as (found, telling):
            assert telling.complete
            assert not telling.pods
            assert Kind.POD not in telling.snapshot.synced
            await found.read(VERIFIED)
            assert telling.pods
            assert Kind.POD in telling.snapshot.synced
            assert [one.closed for one in clients] == [True, False]
        assert clients[1].closed

    virtual.run(main)


def test_obs_50_a_server_that_is_away_leaves_what_is_read_as_it_is(clients):
    async def main():
        async with reading(PLAIN) as (found, telling):
            api = clients[0].api
            api.refusals["services"] = lambda _: ApiError(503, "away")
            waiting = asyncio.create_task(found.read(VERIFIED))
            await asyncio.sleep(60)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait({waiting})
            assert telling.complete
            assert not telling.pods
            assert [one.closed for one in clients] == [False, True]

    virtual.run(main)


def test_obs_50_a_reading_waits_for_pods_of_all_nodes_where_those_of_this_one_are_known(clients):
    """To take this node's for all would deny names of all other Pods."""

    async def main():
        async with reading(block("kubernetes cluster.local", "autopath @kubernetes")) as (found, telling):
            assert Kind.POD in telling.snapshot.synced
            clients[0].api.refusals["pods"] = lambda _: ApiError(503, "busy")
            waiting = asyncio.create_task(found.read(VERIFIED))
            await asyncio.sleep(600)
            assert not waiting.done()
            clients[0].api.refusals.clear()
            await waiting
            assert [one.closed for one in clients] == [True, False]

    virtual.run(main)


def test_nothing_is_read_for_a_corefile_without_the_cluster_until_another_one_wants_it(clients):
    async def main():
        async with reading(block("whoami")) as (found, telling):
            assert clients == []
            assert not telling.complete
            await found.read(PLAIN)
            assert telling.complete

    virtual.run(main)


async def test_wishes_that_cannot_be_had_are_told():
    found = Reading(Origin(master="10.0.0.1:6443"), Telling())
    with pytest.raises(DnsError, match="tls is supported by CoreDNS"):
        await found.read(block("kubernetes cluster.local {", "tls a b c", "}"))
    with pytest.raises(DnsError, match="/nowhere"):
        await Reading(Origin(manifests="/nowhere"), Telling()).read(PLAIN)


async def test_troubles_of_a_folder_are_logged_once(tmp_path, caplog):
    fake.write(tmp_path, "web", fake.namespace("shop"), fake.service("shop", "web", ["10.96.0.80"]))
    (tmp_path / "broken.yaml").write_text("kind: [")
    telling = Telling()
    found = Reading(Origin(manifests=str(tmp_path)), telling)
    await found.open(wishes(PLAIN))
    running = asyncio.create_task(found.run())
    async with asyncio.timeout(60):
        await telling.begun.wait()
    running.cancel()
    await asyncio.wait({running})
    assert caplog.text.count("broken.yaml") == 1
