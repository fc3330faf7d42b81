"""Servers say who answered and whom they saw, from the address that was asked."""

import asyncio
import socket

import pytest
from pointsman.proxy.demo.lab import Laboratory, Topology
from pointsman.proxy.demo.lab_servers import packet_information, v4_payload
from pointsman.routing.route import Family, Protocol


def test_the_payload_begins_after_the_header_whatever_its_length():
    assert v4_payload(bytes([0x45, *bytes(19)]) + b"x") == b"x"
    assert v4_payload(bytes([0x46, *bytes(23)]) + b"x") == b"x"
    assert v4_payload(b"") == b""


def test_both_families_tell_the_local_address():
    assert packet_information(Family.IPV4)[0] == socket.IPPROTO_IP
    assert packet_information(Family.IPV6)[0] == socket.IPPROTO_IPV6


@pytest.mark.kernel
@pytest.mark.parametrize("protocol", Protocol)
async def test_a_place_answers_on_each_of_its_addresses(protocol):
    """The answer comes from the address that was asked, or the client would not take it."""
    async with Laboratory(Topology(nodes=1, pods_per_node=1), serve=False) as lab:
        lab.servers.serve("n1", protocol, 7000)
        lab.servers.serve("n1", protocol, 7001)
        for family in Family:
            for address in lab.topology.local_addresses("n1", family):
                for port in (7000, 7001):
                    result = await lab.probe("n1p1", address, port, protocol, timeout_seconds=60.0)
                    assert (result.backend, result.port, result.seen_source) == ("n1", port, lab.place("n1p1").addresses[family])


@pytest.mark.kernel
async def test_elsewhere_answers_for_addresses_that_nobody_has():
    async with Laboratory(Topology(nodes=1, pods_per_node=1)) as lab:
        for protocol in Protocol:
            lab.servers.serve("elsewhere", protocol, 80)
            for address in ("10.96.7.7", "192.0.2.7", "203.0.113.7", "fd00:10:96::7", "fd00:20::7", "fd00:30::7"):
                assert (await lab.probe("n1p1", address, 80, protocol, timeout_seconds=60.0)).backend == "elsewhere", (address, protocol)


@pytest.mark.kernel
async def test_a_place_that_dies_breaks_its_connections_and_no_others():
    async with Laboratory(Topology(nodes=1, pods_per_node=3)) as lab:
        streams = [await lab.stream("n1p1", lab.place(pod).addresses[Family.IPV4], 8080) for pod in ("n1p2", "n1p3")]
        assert await asyncio.gather(*(stream.exchange() for stream in streams)) == [True, True]
        assert lab.servers.streams("n1p2") == 1
        lab.servers.drop("n1p2")
        assert lab.servers.streams("n1p2") == 0
        assert await asyncio.gather(*(stream.exchange() for stream in streams)) == [False, True]
