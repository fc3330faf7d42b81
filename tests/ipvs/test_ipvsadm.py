"""ipvsadm's commands through our wrapper, judged by ipvsadm itself."""

import asyncio
import re
import socket
from contextlib import AsyncExitStack

import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs.ipvsadm import Ipvsadm
from pointsman.ipvs.objects import (
    Forwarding,
    RealKey,
    RealServer,
    ServerFlag,
    Timeouts,
    Tunnel,
    TunnelKind,
    VirtualKey,
    VirtualServer,
)
from pointsman.ipvs.schedulers import FALLBACK, PORT, Scheduler
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

WEB = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.1", 80)
ADDRESSES = {Family.IPV4: ("10.96.0.1", "10.244.1.7"), Family.IPV6: ("fd00::1", "fd01::7")}


@pytest.fixture
async def ipvsadm():
    with namespace():
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(await Ipvsadm.open())


def saved():
    return shell("ipvsadm -Sn").splitlines()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("protocol", "letter"), [(Protocol.TCP, "-t"), (Protocol.UDP, "-u"), (Protocol.SCTP, "--sctp-service")])
async def test_every_protocol_and_family_is_served(ipvsadm, family, protocol, letter):
    virtual, address = ADDRESSES[family]
    key = VirtualKey(family, protocol, virtual, 80)
    await ipvsadm.add_service(key, VirtualServer())
    await ipvsadm.add_server(RealKey(key, address, 8080), RealServer(weight=3))
    shown = f"[{virtual}]:80" if ":" in virtual else f"{virtual}:80"
    real = f"[{address}]:8080" if ":" in address else f"{address}:8080"
    assert saved() == [f"-A {letter} {shown} -s rr", f"-a {letter} {shown} -r {real} -m -w 3"]
    assert (await ipvsadm.get_server(RealKey(key, address.replace("::", ":0::").upper(), 8080))).server == RealServer(weight=3)
    (listed,) = await ipvsadm.list_all()
    assert (listed.virtual.key, listed.virtual.server) == (key, VirtualServer())
    assert [(one.key, one.server) for one in listed.reals] == [(RealKey(key, address, 8080), RealServer(weight=3))]


@pytest.mark.parametrize("family", Family)
async def test_marks_are_served(ipvsadm, family):
    key = VirtualKey(family, mark=7)
    await ipvsadm.add_service(key, VirtualServer(Scheduler.WLC))
    real = RealKey(key, ADDRESSES[family][1], 8080)
    await ipvsadm.add_server(real, RealServer())
    assert (await ipvsadm.get_service(key)).key == key
    assert [one.key for one in await ipvsadm.list_servers(key)] == [real]
    await ipvsadm.delete_service(key)
    assert saved() == []


@pytest.mark.parametrize("scheduler", sorted(set(Scheduler) - {Scheduler.TWOS}))
async def test_every_scheduler_is_served(ipvsadm, scheduler):
    """The kernel loads the module by itself. Not every kernel has `twos`."""
    await ipvsadm.add_service(WEB, VirtualServer(scheduler))
    assert (await ipvsadm.get_service(WEB)).server.scheduler == scheduler
    assert saved()[0] == f"-A -t 10.96.0.1:80 -s {scheduler}"


async def test_a_scheduler_that_the_kernel_has_not_is_told(ipvsadm):
    with pytest.raises(KernelError, match=r"10\.96\.0\.1:80") as caught:
        await ipvsadm.add_service(WEB, VirtualServer("no-such"))
    assert caught.value.kind is ErrorKind.MISSING


async def test_ipvs_04_scheduler_flags_reach_the_kernel(ipvsadm):
    await ipvsadm.add_service(WEB, VirtualServer("mh", FALLBACK | PORT))
    assert saved() == ["-A -t 10.96.0.1:80 -s mh -b mh-fallback,mh-port"]


async def test_ipvs_12_persistence_and_its_netmask(ipvsadm):
    value = VirtualServer("rr", ServerFlag.PERSISTENT, 10800, 24)
    await ipvsadm.add_service(WEB, value)
    assert saved() == ["-A -t 10.96.0.1:80 -s rr -p 10800 -M 255.255.255.0"]
    assert (await ipvsadm.get_service(WEB)).server == value
    six = VirtualKey(Family.IPV6, Protocol.TCP, "fd00::1", 80)
    await ipvsadm.add_service(six, VirtualServer("rr", ServerFlag.PERSISTENT, 60, 64))
    assert (await ipvsadm.get_service(six)).server.persistence_prefix == 64


