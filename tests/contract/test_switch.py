"""Exchanging what programs the kernel, behind the packets: one variant of iptables for the other, by a restart with another flag.

New first, verified, old removed after: nobody notices. Kube-proxy as the one that is exchanged stands in tests/e2e.
"""

import asyncio
import os
import subprocess
from dataclasses import replace

import pytest
from pointsman.routing.route import Family, Protocol
from table_cases import targets
from table_cluster import WORLD, cluster
from table_modes import MODES
from table_services import BY_NAME, Port
from table_traffic import traffic

pytestmark = pytest.mark.kernel

LEGACY, NFT = MODES[:2]
PLAIN = replace(BY_NAME["cc-both"], ports=(Port(80, Protocol.TCP), Port(53, Protocol.UDP)))
GONE_SECONDS = 60.0


def frontends(*services):
    """Return the frontends of Services as targets, each from a pod, from outside and from the node."""
    found = []
    for service in services:
        for family in Family:
            for name, address, port, protocol in targets(WORLD, service, family):
                if "loopback" not in name and protocol is not Protocol.SCTP:
                    found += [(place, address, port, protocol) for place in ("n1p4", "outside", "n1")]
    return found


def rules(made, variant, scratch):
    """Return how many rules of a variant on the first node name our chains."""
    environment = {**os.environ, "XTABLES_LOCKFILE": str(scratch / "n1.lock")}
    count = 0
    for tool in ("iptables", "ip6tables"):
        command = made.lab.command("n1", f"{tool}-{variant}-save")
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        count += sum("KUBE-SVC-" in line or "-j KUBE-SERVICES" in line for line in done.stdout.splitlines())
    return count


@pytest.mark.parametrize(("before", "after"), [(LEGACY, NFT), (NFT, LEGACY)], ids=["legacy to nft", "nft to legacy"])
async def test_switching_the_variant_breaks_nothing(before, after, tmp_path):
    """1,000 established connections, UDP flows, and 200 new connections a second across a restart with the other variant."""
    names = [mode.name.removeprefix("iptables-") for mode in (before, after)]
    async with cluster(before, tmp_path, PLAIN) as made:
        made.write(PLAIN)
        async with made.start():
            pass
        assert rules(made, names[0], tmp_path)
        async with traffic(made.lab, frontends(PLAIN), streams=1000) as flow:
            made.mode = after
            async with made.start():
                deadline = asyncio.get_running_loop().time() + GONE_SECONDS
                while rules(made, names[0], tmp_path):
                    assert asyncio.get_running_loop().time() < deadline, "the rules of the former variant stay"
                    await asyncio.sleep(0.2)
                assert rules(made, names[1], tmp_path)
                await asyncio.sleep(1)
        assert flow.made > 100
        print(f"{len(flow.streams)} established, {len(flow.flows)} UDP flows, {flow.made} new connections, slowest {flow.slowest:.2f} s")
