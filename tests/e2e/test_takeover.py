"""Taking a node over from a real kube-proxy, and giving it back, while connections are open and new ones come all the time.

kube-proxy ends, pointsman starts, or the other way round: in between the kernel forwards by the rules that are there. What was left of the
one that went is removed by the other, or, on the way back, by `pointsman cleanup`, which leaves kube-proxy's rules exactly as they are.
"""

import asyncio
import os

import pytest
import pytest_asyncio
from plane_agent import PROGRAM, api_agent
from plane_judge import TOTAL
from plane_objects import port
from plane_peer import KubeProxy, leftovers
from plane_wait import until
from pointsman.proxy.demo.lab_topology import LOAD_BALANCER_RANGE
from pointsman.routing.route import Family, Protocol
from table_traffic import traffic
from table_worlds import TOPOLOGY

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

NODE = "n1"
STREAMS = 300
PEERS = {
    # kube-proxy's mode, its variant of iptables, and our variant
    "iptables legacy": ("iptables", "legacy", "legacy"),
    "iptables nft": ("iptables", "nft", "nft"),
    "iptables legacy, ours nft": ("iptables", "legacy", "nft"),
    "nftables, ours legacy": ("nftables", "nft", "legacy"),
    "nftables, ours nft": ("nftables", "legacy", "nft"),
}
"""In mode nftables kube-proxy removes rules in its variant of iptables when it starts, before it writes its own: it must not be ours."""


@pytest_asyncio.fixture(params=PEERS, loop_scope="session")
async def peer(request, plane, binaries, tmp_path):
    mode, variant, ours = PEERS[request.param]
    made = KubeProxy(plane, binaries, NODE, mode, variant, tmp_path)
    made.ours = ours
    await wipe(made)
    yield made
    await made.stop()
    await wipe(made)


async def wipe(peer):
    """Remove what kube-proxy left on the node, and what we left, also in other tests."""
    peer.clean()
    await cleanup(peer)
    assert leftovers(peer.kernel_state()) == []


async def cleanup(peer):
    """Run `pointsman cleanup` on the node; return what it says."""
    command = peer.lab.command(peer.node, str(PROGRAM), "cleanup")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **peer.environment}
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def shop(stage):
    """Create Services of every kind; return the targets at which they answer through the node."""
    await stage.pods("web", "n1p1", "n1p2", "n2p1")
    await stage.service("web", [port(80, name="http"), port(53, name="dns", protocol="UDP")], app="web", type="LoadBalancer")
    await stage.service("lonely", [port(80)])
    balancer = [LOAD_BALANCER_RANGE[family].partition("/")[0].removesuffix("0") + "88" for family in Family]
    await stage.balance("web", *balancer)
    made = await stage.api.get(f"/api/v1/namespaces/{stage.name}/services/web")
    node_ports = {one["protocol"]: one["nodePort"] for one in made["spec"]["ports"]}
    found = []
    for protocol, number in ((Protocol.TCP, 80), (Protocol.UDP, 53)):
        for place in ("n1p4", "n1"):
            found += [(place, address, number, protocol) for address in (*made["spec"]["clusterIPs"], *balancer)]
        outside = [(address, number) for address in balancer]
        outside += [(TOPOLOGY.places[NODE].addresses[family], node_ports[protocol.name]) for family in Family]
        found += [("outside", address, at, protocol) for address, at in outside]
    return found


async def answered(lab, targets):
    """Return whether everything answers."""
    results = await asyncio.gather(*(lab.probe(*one, timeout_seconds=5.0) for one in targets))
    return all(result.backend for result in results)


async def in_charge(lab, stage, targets):
    """Show who programs the kernel: new connections go to another Pod after the old ones are no endpoints any more."""
    await stage.pods("web", "n2p2")
    await stage.say("web", "n1p1", "n1p2", "n2p1", ready=False)

    async def moved():
        results = await asyncio.gather(*(lab.probe(*one, timeout_seconds=5.0) for one in targets if one[3] is Protocol.TCP))
        return {result.backend for result in results} == {"n2p2"}

    await until(moved)