async def test_one_packet_scheduling(ipvsadm):
    dns = VirtualKey(Family.IPV4, Protocol.UDP, "10.96.0.10", 53)
    await ipvsadm.add_service(dns, VirtualServer("rr", ServerFlag.ONE_PACKET))
    assert saved() == ["-A -u 10.96.0.10:53 -s rr -o"]


async def test_forwarding_methods_and_thresholds(ipvsadm):
    await ipvsadm.add_service(WEB, VirtualServer())
    values = {
        "10.244.1.1": RealServer(1, Forwarding.MASQUERADE, upper=20, lower=10),
        "10.244.1.2": RealServer(0, Forwarding.DIRECT),
        "10.244.1.3": RealServer(2, Forwarding.TUNNEL),
        "10.244.1.4": RealServer(2, Forwarding.TUNNEL, tunnel=Tunnel(TunnelKind.GUE, 6080)),
    }
    for address, value in values.items():
        await ipvsadm.add_server(RealKey(WEB, address, 80), value)
    assert {one.key.address: one.server for one in await ipvsadm.list_servers(WEB)} == values
    assert set(saved()[1:]) == {
        "-a -t 10.96.0.1:80 -r 10.244.1.1:80 -m -w 1",
        "-a -t 10.96.0.1:80 -r 10.244.1.2:80 -g -w 0",
        "-a -t 10.96.0.1:80 -r 10.244.1.3:80 -i -w 2 --tun-type ipip",
        "-a -t 10.96.0.1:80 -r 10.244.1.4:80 -i -w 2 --tun-type gue --tun-port 6080 --tun-nocsum",
    }
    assert re.search(r"10\.244\.1\.1:80 +20 +10 ", shell("ipvsadm -Ln --thresholds"))


async def test_what_is_changed_stays_where_it_is(ipvsadm):
    """Unlike pyroute2's command "update", which deletes."""
    await ipvsadm.add_service(WEB, VirtualServer())
    await ipvsadm.add_server(RealKey(WEB, "10.244.1.7", 80), RealServer())
    await ipvsadm.edit_service(WEB, VirtualServer("wrr", ServerFlag.PERSISTENT, 60))
    await ipvsadm.edit_server(RealKey(WEB, "10.244.1.7", 80), RealServer(weight=0))
    assert saved() == ["-A -t 10.96.0.1:80 -s wrr -p 60", "-a -t 10.96.0.1:80 -r 10.244.1.7:80 -m -w 0"]
    await ipvsadm.edit_service(WEB, VirtualServer())
    assert (await ipvsadm.get_service(WEB)).server == VirtualServer(), "a flag that is not wanted any more is taken back"
    await ipvsadm.delete_server(RealKey(WEB, "10.244.1.7", 80))
    assert await ipvsadm.list_servers(WEB) == ()


async def test_what_is_there_or_not_there_is_told_by_kind(ipvsadm):
    real = RealKey(WEB, "10.244.1.7", 80)
    for missing in (
        ipvsadm.delete_service(WEB), ipvsadm.edit_service(WEB, VirtualServer()), ipvsadm.get_service(WEB),
        ipvsadm.add_server(real, RealServer()), ipvsadm.delete_server(real), ipvsadm.get_server(real), ipvsadm.zero(WEB),
    ):  # fmt: skip
        with pytest.raises(KernelError, match=r"10\.96\.0\.1:80") as caught:
            await missing
        assert caught.value.kind is ErrorKind.MISSING
    assert await ipvsadm.list_servers(WEB) == ()
    await ipvsadm.add_service(WEB, VirtualServer())
    await ipvsadm.add_server(real, RealServer())
    for there in (ipvsadm.add_service(WEB, VirtualServer()), ipvsadm.add_server(real, RealServer())):
        with pytest.raises(KernelError) as caught:
            await there
        assert caught.value.kind is ErrorKind.EXISTS
    other = RealKey(WEB, "10.244.1.8", 80)
    assert (await ipvsadm.get_server(real)).key == real
    for missing in (ipvsadm.delete_server(other), ipvsadm.edit_server(other, RealServer()), ipvsadm.get_server(other)):
        with pytest.raises(KernelError, match=r"10\.244\.1\.8:80") as caught:
            await missing
        assert caught.value.kind is ErrorKind.MISSING


