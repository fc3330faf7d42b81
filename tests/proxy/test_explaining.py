import asyncio
from datetime import UTC, datetime

import pytest
from fakes.planted import config, prepare, program
from fakes.scratch import lock_file, namespace
from msgspec import structs
from pointsman.dataplane.trace import Difference
from pointsman.dns.feed import Answer
from pointsman.explain.question import QuestionError
from pointsman.kube.events import Problem
from pointsman.proxy.config import Config
from pointsman.proxy.dns import questions
from pointsman.proxy.dns.service import DnsService, Settings
from pointsman.proxy.dns.telling import Telling
from pointsman.proxy.explaining import answered, explain, reasons, remarks, understand, unread
from pointsman.proxy.facts import Host
from pointsman.proxy.known import Known, from_snapshot, from_source
from pointsman.proxy.status import ApplyStatus, FailingKey, FamilyStatus, ForeignStatus
from pointsman.routing.route import Family, Protocol

from .views import small

HOST = Host("n1", {Family.IPV4: ("192.168.50.1",), Family.IPV6: ()})
THEN = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEEN = from_snapshot(Config(hostname_override="n1", cluster_cidr=("10.244.0.0/16",)), small().snapshot, HOST).picture


async def packet(source, target, protocol=Protocol.TCP):
    found = (await understand(SEEN, source, target, protocol, None)).packet
    return found.source, found.destination, found.protocol, found.port


async def test_a_question_becomes_a_packet():
    assert await packet("10.244.1.9", "web.shop:http") == ("10.244.1.9", "10.96.0.10", Protocol.TCP, 80)
    assert await packet("pod/shop/pod-10.244.1.1", "web") == ("10.244.1.1", "10.96.0.10", Protocol.TCP, 80)
    assert (await packet("10.244.1.9", "10.96.0.10"))[3] == 80
    assert await packet("10.244.1.9", "10.96.0.10:81") == ("10.244.1.9", "10.96.0.10", Protocol.TCP, 81)


async def test_what_cannot_be_asked_is_told():
    for source, target, says in (
        ("10.244.1.9", "nobody:80", "no Service is called nobody"), ("10.244.1.9", "192.0.2.9", "say which port"),
        ("10.244.1.9", "six.shop:80", "no address of the family"),
    ):  # fmt: skip
        with pytest.raises(QuestionError, match=says):
            await packet(source, target)


def test_a_refusal_is_a_reason_only_for_what_differs_because_of_it():
    """The refused key of another Service says nothing about this one."""
    failing = tuple(FailingKey(key, "invalid", "no such match", 3, THEN, THEN) for key in ("set X: 10.96.0.10", "set X: 10.96.0.99"))
    family = FamilyStatus("IPv4", 7, 6, None, 2, THEN, 9.0, THEN, ApplyStatus(), 2, failing, ForeignStatus())
    seen = structs.replace(SEEN, families=(family,))
    missing = Difference("shop/web:http tcp", "cluster IP 10.96.0.10 is missing in set X", "set X", key="set X: 10.96.0.10")
    assert [one.subject for one in reasons(seen, Family.IPV4, (missing,))] == ["set X: 10.96.0.10", "agent"]
    assert reasons(seen, Family.IPV4, ()) == ()


