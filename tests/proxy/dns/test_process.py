"""One resolver as a process: started, told, asked, ended; and one that cannot work."""

import asyncio
import socket

import pytest
from fakes import dns as fake
from fakes import objects as make
from pointsman.dns.feed import Start, Succeeded
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import Kind, Namespace, ObjectMeta
from pointsman.proxy.dns.process import FailedError, launch
from pointsman.proxy.dns.sockets import Place, Sockets
from pointsman.proxy.dns.telling import Telling
from pointsman.routing.snapshot import EMPTY, advance

COREFILE = ".:53 {\n  kubernetes cluster.local\n}\n"


@pytest.fixture
def listening():
    sockets = Sockets()
    sockets.want([Place("127.0.0.1", fake.free_port(), 0)])
    yield sockets
    sockets.close()


async def test_a_resolver_answers_what_it_is_told_and_ends_when_asked_to(tmp_path, listening):
    (tmp_path / "Corefile").write_text(COREFILE)
    resolver = await launch(Start(listening.of(0), str(tmp_path / "Corefile"), everywhere=True))
    telling = Telling()
    telling.attach(resolver)
    shop = (Namespace(ObjectMeta("shop")),)
    lists = (Replace(Kind.SERVICE, (make.service("web"),)), Replace(Kind.ENDPOINT_SLICE, ()), Replace(Kind.NAMESPACE, shop))
    telling.advance(*advance(EMPTY, Batch(lists)))
    assert (await resolver.ready).synced
    (place,) = listening.places
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        reply = await fake.ask(client, ("127.0.0.1", place.port), "web.shop.svc.cluster.local", seconds=60)
        assert fake.values(reply) == ["10.96.0.1"]
    assert resolver.serving
    for body in (b"\x81\xa4type\xa5later", b"\xc1"):  # what a later version might say is passed over
        resolver._take(body)
    rows = (await resolver.ask("explain", "web.shop.svc.cluster.local.", timeout=60)).rows
    assert ("rcode", "NOERROR") in rows
    assert any(sample.metric == "coredns_dns_requests_total" for sample in (await resolver.ask("stats", timeout=60)).samples)
    await resolver.end()
    assert resolver.ended.result() == 0
    assert not resolver.serving
    assert await resolver.ask("stats") is None
    assert not await resolver.done(1, 0.01)


@pytest.mark.parametrize(("succeeded", "left"), [(True, "+169.254.20.10\n"), (False, "-169.254.20.10\n")])
async def test_nld_42_who_is_replaced_leaves_the_signs_of_life_to_the_successor(tmp_path, listening, succeeded, left):
    (tmp_path / "Corefile").write_text(". {\n    whoami\n}\n")
    (tmp_path / "list").write_text("")
    beats = {str(tmp_path / "list"): ("169.254.20.10",)}
    resolver = await launch(Start(listening.of(0), str(tmp_path / "Corefile"), everywhere=True, cluster=False, heartbeat=beats))
    await resolver.ready
    async with asyncio.timeout(60):
        while (tmp_path / "list").read_text() != "+169.254.20.10\n":  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    if succeeded:
        resolver.tell(Succeeded())
    else:
        resolver.process.terminate()
    async with asyncio.timeout(60):
        assert await resolver.ended == 0
    assert (tmp_path / "list").read_text() == left


async def test_a_resolver_that_cannot_work_says_why(tmp_path, listening):
    resolver = await launch(Start(listening.of(0), str(tmp_path / "nothing"), everywhere=True))
    with pytest.raises(FailedError, match="nothing"):
        await resolver.ready
    assert await resolver.ended != 0
