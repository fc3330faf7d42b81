"""Virtual and real servers in a real kernel, with real connections (pains 16, 19, 20, 29 and 30)."""

import socket
from contextlib import AsyncExitStack, ExitStack, suppress

import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs.drain import Drain
from pointsman.ipvs.objects import RealKey, RealServer, VirtualKey, VirtualServer
from pointsman.ipvs.servers import Servers
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

BACKENDS = ("10.244.0.1", "10.244.0.2")
WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
DNS = VirtualKey(Family.IPV4, Protocol.UDP, "10.96.0.1", 53)
NAMES = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 53)
NAMES_ONE = RealKey(NAMES, "10.244.0.1", 8080)
ONE, TWO = (RealKey(WEB, address, 8080) for address in BACKENDS)
CAP = 60.0


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def servers():
    with namespace():
        for address in (*BACKENDS, "10.96.0.1", "192.168.7.1"):
            shell(f"ip addr add {address}/32 dev lo")
        shell("sysctl -q net.ipv4.vs.expire_nodest_conn=1")
        made = Servers(Family.IPV4, Drain(CAP), Clock())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(made.close)
            yield made


def added(*keys, weight=1):
    return [Change(key, ABSENT, RealServer(weight) if isinstance(key, RealKey) else VirtualServer()) for key in keys]


async def seen(servers, ours=lambda _: True):
    return {str(key): getattr(value, "weight", "") for key, value in (await servers.observe(ours)).items()}


def connect(stack, address="10.96.0.1", port=80):
    """Open a connection through the virtual server; both backends listen."""
    for backend in BACKENDS:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((backend, 8080))
        listening.listen()
    client = stack.enter_context(socket.socket())
    client.settimeout(60)
    client.bind(("192.168.7.1", 0))
    client.connect((address, port))
    return client


def insist(client):
    """Send for a minute: the first segment may only make IPVS forget."""
    client.settimeout(0.5)
    for _ in range(120):
        client.send(b"?")
        with suppress(TimeoutError):
            client.recv(1)


async def test_adding_twice_edits_and_deleting_twice_succeeds(servers):
    for _ in range(2):
        assert await servers.add(added(WEB, ONE, TWO)) == {}
    assert await servers.add([Change(ONE, UNKNOWN, RealServer(5)), Change(TWO, RealServer(), RealServer(7))]) == {}
    assert await seen(servers) == {str(WEB): "", str(ONE): 5, str(TWO): 7}
    for _ in range(2):
        assert await servers.delete([ONE, TWO, WEB]) == {}
    assert await seen(servers) == {}


async def test_editing_what_somebody_removed_adds_it(servers):
    await servers.add([Change(WEB, VirtualServer("lc"), VirtualServer()), Change(ONE, RealServer(3), RealServer())])
    assert await seen(servers) == {str(WEB): "", str(ONE): 1}


async def test_a_failure_belongs_to_its_key(servers):
    lost = RealKey(DNS, "10.244.0.1", 5353)
    failed = await servers.add(added(WEB, lost, ONE))
    assert set(failed) == {lost}
    assert await seen(servers) == {str(WEB): "", str(ONE): 1}


async def test_a_scheduler_that_the_kernel_lacks_is_named(servers):
    (error,) = (await servers.add([Change(WEB, ABSENT, VirtualServer("no-such"))])).values()
    assert "TCP 10.96.0.1:80: scheduler no-such, which this kernel lacks" in str(error)


async def test_pain_30_what_is_not_ours_is_not_seen(servers):
    await servers.add(added(WEB, ONE, DNS))
    assert set(await seen(servers, lambda key: key == DNS)) == {str(DNS)}
    assert await servers.count(lambda key: key == DNS) == 1


