"""What doctor asks over the network, of servers on loopback."""

import asyncio
import socket
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import pytest
from aiohttp import web
from msgspec import structs
from pointsman.explain.findings import Level
from pointsman.proxy.cli import doctor_reach
from pointsman.proxy.cli.doctor_reach import Place, ask, of_api, of_dns, places, reach, vips
from pointsman.proxy.config import Config
from pointsman.proxy.known import Known
from pointsman.proxy.picture import KnownService, picture

from ..views import small


class Answering(asyncio.DatagramProtocol):
    """A DNS server that answers everything alike; without a code nothing."""

    def __init__(self, rcode):
        self.rcode = rcode

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if self.rcode is not None:
            reply = dns.message.make_response(dns.message.from_wire(data))
            reply.set_rcode(self.rcode)
            self.transport.sendto(reply.to_wire(), address)


@asynccontextmanager
async def server(rcode):
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Answering(rcode), local_addr=("127.0.0.1", 0))
    try:
        yield Place("127.0.0.1", transport.get_extra_info("sockname")[1], "the resolver")
    finally:
        transport.close()


@pytest.mark.parametrize(("rcode", "level", "text"), [
    (dns.rcode.NOERROR, Level.OK, "the resolver 127.0.0.1 answers for cluster.local in "),
    (dns.rcode.REFUSED, Level.WARN, "the resolver 127.0.0.1 answers REFUSED for cluster.local"),
])  # fmt: skip
async def test_dns_is_asked_for_the_clusters_own_domain(monkeypatch, rcode, level, text):
    monkeypatch.setattr(doctor_reach, "DNS_SECONDS", 60.0)
    async with server(rcode) as place:
        found = await ask(place, "cluster.local")
    assert found.level is level
    assert found.text.startswith(text)
    assert level is Level.OK or (found.why and found.fix)


async def test_who_does_not_answer_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(doctor_reach, "DNS_SECONDS", 0.05)
    async with server(None) as place:
        found = await ask(place, "cluster.local")
    assert (found.level, found.text) == (Level.BAD, "the resolver 127.0.0.1 did not answer 2 queries within 0 s each")
    assert f"pointsman explain --to 127.0.0.1:{place.port} --protocol udp" in found.fix


def test_everybody_is_asked_once():
    assert places(("169.254.20.10:53", "[fd53::20:10]:53", "10.96.0.10:53", "127.0.0.1:1053"), ("10.96.0.10", "fd00::a")) == (
        Place("169.254.20.10", 53, "this node's resolver"), Place("fd53::20:10", 53, "this node's resolver"),
        Place("10.96.0.10", 53, "this node's resolver"), Place("fd00::a", 53, "the cluster's DNS address"),
    )  # fmt: skip
    assert places(("[::]:53",), ()) == (Place("127.0.0.1", 53, "this node's resolver"),)


def seen(**config):
    known = picture(small())
    services = (KnownService("kube-system", "kube-dns", "ClusterIP", ("10.96.0.10", "none")), *known.services)
    return structs.replace(known, services=services, config=Config(**config))


def test_the_clusters_dns_address_is_that_of_its_service():
    assert vips(Known(seen(), "")) == ("10.96.0.10",)
    assert vips(Known(seen(dns_service="kube-system/other"), "")) == ()


async def test_a_resolver_that_is_to_run_and_does_not_is_bad(tmp_path):
    known = Known(seen(dns=True, dns_service="kube-system/other"), "", socket=str(tmp_path / "agent.sock"))
    (found,) = await of_dns(known)
    assert found.level is Level.BAD
    assert found.text.startswith("DNS is to run here")


async def test_without_an_agent_and_without_an_api_nobody_is_asked():
    assert await reach(Config(), Known(seen(dns=True), "", view=small())) == []
    assert await reach(Config(), None) == []


@pytest.mark.parametrize(("status", "level"), [(200, Level.OK), (403, Level.WARN), (503, Level.BAD)])
async def test_the_api_server_is_asked_whether_it_is_ready(status, level):
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.Response(status=status, text="ok")

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        (found,) = await of_api(Config(master=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    finally:
        await runner.cleanup()
    assert (found.level, asked) == (level, ["/readyz"])


async def test_an_api_server_that_is_not_there_is_bad():
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        (found,) = await of_api(Config(master=f"http://127.0.0.1:{closed.getsockname()[1]}"))
    assert found.level is Level.BAD
    assert found.fix.startswith("kubectl get --raw /readyz --server http://127.0.0.1:")


async def test_credentials_that_cannot_be_read_are_told_but_not_where_an_agent_has_them(tmp_path):
    config = Config(kubeconfig=str(tmp_path / "none"))
    (found,) = await of_api(config)
    assert found.level is Level.BAD
    assert await of_api(config, live=True) == []
