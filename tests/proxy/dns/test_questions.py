"""Asking the running DNS about itself, and the search path as a Pod walks it."""

import asyncio
import json
import os
import signal
from contextlib import suppress

import pytest
from fakes import dns as fake
from fakes import objects as make
from pointsman.dns.corefile.files import read
from pointsman.dns.feed import Answer
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import Kind, ObjectMeta, Pod, PodStatus
from pointsman.proxy.dns import alone, questions
from pointsman.proxy.dns.questions import Question, candidates, explain
from pointsman.proxy.dns.service import DnsService, Settings
from pointsman.proxy.dns.sockets import Place
from pointsman.proxy.dns.telling import Telling
from pointsman.routing.snapshot import EMPTY, advance

DOMAIN = "cluster.local."
WEB = "web.shop.svc.cluster.local."


class Known(DnsService):
    """DNS that knows one name."""

    def __init__(self, tmp_path):
        (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes cluster.local\n}\n")
        super().__init__(Settings(corefile=str(tmp_path / "Corefile")), Telling())
        self.asked = []

    async def ask(self, what, name="", qtype="A", client=""):
        self.asked.append((what, name, qtype, client))
        if name == WEB:
            return Answer(1, rows=(("rcode", "NOERROR"), ("answer", "10.96.0.1")), rcode="NOERROR")
        return Answer(1, rows=(("rcode", "NXDOMAIN: the name does not exist"),), rcode="NXDOMAIN")


@pytest.fixture
async def known(tmp_path):
    service = Known(tmp_path)
    service.corefile = read(service.settings.corefile).must()
    pod = Pod(ObjectMeta("cart-1", "shop"), status=PodStatus(pod_ip="10.244.1.7"))
    service.telling.snapshot, _ = advance(EMPTY, Batch((Replace(Kind.SERVICE, (make.service(),)), Replace(Kind.POD, (pod,)))))
    return service


def test_src_02_names_with_few_dots_walk_the_search_path_first():
    suffixes = ("shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.")
    assert candidates("web", "shop", DOMAIN) == (*(f"web.{one}" for one in suffixes), "web.")
    assert candidates("a.b.c.d.e.f", "shop", DOMAIN)[0] == "a.b.c.d.e.f."
    assert candidates("example.com.", "shop", DOMAIN) == ("example.com.",)


async def test_a_pod_walks_until_a_name_is_there(known):
    found = await explain(known, Question("explain", "web.shop", "A", "shop/cart-1"))
    assert [step.name for step in found.steps] == ["web.shop.shop.svc.cluster.local.", WEB]
    assert found.client == "10.244.1.7"
    assert known.asked[0] == ("explain", "web.shop.shop.svc.cluster.local.", "A", "10.244.1.7")


async def test_ext_01_a_search_path_is_never_that_of_the_clusterset(known, tmp_path):
    (tmp_path / "Corefile").write_text(".:53 {\n  kubernetes clusterset.local cluster.local {\n    multicluster clusterset.local\n  }\n}\n")
    known.corefile = read(known.settings.corefile).must()
    assert [step.name for step in (await explain(known, Question("explain", "web", "A", "shop/cart-1"))).steps] == [WEB]


async def test_a_pod_that_is_not_known_is_told(known):
    assert "Pod shop/none is not known here" in (await explain(known, Question(name="web", pod="shop/none"))).error


async def test_without_a_pod_the_name_is_asked_as_it_is(known):
    found = await explain(known, Question(name=WEB.rstrip("."), pod="10.0.0.9"))
    assert [step.name for step in found.steps] == [WEB]
    assert known.asked == [("explain", WEB, "A", "10.0.0.9")]
    assert found.note == "no Pod with the address 10.0.0.9 is known here: asked without a search path"


async def test_an_address_of_a_known_pod_walks_as_the_pod(known):
    found = await explain(known, Question("explain", "web.shop", "A", "10.244.1.7"))
    assert [step.name for step in found.steps] == ["web.shop.shop.svc.cluster.local.", WEB]
    assert found.note == ""


async def test_src_02_a_real_resolver_is_walked_to_the_end(tmp_path):
    """From the socket that the command asks to the process that answers, and back."""
    hosts = "hosts /dev/null good.example {\n    192.0.2.7 good.example\n  }"
    (tmp_path / "Corefile").write_text(f". {{\n  kubernetes cluster.local\n  {hosts}\n}}\n")
    folder = tmp_path / "manifests"
    folder.mkdir()
    spaces = [fake.namespace(name) for name in ("shop", "backoffice")]
    fake.write(folder, "web", *spaces, fake.service("backoffice", "web", ["10.96.0.80"]))
    path = str(tmp_path / "dns.sock")
    place = Place("127.0.0.1", fake.free_port(), 0)
    options = alone.Options(corefile=str(tmp_path / "Corefile"), manifests=str(folder), listen=place, socket=path)
    serving = asyncio.create_task(alone.serve(options))

    async def told(name):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(json.dumps({"name": name, "pod": "shop/cart-0"}).encode() + b"\n")
        body = json.loads(await reader.read())
        writer.close()
        return [(step["name"], step["rcode"]) for step in body["steps"]]

    try:
        async with asyncio.timeout(60):
            while True:
                with suppress(OSError):
                    if (found := await told("web.backoffice")) and found[-1][1] == "NOERROR":
                        break
                assert not serving.done()
                await asyncio.sleep(0.05)
        assert found == [("web.backoffice.shop.svc.cluster.local.", "NXDOMAIN"), ("web.backoffice.svc.cluster.local.", "NOERROR")]
        suffixes = ("shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.")
        assert await told("good.example") == [*((f"good.example.{one}", "NXDOMAIN") for one in suffixes), ("good.example.", "NOERROR")]
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({serving})


async def test_the_socket_answers_a_line_with_a_line(known, tmp_path):
    path = str(tmp_path / "dns.sock")
    serving = asyncio.create_task(questions.serve(path, known))
    try:
        for line, error in ((b'{"name": "%s"}\n' % WEB.encode(), ""), (b"nonsense\n", "this is no question")):
            async with asyncio.timeout(60):
                while not (tmp_path / "dns.sock").exists():  # noqa: ASYNC110 - the other task makes it
                    await asyncio.sleep(0.01)
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(line)
                body = json.loads(await reader.read())
                writer.close()
            assert body["error"].startswith(error)
    finally:
        serving.cancel()
        await asyncio.wait({serving})


def test_the_socket_is_beside_the_agents():
    assert questions.default_path("/run/pointsman/pointsman.sock") == "/run/pointsman/dns.sock"
