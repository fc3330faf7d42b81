"""Probes: an answer, a refusal, a reset and silence are four different things, over every protocol and in both families."""

import asyncio
import socket
import subprocess
import time

import pytest
from pointsman.proxy.demo.lab import POD_PORT, Ending, Laboratory, Topology
from pointsman.proxy.demo.lab_probe import quoted_flow
from pointsman.routing.route import Family, Protocol

PORTS = (40000).to_bytes(2) + (80).to_bytes(2)
V4_QUOTE = bytes([0x45, *bytes(8), 6, *bytes(2), 10, 0, 0, 1, 10, 96, 0, 10]) + PORTS + bytes(4)
V6_ADDRESSES = b"".join(socket.inet_pton(socket.AF_INET6, address) for address in ("fd00::1", "fd00::2"))
V6_QUOTE = bytes([0x60, *bytes(5), 17, 64]) + V6_ADDRESSES + PORTS


def test_a_refusal_quotes_the_flow_it_refuses():
    assert quoted_flow(bytes([3, 3, *bytes(6)]) + V4_QUOTE, Family.IPV4) == (6, 40000, "10.96.0.10", 80)
    assert quoted_flow(bytes([1, 4, *bytes(6)]) + V6_QUOTE, Family.IPV6) == (17, 40000, "fd00::2", 80)


@pytest.mark.parametrize("kind", [(3, 1), (3, 2), (8, 0), (11, 0)])
def test_other_messages_are_no_refusal(kind):
    assert quoted_flow(bytes([*kind, *bytes(6)]) + V4_QUOTE, Family.IPV4) is None


@pytest.mark.parametrize("length", range(0, 8 + len(V4_QUOTE), 3))
def test_a_message_cut_short_is_no_refusal(length):
    text = (bytes([3, 3, *bytes(6)]) + V4_QUOTE)[:length]
    assert quoted_flow(text, Family.IPV4) is None or length >= 8 + 24


RULES = """
add table inet t
add chain inet t forward { type filter hook forward priority 0; }
add chain inet t output { type filter hook output priority 0; }
add rule inet t forward meta l4proto { tcp, udp, sctp } th dport 81 reject with icmpx type port-unreachable
add rule inet t output meta l4proto { tcp, udp, sctp } th dport 81 reject with icmpx type port-unreachable
add rule inet t forward meta l4proto { tcp, udp, sctp } th dport 82 drop
add rule inet t output meta l4proto { tcp, udp, sctp } th dport 82 drop
"""


def program(lab):
    subprocess.run(lab.command("n1", "nft", "-f", "-"), input=RULES, text=True, check=True)


@pytest.mark.kernel
async def test_what_came_while_the_process_stood_still_is_an_answer():
    """SCTP needs several turns of the event loop, and both ends are in this process."""
    async with Laboratory(Topology(nodes=1, pods_per_node=2)) as lab:
        target = lab.place("n1p2").addresses[Family.IPV4]
        for protocol in Protocol:
            probe = asyncio.create_task(lab.probe("n1p1", target, POD_PORT, protocol, timeout_seconds=1.0))
            await asyncio.sleep(0)
            time.sleep(1.2)  # noqa: ASYNC251 - that is what is tested
            assert (await probe).ending is Ending.ANSWERED


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["n1p1", "n1"])
@pytest.mark.parametrize("protocol", Protocol)
async def test_the_four_endings(place, protocol):
    async with Laboratory(Topology(nodes=2, pods_per_node=1)) as lab:
        program(lab)
        for family in Family:
            target, source = lab.place("n2p1").addresses[family], lab.place(place).addresses[family]
            answered, refused, dropped = await asyncio.gather(
                lab.probe(place, target, POD_PORT, protocol),
                lab.probe(place, target, 81, protocol),
                lab.probe(place, target, 82, protocol, timeout_seconds=0.3),
            )
            assert (answered.ending, answered.backend, answered.port, answered.seen_source) == (Ending.ANSWERED, "n2p1", POD_PORT, source)
            assert refused.ending is Ending.REFUSED
            quickest = refused.seconds
            for _ in range(20):  # a busy machine may be slow a few times; a retransmission takes a second every time
                if quickest < 0.9:
                    break
                quickest = min(quickest, (await lab.probe(place, target, 81, protocol)).seconds)
            assert quickest < 0.9, "the refusal was heard of by a retransmission only"
            assert dropped.ending is Ending.SILENT
            assert dropped.seconds > 0.29  # uvloop counts milliseconds


@pytest.mark.kernel
async def test_a_closed_port_resets():
    async with Laboratory(Topology(nodes=1, pods_per_node=2)) as lab:
        for family in Family:
            result = await lab.probe("n1p1", lab.place("n1p2").addresses[family], 83, Protocol.TCP)
            assert (result.ending, result.backend) == (Ending.RESET, "")


@pytest.mark.kernel
@pytest.mark.parametrize("protocol", Protocol)
async def test_many_at_once_are_all_answered_and_keep_their_source(protocol):
    async with Laboratory(Topology(nodes=1, pods_per_node=2)) as lab:
        source = lab.topology.client("n1", Family.IPV4, 1)
        target = lab.place("n1p1").addresses[Family.IPV4]
        probes = (lab.probe("outside", target, POD_PORT, protocol, source_address=source) for _ in range(300))
        results = await asyncio.gather(*probes)
        assert {(result.ending, result.seen_source) for result in results} == {(Ending.ANSWERED, source)}