@pytest.mark.kernel
def test_an_explanation_from_beginning_to_end(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        prepare()
        asyncio.run(program("iptables", "nft"))
        known = from_source(config("iptables", "nft"))

        def ask(source, target, protocol=Protocol.TCP):
            return asyncio.run(explain(known, source, target, protocol, Family.IPV4))

        found = ask("pod/shop/till-0", "web.shop:80")
        assert (found.status, found.verdict) == (
            "works", "works, 1 of 3 endpoints, source kept because the source is a pod: in the cluster's pod range 10.244.0.0/16 (SEM-03)",
        )  # fmt: skip
        assert ask("198.51.100.7", "nodeport/30080").verdict.startswith("works, 1 of 3 endpoints, source masqueraded because")
        assert ask("pod/shop/till-0", "10.96.10.1:9999").status == "refused"
        assert ask("pod/shop/till-0", "statsd.monitoring:8125", Protocol.UDP).status == "works"
        assert ask("pod/shop/cart-1", "web.shop:80").verdict.startswith("unknown here: pod shop/cart-1 is on node n2")
        assert ask("pod/shop/till-0", "database.shop:5432").verdict.startswith("works as far as this node goes: the name gives")
        lost = Problem("f.yaml:1", "Service shop/web", "spec", "odd")
        partly = Known(structs.replace(known.picture, problems=(lost,)), "", view=known.view)
        found = asyncio.run(explain(partly, "pod/shop/till-0", "web.shop:80", Protocol.TCP, Family.IPV4))
        assert (found.status, found.remarks) == ("works", (f"not all that is wanted is known: {lost}",))
        excluded = ask("pod/shop/till-0", "recommendations.shop").route.excluded
        assert all(one.reason for one in excluded)


async def test_the_nodes_own_resolver_is_told_of():
    seen = structs.replace(SEEN, node=structs.replace(SEEN.node, local_dns={Family.IPV4: ("10.96.0.10",)}))
    asked = await understand(seen, "10.244.1.9", "10.96.0.10:53", Protocol.UDP, None)
    assert any("own resolver answers here" in one for one in remarks(asked, seen))


UNREAD = (
    Problem("https://api", "EndpointSlice", "", "403; what was read last stays in force"),
    Problem("https://api", "Service shop/web", "spec.ports", "expected array"),
    Problem("https://api", "Service shop/lost", "spec.ports", "expected array"),
    Problem("https://api", "EndpointSlice shop/x-1", "ports", "expected array"),
    Problem("https://api", "EndpointSlice other/x-1", "ports", "expected array"),
    Problem("https://api", "Node n1", "spec", "expected object"),
    Problem("https://api", "Node n2", "spec", "expected object"),
    Problem("https://api", "Namespace shop", "metadata", "expected object"),
)


@pytest.mark.parametrize(("services", "told"), [
    ([("shop", "web")], ["Service shop/web", "EndpointSlice shop/x-1", "EndpointSlice", "Node n1"]),
    ([("other", "web")], ["EndpointSlice other/x-1", "EndpointSlice", "Node n1"]),
    ([], ["Service shop/web", "Service shop/lost", "EndpointSlice shop/x-1", "EndpointSlice other/x-1", "EndpointSlice", "Node n1"]),
])  # fmt: skip
def test_what_could_not_be_read_is_told_where_it_may_matter(services, told):
    found = unread(structs.replace(SEEN, problems=UNREAD), services)
    assert [one.split(": ")[1] for one in found] == told


async def test_a_service_that_cannot_be_read_is_no_name_that_nobody_has():
    seen = structs.replace(SEEN, problems=UNREAD)
    with pytest.raises(QuestionError, match=r"no Service is called lost.*but not all could be read: https://api: Service shop/lost: spec"):
        await understand(seen, "10.244.1.9", "lost.shop:80", Protocol.TCP, None)
    with pytest.raises(QuestionError) as raised:
        await understand(structs.replace(SEEN, problems=UNREAD[1:3]), "10.244.1.9", "nobody.shop:80", Protocol.TCP, None)
    assert "read" not in str(raised.value)


class Resolving(DnsService):
    """DNS that knows one name by one address, whatever the objects say."""

    def __init__(self, folder, address):
        super().__init__(Settings(corefile=str(folder / "Corefile")), Telling())
        self.address = address
        self.asked = []

    async def ask(self, what, name="", qtype="A", client=""):
        self.asked.append((what, name, qtype, client))
        if name != "web.shop.svc.cluster.local.":
            return Answer(1, rows=(("rcode", "NXDOMAIN: the name does not exist"),))
        return Answer(1, rows=(("rcode", "NOERROR"), ("answer", f"{name} 30 {qtype} {self.address}")))


@pytest.mark.parametrize(("address", "broken"), [("10.96.0.10", False), ("10.96.0.11", True)])
async def test_the_nodes_own_resolver_is_asked_as_the_sender_would(tmp_path, address, broken):
    service = Resolving(tmp_path, address)
    seen = structs.replace(SEEN, config=structs.replace(SEEN.config, dns=True))
    known = Known(seen, "", socket=str(tmp_path / "agent.sock"))
    asked = await understand(seen, "10.244.1.9", "web.shop:http", Protocol.TCP, Family.IPV4)
    assert not answered(known, asked).agrees  # nobody is there yet
    serving = asyncio.create_task(questions.serve(str(tmp_path / "dns.sock"), service))
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "dns.sock").exists():  # noqa: ASYNC110 - the other task makes it
                await asyncio.sleep(0.01)
            found = await asyncio.to_thread(answered, known, asked)
    finally:
        serving.cancel()
    assert (found.broken, found.agrees) == (broken, not broken)
    assert service.asked[-1] == ("explain", "web.shop.svc.cluster.local.", "A", "10.244.1.9")
    assert answered(Known(SEEN, "", socket=known.socket), asked) is None  # no DNS runs here