async def test_pain_16_a_removed_server_keeps_its_connection_and_goes_when_it_ends(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        client = connect(stack)
        assert await servers.delete([ONE]) == {}
        assert await seen(servers) == {str(WEB): ""}
        assert "10.244.0.1:8080 -m -w 0" in shell("ipvsadm -Sn")
        assert await servers.tick()
        client.send(b"x")
        [listed] = servers.drain.listed()
        assert (listed.key, listed.load.active, listed.until - listed.since) == (ONE, 1, CAP)
    servers.drain.cap = 0
    servers._clock.now += CAP
    assert not await servers.tick()
    assert "10.244.0.1" not in shell("ipvsadm -Sn")


async def test_a_server_that_is_wanted_again_takes_connections_again(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE])
        assert await servers.add(added(ONE)) == {}
        assert len(servers.drain) == 0
        assert await seen(servers) == {str(WEB): "", str(ONE): 1}


async def test_a_virtual_server_waits_for_what_drains_behind_it(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE, WEB])
        assert await seen(servers) == {}
        assert "10.96.0.1:80" in shell("ipvsadm -Sn")
        servers.gone = {"10.244.0.1"}
        await servers.tick()
        assert shell("ipvsadm -Sn") == ""


async def test_an_address_that_is_unbound_is_not_waited_for(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE, WEB], {"10.96.0.1"})
        assert shell("ipvsadm -Sn") == ""


async def test_pain_19_servers_of_a_node_that_is_gone_go_at_once(servers):
    await servers.add(added(WEB, ONE))
    servers.gone = {"10.244.0.1"}
    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE])
        assert "10.244.0.1" not in shell("ipvsadm -Sn")


async def test_pain_85_a_server_whose_connections_are_ended_goes_and_they_with_it(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        client = connect(stack)
        servers.ended.add(ONE)  # as long as it takes connections nobody's end is meant
        await servers.tick()
        assert "10.244.0.1" in shell("ipvsadm -Sn")
        await servers.delete([ONE])
        assert await servers.tick()
        servers.ended.add(ONE)
        assert not await servers.tick()
        assert "10.244.0.1" not in shell("ipvsadm -Sn")
        with pytest.raises(ConnectionError):
            insist(client)


async def test_pain_85_ended_connections_are_not_forgotten_while_the_kernel_does_not_answer(servers, monkeypatch):
    await servers.add(added(WEB, ONE))

    async def silent(keys):
        raise KernelError(ErrorKind.OTHER, "no answer", "real servers")

    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE])
        servers.ended.add(ONE)
        with monkeypatch.context() as patched:
            patched.setattr(servers, "_loads", silent)
            with pytest.raises(KernelError):
                await servers.tick()
        assert not await servers.tick()
        assert "10.244.0.1" not in shell("ipvsadm -Sn")
        assert not servers.ended


async def test_nld_42_where_rules_lead_no_virtual_server_waits_for_what_drains(servers):
    await servers.add(added(NAMES, NAMES_ONE))
    servers.ruled = {("tcp", "10.96.0.1")}
    with ExitStack() as stack:
        connect(stack, port=53)
        await servers.delete([NAMES_ONE, NAMES])
        assert shell("ipvsadm -Sn") == ""
        assert len(servers.drain) == 0


async def test_pain_20_udp_goes_at_once(servers):
    real = RealKey(DNS, "10.244.0.1", 5353)
    await servers.add(added(DNS, real))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("192.168.7.1", 0))
        client.sendto(b"x", ("10.96.0.1", 53))
        await servers.delete([real])
        assert shell("ipvsadm -Sn").splitlines() == ["-A -u 10.96.0.1:53 -s rr"]


async def test_pain_29_a_restart_finds_what_drains(servers):
    await servers.add(added(WEB, ONE))
    with ExitStack() as stack:
        connect(stack)
        await servers.delete([ONE])
        fresh = Servers(Family.IPV4, Drain(CAP), Clock())
        try:
            assert await seen(fresh) == {str(WEB): "", str(ONE): 0}
            await fresh.delete([ONE])
            assert ONE in fresh.drain
        finally:
            await fresh.close()

