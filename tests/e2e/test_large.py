"""One Service of 3,000 endpoints in 30 slices: all of it is programmed, and what leaves a slice leaves the kernel.

The endpoints are addresses of two namespaces, one on each node, which hold a range of addresses each.
"""

import asyncio
import re
from collections import Counter

import pytest
from plane_agent import api_agent
from plane_judge import VARIANTS
from plane_objects import port
from plane_wait import until
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

SLICES, EACH = 30, 100
HOLDERS = {"n1p1": "10.245.0.0", "n2p1": "10.245.128.0"}
CONNECTIONS = 300
"""All of them at one of two halves by chance: fewer than one in 10^90."""


def endpoints_of(holder, number):
    """Return the endpoints of one slice, all held by one namespace."""
    first, second, third, _ = map(int, HOLDERS[holder].split("."))
    return [(f"{first}.{second}.{third + number}.{last}", holder[:2]) for last in range(1, EACH + 1)]


def hold(lab):
    """Let the namespaces have their ranges, and everybody know the way."""
    topology = lab.topology
    for holder, first in HOLDERS.items():
        node, other = topology.places[holder].node, "n2" if topology.places[holder].node == "n1" else "n1"
        there = topology.places[holder].addresses[Family.IPV4]
        lab.configure(holder, f"route add local {first}/17 dev lo\n")
        lab.configure(node, f"route add {first}/17 via {there} dev {topology.interface(holder)} onlink\n")
        lab.configure(other, f"route add {first}/17 via {topology.places[node].addresses[Family.IPV4]}\n")


def release(lab):
    for holder, first in HOLDERS.items():
        lab.configure(holder, f"route del local {first}/17 dev lo\n")
        for node in lab.topology.node_names:
            lab.configure(node, f"route del {first}/17\n")


async def rules(lab, node, variant):
    """Return the number of DNAT rules to the ranges' addresses."""
    command = lab.command(node, f"iptables-{variant}-save", "-t", "nat")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    return len(set(re.findall(rb"to-destination (10\.245\.[0-9.]+)", text)))


async def answers(lab, node, address, count=CONNECTIONS):
    """Return how often each namespace answered a Pod of a node."""
    gate, met = asyncio.Semaphore(32), Counter()

    async def ask():
        async with gate:
            result = await lab.probe(f"{node}p4", address, 80, Protocol.TCP)
        met[result.backend or result.ending.value] += 1

    await asyncio.gather(*(ask() for _ in range(count)))
    return met


@pytest.mark.parametrize("node", VARIANTS)
async def test_three_thousand_endpoints_in_thirty_slices(node, lab, plane, stage, identity, tmp_path):
    variant = VARIANTS[node]
    hold(lab)
    try:
        made = await stage.service("big", [port(80, 8080)], families=("IPv4",))
        address = made["spec"]["clusterIP"]
        groups = [endpoints_of("n1p1" if number % 2 else "n2p1", number) for number in range(SLICES)]
        await stage.slices("big", *groups)
        async with api_agent(lab, node, variant, ("--kubeconfig", await identity.kubeconfig()), tmp_path) as running:
            await until(lambda: has(lab, node, variant, SLICES * EACH), says=running.log.read_text)
            assert set(await answers(lab, node, address)) == set(HOLDERS)
            await asyncio.gather(*(stage.api.delete(stage.slice_path(f"big-{number}")) for number in range(0, SLICES, 2)))
            await until(lambda: has(lab, node, variant, SLICES * EACH // 2), says=running.log.read_text)
            assert set(await answers(lab, node, address)) == {"n1p1"}
            await stage.slices("big", endpoints_of("n2p1", 40), prefix="again")
            await until(lambda: has(lab, node, variant, SLICES * EACH // 2 + EACH), says=running.log.read_text)
            assert set(await answers(lab, node, address, 4 * CONNECTIONS)) == set(HOLDERS)
    finally:
        release(lab)


async def has(lab, node, variant, count):
    return await rules(lab, node, variant) == count