async def test_pain_30_flush_takes_ours_and_leaves_theirs(ipvsadm):
    shell("ipvsadm -A -t 192.0.2.1:443 -s wlc; ipvsadm -a -t 192.0.2.1:443 -r 10.9.9.9:443 -g -w 7")
    theirs = saved()
    ours = [VirtualKey(Family.IPV4, Protocol.TCP, f"10.96.0.{number}", 80) for number in range(1, 30)]
    for key in ours:
        await ipvsadm.add_service(key, VirtualServer())
    await ipvsadm.delete_service(ours[3])
    await ipvsadm.flush(ours)
    assert saved() == theirs


async def test_timeouts_that_are_zero_stay(ipvsadm):
    before = await ipvsadm.timeouts()
    await ipvsadm.set_timeouts(Timeouts(udp=30))
    assert await ipvsadm.timeouts() == Timeouts(before.tcp, before.tcp_fin, 30)
    await ipvsadm.set_timeouts(Timeouts(600, 20))
    assert await ipvsadm.timeouts() == Timeouts(600, 20, 30)


async def test_statistics_connections_and_zero(ipvsadm):
    """Real packets: 20 UDP datagrams of 100 bytes from one client."""
    shell("ip address add 10.96.0.10/32 dev lo; ip address add 10.244.1.7/32 dev lo")
    dns = VirtualKey(Family.IPV4, Protocol.UDP, "10.96.0.10", 53)
    await ipvsadm.add_service(dns, VirtualServer())
    await ipvsadm.add_server(RealKey(dns, "10.244.1.7", 5353), RealServer())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("10.244.1.7", 5353))
        server.settimeout(60)
        client.connect(("10.96.0.10", 53))
        for _ in range(20):
            client.send(bytes(100))
            assert len(server.recv(200)) == 100
        port = client.getsockname()[1]
        table = await ipvsadm.connections()
    for _ in range(600):
        (listed,) = await ipvsadm.list_all()
        if listed.virtual.statistics.total.connections:
            break
        await asyncio.sleep(0.1)  # the kernel sums its counters up every two seconds
    total = listed.virtual.statistics.total
    assert (total.connections, total.packets_in, total.bytes_in) == (1, 20, 20 * 128)
    assert listed.reals[0].statistics.total.packets_in == 20
    assert (listed.reals[0].load.active, listed.reals[0].load.inactive) == (0, 1)
    (one,) = table.connections
    assert (one.protocol, one.client_port, one.virtual, one.virtual_port, one.real, one.real_port) == (
        "UDP", port, "10.96.0.10", 53, "10.244.1.7", 5353,
    )  # fmt: skip
    assert 0 < one.seconds_left <= 300
    await ipvsadm.zero(dns)
    assert (await ipvsadm.get_service(dns)).statistics.total.packets_in == 0
    await ipvsadm.zero()


async def test_facts_are_the_kernels(ipvsadm):
    facts = await ipvsadm.facts()
    assert facts.version >= (1, 2, 1)
    assert facts.table_rows.bit_count() == 1


async def test_what_ipvsadm_made_is_understood(ipvsadm):
    shell("""ipvsadm -A -t [fd00::1]:80 -s sh -b sh-port -p 33 -M 64; ipvsadm -a -t [fd00::1]:80 -r [fd01::7]:80 -m -w 65535
             ipvsadm -A -f 9 -s lc; ipvsadm -a -f 9 -r 10.244.1.7:0 -i --tun-type gre --tun-csum""")
    six, mark = sorted(await ipvsadm.list_all(), key=lambda listed: listed.virtual.key.mark)
    assert six.virtual.server == VirtualServer("sh", ServerFlag.PERSISTENT | PORT, 33, 64)
    assert six.reals[0].server == RealServer(65535)
    assert mark.virtual.key == VirtualKey(Family.IPV4, mark=9)
    assert mark.reals[0].server == RealServer(1, Forwarding.TUNNEL, tunnel=Tunnel(TunnelKind.GRE, 0, 1))
