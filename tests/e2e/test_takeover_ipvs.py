"""A real kube-proxy in mode ipvs, and the ways from and to it, while connections are open and new ones come all the time.

From its mode ipvs to ours of that name virtual servers, device and sets pass over; to mode iptables they drain. Back to it goes from mode
iptables; from our mode ipvs to its mode iptables, too (docs/takeover.md).
"""

import asyncio

import pytest
import pytest_asyncio
from plane_agent import api_agent
from plane_objects import port
from plane_peer import KubeProxy, leftovers
from plane_wait import until
from table_modes import IPVS, MODES
from table_traffic import traffic
from test_takeover import answered, cleanup, in_charge, shop, told, wipe

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.ipvs, pytest.mark.asyncio(loop_scope="session")]

NODE = "n1"
IPTABLES = MODES[0]
BUSY = {"streams": 100, "per_second": 40, "pause": 1.0}
"""One processor serves both ends, the kernel and the control plane."""
WAIT_SECONDS = 180.0
TAKEN = {IPVS.name: "removed what an earlier proxy left", IPTABLES.name: "connections through another mode go on"}
"""What the log says when nothing new goes by kube-proxy's any more."""


@pytest_asyncio.fixture(params=["ipvs"], loop_scope="session")
async def peer(request, plane, binaries, tmp_path):
    made = KubeProxy(plane, binaries, NODE, request.param, "legacy", tmp_path)
    await wipe(made)
    yield made
    await made.stop()
    await wipe(made)


def of_its_ipvs_mode(peer):
    """Return what only kube-proxy's ipvs mode has."""
    names = (":KUBE-NODE-PORT ", ":KUBE-LOAD-BALANCER ", ":KUBE-SOURCE-RANGES", "NODE-PORT-TCP", "KUBE-IPVS-OUT-FILTER", "maxelem 65536")
    return [line for line in leftovers(peer.kernel_state()) if any(name in line for name in names)]


def of_ours(peer):
    """Return what only we have, in either mode."""
    names = ("KUBE-DST", "KUBE-NP", "POINTSMAN", "KUBE-IPVS-S", "KUBE-SVC-", "KUBE-EXTERNAL-SERVICES", "maxelem 1048576")
    return [line for line in leftovers(peer.kernel_state()) if any(name in line for name in names)]


@pytest.mark.parametrize("ours", [IPVS, IPTABLES], ids=str)
async def test_taking_over_its_ipvs_mode_breaks_nothing(ours, peer, plane, stage, identity, tmp_path):
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await peer.start()
    await until(lambda: answered(lab, targets), WAIT_SECONDS)
    assert of_its_ipvs_mode(peer)
    flows = 6 if ours is IPVS else 0  # in mode iptables they drain until IPVS forgets them, minutes after their last packet
    async with traffic(lab, targets, flows=flows, **BUSY) as flow:
        await peer.stop()
        async with api_agent(lab, NODE, ours, arguments, tmp_path) as agent:
            await agent.in_sync()
            await until(lambda: TAKEN[ours.name] in agent.log.read_text(), WAIT_SECONDS, agent.log.read_text)
            await asyncio.sleep(3)
            if ours is IPVS:
                assert not of_its_ipvs_mode(peer)
            else:  # what is established goes on; nothing new goes there
                assert {line.split()[-1] for line in peer.run("ipvsadm -Sn").splitlines() if line.startswith("-a")} == {"0"}
    told(flow, f"taken over from mode ipvs by {ours}")
    async with api_agent(lab, NODE, ours, arguments, tmp_path) as agent:
        await agent.in_sync()
        await in_charge(lab, stage, targets)


async def gone(peer):
    """Wait until nothing of IPVS is left; looking takes its time where the kernel is slow, and others need the processor."""

    async def empty():
        await asyncio.sleep(2)
        return not await asyncio.to_thread(peer.run, "ipvsadm -Sn") and not await asyncio.to_thread(peer.run, "ip -o link show kube-ipvs0")

    await until(empty, WAIT_SECONDS)


async def test_going_back_to_its_ipvs_mode_breaks_nothing(peer, plane, stage, identity, tmp_path):
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await peer.start()
    await until(lambda: answered(lab, targets), WAIT_SECONDS)
    original = peer.kernel_state()
    await peer.stop()
    async with api_agent(lab, NODE, IPTABLES, (*arguments, "--ipvs-drain-cap", "5s"), tmp_path) as agent:
        await agent.in_sync()
        await gone(peer)
    async with traffic(lab, targets, **BUSY) as flow:
        await peer.start()
        said = await cleanup(peer)
        assert "removed" in said
        assert not of_ours(peer)
        await asyncio.sleep(3)
    told(flow, "given back to mode ipvs")
    assert leftovers(peer.kernel_state()) == leftovers(original), "kube-proxy's state is not what it was before we came"
    await in_charge(lab, stage, targets)


@pytest.mark.parametrize("peer", ["iptables"], indirect=True)
async def test_going_back_from_our_ipvs_mode_waits_for_its_rules(peer, plane, stage, identity, tmp_path):
    """New connections never fail; those that began through IPVS end with it (docs/takeover.md)."""
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await stage.service("more", [port(80)], app="web")
    async with api_agent(lab, NODE, IPVS, arguments, tmp_path) as agent:
        await agent.in_sync()
        await until(lambda: answered(lab, targets), WAIT_SECONDS)
    async with traffic(lab, targets, **{**BUSY, "streams": 0}, flows=0) as flow:
        await peer.process.start()  # it has written nothing yet
        said = await cleanup(peer)
        assert "removed" in said
        assert await peer.programmed()
        assert not peer.kernel_state()["servers"]
        await asyncio.sleep(3)
    told(flow, "given back from our mode ipvs")
    await in_charge(lab, stage, targets)
