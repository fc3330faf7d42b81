"""What operators do while clients are busy: Pods go, Deployments and the agent itself are rolled, the agent takes over from kube-proxy.

Nothing of what clients have under way may fail on the agent's account. A Pod of the shop goes on serving for ten seconds after it was told
to end (preStop), which is the application's part; within these, nobody may be sent to it any more.
"""

import time

import cluster_chart as chart
import pytest
from cluster_place import NODES
from cluster_proxy import KubeProxy
from cluster_told import LINES, told
from cluster_traffic import difference, kernel_rules, kubectl
from cluster_wait import aside, wait
from plane_wait import until
from pointsman.proxy.demo.lab_probe import Ending
from table_traffic import traffic

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

STREAMS = 100
PATIENCE = "--timeout=300s"


def of_web(shop):
    """Return the web's targets: cluster IPs from Pods and nodes, node ports from outside."""
    return [one for one in shop.targets() if one[2] in {80, 30080}]


def of_others(shop):
    """Return the targets whose Pods stay, for connections that are held."""
    return [one for one in shop.targets() if one[2] not in {80, 30080}]


async def settled(shop):
    """Wait until everything is answered, so that what fails later fails by what is done then."""
    for target in shop.targets():
        await until(lambda target=target: answered(shop, *target))


async def answered(shop, *target):
    return (await shop.places.probe(*target)).ending is Ending.ANSWERED


async def test_a_pod_that_is_deleted_fails_nobody(shop, cluster):
    await settled(shop)
    before = shop.names("web")
    async with traffic(shop.places, of_web(shop), streams=0, flows=0, per_second=200) as flow:
        await aside(kubectl, cluster, "delete", "pod", "-n", "shop", min(before), "--wait=true")
        await aside(wait, lambda: len(shop.names("web")) == 3)
    told("a Pod deleted", flow)


async def test_a_deployment_is_rolled_under_200_connections_per_second(shop, cluster):
    await settled(shop)
    before = shop.names("web")
    async with (
        traffic(shop.places, of_others(shop), streams=STREAMS, per_second=20) as others,
        traffic(shop.places, of_web(shop), streams=0, flows=0, per_second=200) as flow,
    ):
        await aside(kubectl, cluster, "rollout", "restart", "deployment/web", "-n", "shop")
        await aside(kubectl, cluster, "rollout", "status", "deployment/web", "-n", "shop", PATIENCE)
        await aside(kubectl, cluster, "wait", "--for=delete", *(f"pod/{name}" for name in before), "-n", "shop", PATIENCE)
    assert not before & shop.names("web")
    told("the web rolled", flow)
    told("meanwhile, other Services", others)


async def test_the_agent_is_rolled_to_another_version_and_back(shop, cluster, version):
    await settled(shop)
    for tag in (f"{version}-next", version):
        async with traffic(shop.places, shop.targets(), streams=STREAMS, per_second=100) as flow:
            began = time.monotonic()
            await aside(chart.install, cluster, f"image.tag={tag}")
            found = await aside(wait, lambda: chart.all_ready(cluster))
            seconds = time.monotonic() - began
        assert {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in found.values()} == {tag}
        told(f"the agent rolled to {tag} in {seconds:.0f} s", flow)


async def test_kube_proxy_is_replaced_and_comes_back(opened, cluster, bare, archive):
    """In the order that docs/migrate.md tells."""
    shop, peer = opened, KubeProxy(cluster, archive)
    chart.remove(cluster)
    peer.install()
    await settled(shop)
    theirs = kernel_rules(cluster)
    try:
        async with traffic(shop.places, shop.targets(), streams=STREAMS, per_second=100) as flow:
            began = time.monotonic()
            await aside(peer.remove)
            await aside(chart.install, cluster)
            await aside(wait, lambda: chart.all_ready(cluster))
            await aside(wait, lambda: not peer.anywhere())
            LINES.append(f"kube-proxy replaced on {len(NODES)} nodes in {time.monotonic() - began:.0f} s")
        told("taken over from kube-proxy", flow)
        async with traffic(shop.places, shop.targets(), streams=STREAMS, per_second=100) as flow:
            began = time.monotonic()
            await aside(chart.end, cluster)
            await aside(peer.install)
            await aside(chart.remove, cluster)
            LINES.append(f"kube-proxy back on {len(NODES)} nodes in {time.monotonic() - began:.0f} s")
        told("given back to kube-proxy", flow)
        assert difference(kernel_rules(cluster), theirs) == []
    finally:
        peer.remove()
        peer.clean()
    assert difference(kernel_rules(cluster), bare) == []