def told(flow, what):
    TOTAL.update(kept=len(flow.streams) + len(flow.flows), new=flow.made)
    print(f"{what}: {len(flow.streams)} established, {len(flow.flows)} UDP flows, {flow.made} new, slowest {flow.slowest:.2f} s")


async def test_taking_over_and_going_back_break_nothing(peer, plane, stage, identity, tmp_path):
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await peer.start()
    await until(lambda: answered(lab, targets))
    original = peer.kernel_state()

    async with traffic(lab, targets, streams=STREAMS) as flow:
        await peer.stop()
        async with api_agent(lab, NODE, peer.ours, arguments, tmp_path) as agent:
            await agent.in_sync()
            await until(lambda: alone(peer))
            await asyncio.sleep(2)
    told(flow, "taken over")

    async with traffic(lab, targets, streams=STREAMS) as flow:
        await peer.start()
        before = peer.kernel_state()
        said = await cleanup(peer)
        assert "removed" in said
        after = peer.kernel_state()
        await asyncio.sleep(2)
    told(flow, "given back")
    assert after == only_kube_proxys(before, peer), "cleanup touched what is kube-proxy's, or left what is ours"
    assert leftovers(after) == leftovers(original), "kube-proxy's state is not what it was before we came"
    await in_charge(lab, stage, targets)


@pytest.mark.parametrize("peer", ["iptables legacy"], indirect=True)
async def test_going_back_has_no_gap_where_services_went_meanwhile(peer, plane, stage, identity, tmp_path):
    """kube-proxy cannot delete chains to which our buckets lead, and is refused; cleanup makes way, waits for it, and only then removes."""
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await stage.service("gone", [port(80)], app="web")
    async with api_agent(lab, NODE, peer.ours, arguments, tmp_path) as agent:
        await agent.in_sync()
        await until(lambda: answered(lab, targets))
    await stage.remove("gone")
    async with traffic(lab, targets, streams=50, per_second=50) as flow:
        await peer.process.start()
        said = await cleanup(peer)
        assert "ours forward until then" in said
        assert await peer.programmed()
        await asyncio.sleep(1)
    told(flow, "given back after a refusal")
    assert not [line for line in leftovers(peer.kernel_state()) if "KUBE-DST" in line or "POINTSMAN" in line]
    await in_charge(lab, stage, targets)


@pytest.mark.parametrize("peer", ["iptables nft", "nftables, ours legacy"], indirect=True)
async def test_a_kube_proxy_that_still_runs_is_waited_for(peer, plane, stage, identity, tmp_path):
    lab, arguments = plane.lab, ("--kubeconfig", await identity.kubeconfig())
    targets = await shop(stage)
    await peer.start()
    await until(lambda: answered(lab, targets))
    async with traffic(lab, targets, streams=50, per_second=100) as flow, api_agent(lab, NODE, peer.ours, arguments, tmp_path) as agent:
        await agent.in_sync()
        await asyncio.sleep(2)
        assert "kube-proxy still runs here" in agent.log.read_text()
        await peer.stop()
        await until(lambda: alone(peer))
    told(flow, "taken over from one that ran")
    async with api_agent(lab, NODE, peer.ours, arguments, tmp_path) as agent:
        await agent.in_sync()
        await in_charge(lab, stage, targets)


async def alone(peer):
    """Return whether nothing is in the kernel but our rules in our variant."""
    state = peer.kernel_state()
    ours = {("iptables", peer.ours), ("ip6tables", peer.ours), "sets"}
    return not leftovers({what: lines for what, lines in state.items() if what not in ours}) and not any(
        "KUBE-SEP-" in line for what in ours for line in state[what]
    )


def only_kube_proxys(state, peer):
    """Return of a kernel's state what is kube-proxy's, kubelet's or nobody's."""
    theirs = {("iptables", peer.variant), ("ip6tables", peer.variant)} if peer.mode == "iptables" else set()
    ours = ("KUBE-DST", "KUBE-NP", "POINTSMAN")
    kept = {}
    for what, lines in state.items():
        words = ours if what in theirs or what == "nftables" else (*ours, "KUBE-")
        kept[what] = [line for line in lines if "KUBE-FIREWALL" in line or not any(word in line for word in words)]
    return kept
