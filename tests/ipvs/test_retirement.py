"""The ipvs mode goes while connections are open (pains 16, 19, 20 and 43); across modes and with packets: `contract/test_mode_switch`."""

import socket
from contextlib import ExitStack

import pytest
from fakes import routes as make
from fakes.inherited import KUBE_PROXYS
from fakes.ipvs import desired, difference
from fakes.scratch import lock_file, namespace, shell
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs import retirement
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.ipvs.objects import Timeouts
from pointsman.ipvs.retirement import Remnant, Retirement
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

V4 = Family.IPV4
LEGACY = (Variant.LEGACY,)
POD = make.pod(V4, 1)
CAP = 60.0


def nowhere():
    return ()


def everywhere():
    return {(Protocol.UDP, POD, 8080)}


@pytest.fixture
async def programmed(monkeypatch, tmp_path):
    """A kernel with two Services over TCP and one over UDP, all served by this namespace itself."""
    with lock_file(monkeypatch, tmp_path), namespace():
        for address in (POD, make.NODE_ADDRESS[V4]):
            shell(f"ip addr add {address}/32 dev lo")
        kernel = IpvsKernel(V4, Variant.LEGACY, Writer(), Settings())
        backends = [make.backend(V4, 1, local=True)]
        routes = [
            make.route(name="busy", cluster_ip="10.96.0.1", backends=backends),
            make.route(name="idle", cluster_ip="10.96.0.2", backends=backends),
            make.route(name="udp", cluster_ip="10.96.0.3", protocol=Protocol.UDP, backends=backends),
        ]
        assert not (await kernel.apply(difference(V4, desired(V4, *routes), await kernel.observe()))).failed
        await kernel.close()
        yield


def connect(stack, kind=socket.SOCK_STREAM, address="10.96.0.1"):
    """Open a connection, or a flow, through a virtual server; return both ends."""
    server = stack.enter_context(socket.socket(socket.AF_INET, kind))
    server.bind((POD, 8080))
    client = stack.enter_context(socket.socket(socket.AF_INET, kind))
    client.bind((make.NODE_ADDRESS[V4], 0))
    for one in (server, client):
        one.settimeout(20)
    if kind == socket.SOCK_STREAM:
        server.listen()
        client.connect((address, 80))
        return client, stack.enter_context(server.accept()[0])
    client.connect((address, 80))
    client.send(b"x")
    assert server.recv(1) == b"x"
    return client, server


def retiring(cap=CAP, endpoints=everywhere):
    return Retirement(Settings(drain_cap=cap, timeouts=Timeouts()), 14, endpoints, LEGACY)


def rules():
    return [line for line in shell("iptables-legacy-save").splitlines() if "KUBE-IPVS" in line]


def remnant(cap=CAP):
    return Remnant([IpvsKernel(V4, Variant.LEGACY, Writer(), Settings(drain_cap=cap))], 14)


def bound():
    return [line.split()[3] for line in shell("ip -o -4 addr show dev kube-ipvs0").splitlines()]


async def test_without_connections_everything_goes_at_once(programmed):
    first, second = retiring(), retiring()
    assert "virtual server TCP 10.96.0.1:80 (1)" in await first.begin()
    assert await second.begin() == ()
    await first.finish()
    await second.finish()
    assert shell("ipvsadm -Sn") == ""
    assert shell("ipset list -name") == ""
    assert rules() == []
    assert "kube-ipvs0" not in shell("ip -o link")


async def test_pain_16_a_connection_keeps_what_it_needs_and_nothing_else_stays(programmed, monkeypatch):
    one = remnant()
    with ExitStack() as stack:
        client, server = connect(stack)
        await one.begin()
        assert shell("ipvsadm -Sn").splitlines() == ["-A -t 10.96.0.1:80 -s rr", f"-a -t 10.96.0.1:80 -r {POD}:8080 -m -w 0"]
        assert bound() == ["10.96.0.1/32"]
        assert {line for line in shell("ipset save").splitlines() if line.startswith("add")} == {
            "add KUBE-CLUSTER-IP 10.96.0.1,tcp:80",
            "add KUBE-IPVS-IPS 10.96.0.1",
        }
        assert not any("nat" in line or "FORWARD" in line for line in rules())
        client.send(b"on")
        assert server.recv(2) == b"on"
        assert await one.step(1000.0, nowhere)
        again = remnant()  # another process
        await again.begin()
        assert [str(row.key.virtual) for row in again.kernel.servers.drain.listed()] == ["TCP 10.96.0.1:80"]
        client.send(b"on")
        assert server.recv(2) == b"on"
        await again.close()
    await one.close()


