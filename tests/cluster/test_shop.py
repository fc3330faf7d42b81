"""The shop's Services as real Pods meet them, on a real cluster, in both families."""

import asyncio

import pytest
from cluster_network import address_of
from cluster_place import NODES
from cluster_shop import GATEWAY_NODE_PORT, HEALTH_NODE_PORT, OUTSIDE, WEB_NODE_PORT
from cluster_traffic import kernel_rules, read
from plane_wait import until
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

SILENCE_SECONDS = 5.0


async def backends(shop, place, address, port, protocol=Protocol.TCP, times=30):
    """Return who answered so many new connections, each of which must be answered."""
    results = [await shop.places.probe(place, address, port, protocol) for _ in range(times)]
    assert {one.ending for one in results} == {Ending.ANSWERED}, f"{place} -> {address}:{port}"
    return {one.backend for one in results}


async def all_are_met(shop, place, address, port, names, protocol=Protocol.TCP):
    """Return whether thirty new connections are answered by each of these Pods."""
    return await backends(shop, place, address, port, protocol) == names


@pytest.mark.parametrize("family", Family, ids=lambda one: one.value)
async def test_cluster_ips_answer_pods_and_nodes(shop, family):
    address = shop.cluster_ips("web")[family]
    for place in (*map(shop.till, NODES), *NODES):
        await until(lambda place=place: all_are_met(shop, place, address, 80, shop.names("web")))
    seen = await shop.places.probe(shop.till("n1"), address, 80, Protocol.TCP)
    assert seen.seen_source in {one["ip"] for one in shop.client("n1")["status"]["podIPs"]}, "a Pod is seen as itself"


@pytest.mark.parametrize("family", Family, ids=lambda one: one.value)
async def test_node_ports_answer_the_world(shop, family):
    for node in NODES:
        assert await backends(shop, OUTSIDE, address_of(node, family), WEB_NODE_PORT) <= shop.names("web")


async def test_policy_local_shows_the_client_and_is_silent_where_there_is_no_pod(shop):
    pod = shop.one("gateway")
    at = pod["spec"]["nodeName"]
    [other] = set(NODES) - {at}
    for family in Family:
        result = await shop.places.probe(OUTSIDE, address_of(at, family), GATEWAY_NODE_PORT, Protocol.TCP)
        assert (result.backend, result.seen_source) == (pod["metadata"]["name"], address_of(OUTSIDE, family))
        ended = await shop.places.probe(
            OUTSIDE, address_of(other, family), GATEWAY_NODE_PORT, Protocol.TCP, timeout_seconds=SILENCE_SECONDS
        )
        assert ended.ending is Ending.SILENT
        assert await health(shop, address_of(at, family), family) == "200"
        assert await health(shop, address_of(other, family), family) == "503"


async def health(shop, address, family):
    """Return what a load balancer is told that asks a node."""
    loop = asyncio.get_running_loop()
    with shop.places.socket(OUTSIDE, family, 1) as one:
        await loop.sock_connect(one, (address, HEALTH_NODE_PORT))
        await loop.sock_sendall(one, b"GET / HTTP/1.0\r\n\r\n")
        return (await loop.sock_recv(one, 4096)).split()[1].decode()


async def test_a_client_comes_back_to_its_cart(shop):
    for address in shop.cluster_ips("cart").values():
        for node in NODES:
            assert len(await backends(shop, shop.till(node), address, 7070)) == 1


async def test_udp_meets_both_nodes(shop):
    servers = shop.names("statsd", "monitoring")
    for address in shop.cluster_ips("statsd", "monitoring").values():
        await until(lambda address=address: all_are_met(shop, shop.till("n1"), address, 8125, servers, Protocol.UDP))


async def test_headless_means_the_pod_itself(shop, cluster):
    service = read(cluster, "service", "database", "-n", "shop")
    assert service["spec"]["clusterIP"] == "None"
    pod = shop.one("database")
    for one in pod["status"]["podIPs"]:
        assert await backends(shop, shop.till("n2"), one["ip"], 5432, times=1) == {"database-0"}
    assert not [line for lines in kernel_rules(cluster).values() for line in lines if "shop/database" in line]


async def test_what_is_not_ready_is_refused_at_once(shop):
    for address in shop.cluster_ips("recommendations").values():
        result = await shop.places.probe(shop.till("n1"), address, 80, Protocol.TCP)
        assert result.ending is Ending.REFUSED


async def test_the_api_server_is_a_service_too(shop, cluster):
    loop = asyncio.get_running_loop()
    address = read(cluster, "service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    for node in NODES:
        with shop.places.socket(shop.till(node), Family.IPV4, 1) as one:
            await loop.sock_connect(one, (address, 443))


async def test_a_failing_readiness_probe_moves_the_traffic(shop):
    name = min(shop.names("web"))
    address = shop.cluster_ips("web")[Family.IPV4]
    place = shop.till("n1")
    shop.execute(name, "touch", "/tmp/closed")
    try:
        await until(lambda: missed(shop, place, address, name))
    finally:
        shop.execute(name, "rm", "/tmp/closed")
    await until(lambda: met(shop, place, address, name))


async def missed(shop, place, address, name):
    """Return whether a hundred new connections meet others only, which by chance happens once in 10^17 times."""
    return name not in await backends(shop, place, address, 80, times=100)


async def met(shop, place, address, name):
    return name in await backends(shop, place, address, 80)
