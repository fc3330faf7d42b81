import asyncio

import pytest
from msgspec import structs
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.objects import Kind, Node, NodeAddress, NodeSpec, NodeStatus, ObjectMeta, ref_of
from pointsman.proxy.agent import Agent, Parts
from pointsman.proxy.config import Config
from pointsman.proxy.config_watch import Stop
from pointsman.proxy.facts import Host
from pointsman.proxy.own_node import OwnNode, await_node
from pointsman.routing.route import Family

from .engines import FakeEngine, FakeLoop
from .views import endpoint, endpoint_slice, service

API = Config(kubeconfig="k", node_port_addresses=("primary",), cluster_cidr=("10.244.0.0/16",))
BY_NODE_CIDR = structs.replace(API, detect_local_mode="NodeCIDR", cluster_cidr=())
OBJECTS = (
    Replace(Kind.SERVICE, (service("web", "10.96.0.10"),)),
    Replace(Kind.ENDPOINT_SLICE, (endpoint_slice("web", endpoint("10.244.1.1", "n1")),)),
)
BARE = Node(ObjectMeta("n1"))
NODE = Node(ObjectMeta("n1"), status=NodeStatus((NodeAddress("InternalIP", "192.168.50.1"),)))


def ranged(*cidrs: str) -> Node:
    return structs.replace(NODE, spec=NodeSpec(pod_cidrs=cidrs))


def agent(config: Config = API, name: str = "n1") -> tuple[Agent, FakeLoop]:
    loop = FakeLoop()
    host = Host(name, {Family.IPV4: ("127.0.0.1", "192.168.50.1"), Family.IPV6: ("::1",)})
    return Agent(Parts(config, host, FakeEngine({}), {Family.IPV4: loop})), loop


def reasons(one: Agent) -> str:
    return "\n".join(f"{notice.subject}: {notice.text}" for notice in one.view().notices)


@pytest.mark.parametrize(
    ("config", "listed", "lacking"),
    [
        (API, (), "the API has no Node 'n1'"),
        (API, (BARE,), "neither an InternalIP"),
        (BY_NODE_CIDR, (NODE,), "spec.podCIDRs is empty"),
    ],
)
def test_in_51_nothing_is_programmed_before_the_node_is_complete(config: Config, listed: tuple[Node, ...], lacking: str) -> None:
    one, loop = agent(config)
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, listed))))
    assert loop.offers == []
    assert "Node n1" in reasons(one)
    assert lacking in reasons(one)
    one.receive(Batch((Upsert(ranged("10.244.1.0/24")),)))
    (offer,) = loop.offers
    assert len(offer[0].changed) == 1
    assert offer[1].node_ips[Family.IPV4] == "192.168.50.1"
    assert "Node n1" not in reasons(one)


def test_in_51_a_node_that_may_not_be_read_is_waited_for_too() -> None:
    one, loop = agent()
    one.receive(Batch(OBJECTS))
    assert loop.offers == []
    assert "has not been read" in reasons(one)


def test_in_50_the_nodes_name_is_looked_up_in_lower_case() -> None:
    one, loop = agent(name="N1")
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, (NODE,)))))
    assert len(loop.offers) == 1


def test_manifests_need_no_node() -> None:
    one, loop = agent(structs.replace(BY_NODE_CIDR, kubeconfig="", manifests="m"))
    one.receive(Batch(OBJECTS))
    assert len(loop.offers) == 1


@pytest.mark.parametrize("after", [Remove(ref_of(NODE)), Upsert(BARE)])
def test_in_54_a_node_that_is_registered_afresh_keeps_its_node_ports(after: Remove | Upsert) -> None:
    one, loop = agent()
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, (NODE,)))))
    one.receive(Batch((after,)))
    assert one.facts.node.node_port_addresses(Family.IPV4).addresses == ("192.168.50.1",)
    moved = structs.replace(NODE, status=NodeStatus((NodeAddress("InternalIP", "192.168.50.9"),)))
    one.receive(Batch((Upsert(moved),)))
    assert loop.offers[-1][1].node_ips[Family.IPV4] == "192.168.50.9"


def test_cfg_24_pod_ranges_that_this_kernel_cannot_serve_end_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    one, loop = agent(BY_NODE_CIDR)
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, (ranged("fd00:10:244::/64"),)))))
    stop = Stop()
    asyncio.run(await_node(one.own, stop))
    assert (loop.offers, stop.is_set(), stop.status) == ([], True, 1)
    assert "this host serves IPv4 only" in str(caplog.records[-1].__dict__)


def test_cfg_24_one_range_of_the_family_is_enough() -> None:
    one, loop = agent(BY_NODE_CIDR)
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, (ranged("fd00:10:244::/64", "10.244.1.0/24"),)))))
    assert len(loop.offers) == 1


def test_in_51_a_node_that_does_not_come_ends_the_agent_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    one, _ = agent()
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, ()))))
    stop = Stop()
    asyncio.run(await_node(one.own, stop, patience=0.0))
    assert (stop.is_set(), stop.status) == (True, 1)
    assert "the API has no Node 'n1'" in str(caplog.records[-1].__dict__)


async def test_in_51_while_the_api_server_does_not_answer_nobody_gives_up() -> None:
    own, stop = OwnNode(API, "n1", Family), Stop()
    waiting = asyncio.create_task(await_node(own, stop, patience=0.0))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_node_that_is_there_lets_the_agent_go_on() -> None:
    one, _ = agent()
    stop = Stop()
    waiting = asyncio.create_task(await_node(one.own, stop, patience=600.0))
    one.receive(Batch((*OBJECTS, Replace(Kind.NODE, (NODE,)))))
    await asyncio.wait_for(waiting, 60)
    assert not stop.is_set()