async def test_pain_19_an_address_outlives_what_ran_out_of_time_for_a_while(programmed):
    one = remnant()
    with ExitStack() as stack:
        connect(stack)
        await one.begin()
        one.kernel.servers._clock = lambda: 1e12  # the cap is over
        assert await one.step(1000.0, nowhere)
        assert shell("ipvsadm -Sn") == ""
        assert bound() == ["10.96.0.1/32"]
        assert await one.step(1000.0 + retirement.LINGER - 1, nowhere)
        assert not await one.step(1000.0 + retirement.LINGER + 1, nowhere)
        assert bound() == []
        assert shell("ipset list -name") == ""
        assert rules() == []
    await one.close()


async def test_without_a_cap_nothing_is_waited_for(programmed):
    with ExitStack() as stack:
        connect(stack)
        ending = retiring(cap=0.0)
        await ending.begin()
        assert list(ending.draining()) == []
        await ending.finish()
        assert shell("ipvsadm -Sn") == ""


async def test_pain_20_a_udp_flow_is_kept_while_its_endpoint_exists(programmed):
    one = remnant()
    with ExitStack() as stack:
        client, server = connect(stack, socket.SOCK_DGRAM, "10.96.0.3")
        await one.begin()
        await one.step(1000.0, everywhere)
        client.send(b"y")
        assert server.recv(1) == b"y"
        assert [str(row.key.virtual) for row in one.kernel.servers.drain.listed()] == ["UDP 10.96.0.3:80"]
        await one.step(1001.0, nowhere)
        assert shell("ipvsadm -Sn") == ""
    await one.close()


async def test_pain_90_connections_to_a_node_that_is_gone_are_not_waited_for(programmed):
    ending = retiring()
    with ExitStack() as stack:
        connect(stack)
        await ending.begin()
        [row] = ending.draining()
        assert row.load.active == 1
        ending.bury(frozenset({POD}))
        [mine, _] = ending._remnants
        await mine.step(1000.0, everywhere)
        assert shell("ipvsadm -Sn") == ""
    for one in ending._remnants:
        await one.close()


async def test_pain_30_virtual_servers_of_others_stay(programmed):
    shell("ipvsadm -A -t 203.0.113.77:443 -s wlc")
    ending = retiring()
    await ending.begin()
    await ending.finish()
    assert shell("ipvsadm -Sn").splitlines() == ["-A -t 203.0.113.77:443 -s wlc"]


@pytest.mark.parametrize("spare", [False, True])
async def test_kube_proxys_stays_where_it_must_not_be_taken_over(monkeypatch, tmp_path, spare):
    """Its rules, sets, virtual servers and the device, to the last element; what drains of it is not listed."""
    state = "ipvsadm -Sn; ipset save; iptables-legacy-save | grep -v ^#; ip -o -4 addr show dev kube-ipvs0"
    with lock_file(monkeypatch, tmp_path), namespace():
        shell(KUBE_PROXYS)
        before = shell(state)
        ending = Retirement(Settings(drain_cap=CAP), 14, everywhere, LEGACY, spare=spare)
        words = await ending.begin()
        assert list(ending.draining()) == []
        await ending.finish()
        assert bool(words) is not spare
        if spare:
            assert shell(state) == before
        else:
            assert shell("ipset list -name") == ""


async def test_ours_goes_though_kube_proxys_may_not_be_taken_over(programmed):
    ending = Retirement(Settings(drain_cap=CAP), 14, everywhere, LEGACY, spare=True)
    assert "virtual server TCP 10.96.0.1:80 (1)" in await ending.begin()
    await ending.finish()
    assert shell("ipvsadm -Sn") == ""
    assert shell("ipset list -name") == ""
    assert "kube-ipvs0" not in shell("ip -o link")
