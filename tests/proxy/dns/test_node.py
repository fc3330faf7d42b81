"""DNS on a node, in every mode: who answers at the cluster's DNS address, and who does when the resolver here is killed."""

import asyncio
import itertools
import os
import signal
import socket
import time

import pytest
from fakes import dns as fake
from fakes.dns_load import Load
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.routing.route import Family, Protocol

from .nodes import ELSEWHERE, NAME, OWN, PATIENCE, VIP, WEB, running

MODES = [
    pytest.param("iptables", "nft", id="iptables-nft"),
    pytest.param("iptables", "legacy", id="iptables-legacy"),
    pytest.param("ipvs", "legacy", id="ipvs", marks=pytest.mark.ipvs),
]
pytestmark = pytest.mark.kernel
GIVEN_UP = 10.0
"""Seconds after which every stub has given a query up: two attempts of five."""


async def everybody_gets(node, wanted):
    """Wait until pods and this node get what is wanted, over UDP and TCP, at both addresses of each family."""
    for family in Family:
        for server in (VIP[family], OWN[family]):
            for place in ("n1p1", "n1"):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    await node.until([wanted[family]], family, server=server, place=place, kind=kind)


@pytest.mark.parametrize(("mode", "variant"), MODES)
async def test_nld_42_killed_resolvers_leave_dns_to_the_cluster_and_take_it_back(tmp_path, mode, variant):
    async with running(tmp_path, mode, variant) as node:
        await everybody_gets(node, WEB)
        (first,) = node.resolvers()
        for pid in (node.process.pid, first):  # nobody is there to notice but the kernel
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        await node.process.wait()
        await node.until([ELSEWHERE[Family.IPV4]], seconds=0.2)
        assert time.monotonic() - killed < (PATIENCE if mode == "ipvs" else GIVEN_UP)  # a second, where the machine has time
        await everybody_gets(node, ELSEWHERE)
        await node.start()
        await everybody_gets(node, WEB)
        (second,) = node.resolvers()
        os.kill(second, signal.SIGKILL)
        await node.gone(second)
        await everybody_gets(node, WEB)


@pytest.mark.parametrize(("mode", "variant", "workers"), [
    *(pytest.param(*each.values, 1, id=each.id, marks=each.marks) for each in MODES),
    pytest.param("iptables", "nft", 2, id="iptables-nft-2"),
])  # fmt: skip
async def test_pain_75_a_restart_of_the_agent_loses_no_query(tmp_path, mode, variant, workers):
    """The next resolvers take the sockets over; each one before answers what it has read, and goes."""
    async with running(tmp_path, mode, variant, workers=workers) as node:
        first = set(node.resolvers())
        assert len(first) == workers
        rate = 500 if mode == "ipvs" else 5000  # that kernel is slow, and has one processor
        with node.client(Family.IPV4) as client, Load(client, (VIP[Family.IPV4], 53), NAME, rate=rate) as load:
            await node.grown(load)
            await node.stop()
            assert set(node.resolvers()) == first
            await node.grown(load)
            node.workers = workers if mode == "ipvs" else 3 - workers  # another number is no reason to lose one
            await node.start()
            for each in first:
                await node.gone(each)
            await node.grown(load)
            patience = PATIENCE if mode == "ipvs" else GIVEN_UP
            assert await asyncio.to_thread(load.finish, patience) == 0
            assert max(load.waits) < patience
            # Where the machine is too busy for signs of life, the cluster answers for a moment.
            assert WEB[Family.IPV4] in load.said()
            assert load.said().keys() <= {WEB[Family.IPV4], ELSEWHERE[Family.IPV4]}
        assert len(node.resolvers()) == node.workers


ROUNDS, AT_ONCE = 50, 10


class Witness:
    """Asks for names and goes where it is told: an address that is answered, does not serve, and is answered again was not programmed."""

    def __init__(self, node):
        self.node = node
        self.names = ()
        self.caught = []
        self.met = 0

    async def run(self):
        for turn in itertools.count():
            if not self.names:
                await asyncio.sleep(0)
                continue
            name = self.names[turn % len(self.names)]
            found = await self.node.asked(Family.IPV4, name)
            if not isinstance(found, list):
                continue
            result = await self.node.lab.probe("n1p1", found[0], 80, Protocol.UDP, timeout_seconds=1.0)
            if result.ending is Ending.ANSWERED:
                self.met += 1
            elif await self.node.asked(Family.IPV4, name) == found:
                self.caught.append((name, found, result.ending))


@pytest.mark.parametrize(("mode", "variant"), [MODES[0], MODES[2]])
async def test_nld_40_no_answer_points_to_what_is_not_programmed(tmp_path, mode, variant):
    """Over 1,000 changes: names come after their rules, and go before them."""
    async with running(tmp_path, mode, variant, serve=True) as node:
        backend = node.lab.place("n1p2").addresses[Family.IPV4]
        witness = Witness(node)
        watching = asyncio.create_task(witness.run())
        before = ()
        ports = (("echo", "UDP", 80),)
        for turn in range(ROUNDS):
            present = [f"s{turn}-{number}" for number in range(AT_ONCE)]
            objects = []
            for number, name in enumerate(present):
                objects.append(fake.service("shop", name, [f"10.96.{turn + 1}.{number + 1}"], ports))
                objects.append(fake.endpoint_slice("shop", name, [backend], (("echo", "UDP", 8080),)))
            names = tuple(f"{name}.shop.svc.cluster.local" for name in present)
            witness.names = (*before, *names)
            fake.write(node.manifests, "many", *objects)
            for name in before:
                await node.until("NXDOMAIN", name=name)
            for number, name in enumerate(names):
                await node.until([f"10.96.{turn + 1}.{number + 1}"], name=name)
            before = names
        watching.cancel()
        await asyncio.wait({watching})
        assert watching.cancelled()
        assert witness.met > ROUNDS
        assert witness.caught == []
