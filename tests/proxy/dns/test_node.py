"""DNS on a node, in every mode: who answers at the cluster's DNS address, and who does when the resolver here is killed."""

import asyncio
import os
import signal
import socket

import pytest
from fakes import dns as fake
from fakes.dns_load import Load
from pointsman.iptables.local_dns import SECONDS
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
        await node.process.wait()
        await node.gone(first)
        await asyncio.sleep(SECONDS + 0.5)  # no stamp is good any more then: a busy machine only makes them older
        with node.client(Family.IPV4, kind=socket.SOCK_STREAM) as client:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(client, (VIP[Family.IPV4], 53))  # refused, if it were led here still
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


ROUNDS, AT_ONCE = 25, 10
AGAIN = 0.1
"""Seconds after which the witness asks again where nobody has answered it."""


class Witness:
    """Asks for many names at once and goes where it is told: what is answered, does not serve, and is answered again was not programmed.

    A probe has all the time of a busy machine; only what is lost, or refused, never comes back.
    """

    def __init__(self, node):
        self.node = node
        self.met = set()
        self.caught = []

    async def come(self, name, wanted):
        """Follow a name until it has led to everything that is wanted."""
        while missing := wanted.keys() - {where for one, where in self.met if one == name}:
            for address in sorted(missing & await self._told(name)):
                await self._go(name, address, wanted[address])
            await asyncio.sleep(0.01)

    async def leave(self, name, gone):
        """Follow a name until it leads to nothing of what is gone."""
        while left := gone.keys() & await self._told(name):
            for address in sorted(left):
                await self._go(name, address, gone[address])
            await asyncio.sleep(0.01)

    async def _told(self, name):
        while (found := await self.node.asked(Family.IPV4, name)) is None:
            pass
        return set(found) if isinstance(found, list) else set()

    async def _go(self, name, address, where):
        probe = asyncio.create_task(self.node.lab.probe("n1p1", where, 80, Protocol.UDP, timeout_seconds=PATIENCE / 2))
        try:
            await asyncio.wait({probe}, timeout=AGAIN)
            served = probe.done() and probe.result().ending is Ending.ANSWERED
            if not served and address in await self._told(name):
                served = (await probe).ending is Ending.ANSWERED
                if not served:
                    self.caught.append((name, address, probe.result().ending))
            if served:
                self.met.add((name, address))
        finally:
            probe.cancel()


def churn(turn, backend):
    """Return the objects of a turn, and what each name then says: addresses, with where to find what was programmed together with them.

    Services have a cluster IP. The headless one's endpoints need no rules, but are told when those are there that came with them.
    """
    numbers = range(1, AT_ONCE + 1) if turn < ROUNDS else ()
    ports = (("echo", "UDP", 80),)
    crowd = {f"10.99.{turn + 1}.{number}": f"10.96.{turn + 1}.{number}" for number in numbers}
    objects = [fake.service("shop", "crowd", [], ports, clusterIP="None"), fake.endpoint_slice("shop", "crowd", list(crowd), ports)]
    said = {"crowd": crowd}
    for number, (endpoint, address) in enumerate(crowd.items()):
        name = f"s{turn}-{number}"
        objects.append(fake.service("shop", name, [address], ports))
        objects.append(fake.endpoint_slice("shop", name, [backend], (("echo", "UDP", 8080),)))
        said |= {name: {address: address}, f"{endpoint.replace('.', '-')}.crowd": {endpoint: address}}
    return objects, {f"{name}.shop.svc.cluster.local": where for name, where in said.items()}


@pytest.mark.parametrize(("mode", "variant"), MODES)
async def test_nld_40_no_answer_points_to_what_is_not_programmed(tmp_path, mode, variant):
    """Over 1,000 names that come or go, of Services and of headless endpoints: they come after their rules, and go before them."""
    async with running(tmp_path, mode, variant, serve=True) as node:
        backend = node.lab.place("n1p2").addresses[Family.IPV4]
        witness = Witness(node)
        before = {}
        for turn in range(ROUNDS + 1):
            objects, present = churn(turn, backend)
            fake.write(node.manifests, "many", *objects)
            coming = [witness.come(name, wanted) for name, wanted in present.items()]
            going = [witness.leave(name, gone) for name, gone in before.items()]
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    await asyncio.gather(*going, *coming)
            except TimeoutError:
                pytest.fail(f"turn {turn}: names do not come or go:\n{node.log.read_text()[-4000:]}")
            assert witness.caught == [], f"turn {turn}"
            before = present
        assert len(witness.met) == ROUNDS * AT_ONCE * 3
