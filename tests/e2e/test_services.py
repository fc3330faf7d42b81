"""Services as users make and change them, allocated and sliced by the real controllers: after each step every packet is as the oracle says.

Both nodes run the agent, each with another variant of iptables; packets enter through both. Where the kernel has IPVS, all of it is done
again in that mode.
"""

import contextlib
import signal
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio
from plane_agent import Identity, api_agent
from plane_judge import VARIANTS, Judge
from plane_objects import port
from plane_wait import until
from pointsman.proxy.demo.lab_topology import EXTERNAL_RANGE, LOAD_BALANCER_RANGE
from pointsman.routing.route import Family
from table_modes import IPVS

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

START_SECONDS = 240.0
STARTS = 5
BOTH = tuple(VARIANTS)
FLEETS = [
    pytest.param(VARIANTS, id="iptables"),
    pytest.param(dict.fromkeys(BOTH, IPVS), id="ipvs", marks=pytest.mark.ipvs),
]
"""Which mode each node's agent uses."""


async def begun(stack, start):
    """Start an agent as kubelet does: again if it ended. Return it when it answers.

    One after the other: under User-Mode Linux the first programs that use iptables at the same moment may fail, and a control plane that
    starts beside them on the only processor may let them wait longer than an agent waits for its tools.
    """
    for _ in range(STARTS):
        async with AsyncExitStack() as own:
            one = await own.enter_async_context(start())
            await until(lambda one=one: answers_or_ended(one), START_SECONDS, one.log.read_text)
            if one.process.returncode is None:
                stack.push_async_exit(own.pop_all())
                return one
    raise AssertionError(f"{STARTS} agents ended:\n{one.log.read_text()}")


async def answers_or_ended(agent):
    return agent.process.returncode is not None or await agent.status()


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=FLEETS)
async def agents(request, lab, plane, tmp_path_factory):
    """A daemon on each node, straight at the API server, while these tests run."""
    scratch = tmp_path_factory.mktemp("agents")
    config = await Identity(plane, scratch).kubeconfig()
    async with AsyncExitStack() as running:
        started = {}
        for node, mode in request.param.items():
            started[node] = await begun(running, lambda node=node, mode=mode: api_agent(lab, node, mode, ("--kubeconfig", config), scratch))
        yield started


@pytest.fixture
def judge(plane, stage, served, agents):
    assert all(one.process.returncode is None for one in agents.values()), [one.log.read_text() for one in agents.values()]
    return Judge(plane, stage, BOTH, served)


def address(kind, number, family):
    """Return the so-manieth address of a range of the laboratory."""
    return kind[family].partition("/")[0].removesuffix("0") + str(number)


async def test_create_update_delete(stage, judge):
    """A Service comes, gets and loses Pods, moves to other Pods, and goes; its frontends go with it."""
    made = await stage.service("web", [port(80)], app="web")
    assert len(made["spec"]["clusterIPs"]) == 2
    assert await judge.agrees()  # refused: no endpoints
    await stage.pods("web", "n1p1", "n2p1")
    await judge.agrees()
    await stage.pods("api", "n1p2", "n2p2", "n2p3")
    await stage.change("web", selector={"app": "api"})
    await judge.agrees()
    await stage.end("api", "n1p2", at_once=True)
    await judge.agrees()
    await stage.remove("web")
    assert await judge.agrees()  # what was a cluster IP is nobody's now


PORTS = [("first", 8080, "TCP"), ("second", 9090, "TCP"), ("dns", 8080, "UDP")]


async def test_ports_are_renamed_and_moved(stage, judge):
    await stage.pods("web", "n1p1", "n2p1", ports=PORTS)
    await stage.service("web", [port(80, "first", "http"), port(53, "dns", "dns", "UDP")], app="web")
    await judge.agrees()
    await stage.change("web", ports=[port(80, "first", "renamed"), port(53, "dns", "dns", "UDP")])
    await judge.agrees()
    await stage.change("web", ports=[port(80, "second", "renamed"), port(81, "first", "more")])
    await judge.agrees()
    await stage.change("web", ports=[port(81, "second", "renamed"), port(80, "first", "more"), port(132, 8080, "sctp", "SCTP")])
    await judge.agrees()


async def test_types_change_to_and_fro(stage, judge):
    """ClusterIP to NodePort to LoadBalancer to ExternalName and back; node ports are the API server's choice."""
    await stage.pods("web", "n1p1", "n2p1", "n2p2")
    await stage.service("web", [port(80)], app="web")
    await judge.agrees()
    made = await stage.change("web", type="NodePort")
    assert made["spec"]["ports"][0]["nodePort"] >= 30000
    await judge.agrees()
    await stage.change("web", type="LoadBalancer", externalTrafficPolicy="Local")
    await stage.balance("web", *(address(LOAD_BALANCER_RANGE, 77, family) for family in Family))
    await judge.agrees()
    await stage.change("web", loadBalancerSourceRanges=["10.244.0.0/16", "fd00:10:244::/48"])
    await judge.agrees()
    gone = {"clusterIP": None, "clusterIPs": None, "ipFamilies": None, "ipFamilyPolicy": None, "externalTrafficPolicy": None,
            "healthCheckNodePort": None, "loadBalancerSourceRanges": None, "internalTrafficPolicy": None,
            "allocateLoadBalancerNodePorts": None, "sessionAffinity": None}
    await stage.change("web", type="ExternalName", externalName="example.org", ports=[port(80)], **gone)
    await judge.agrees()
    made = await stage.change("web", type="ClusterIP", externalName=None, ipFamilyPolicy="RequireDualStack")
    assert len(made["spec"]["clusterIPs"]) == 2
    await judge.agrees()
    await stage.change("web", externalIPs=[address(EXTERNAL_RANGE, 77, family) for family in Family])
    await judge.agrees()
    await stage.change("web", externalIPs=None)
    await judge.agrees()


async def test_single_to_dual_stack_and_back(stage, judge):
    await stage.pods("web", "n1p1", "n2p1")
    made = await stage.service("web", [port(80)], app="web", families=("IPv4",))
    assert made["spec"]["ipFamilies"] == ["IPv4"]
    await judge.agrees()
    made = await stage.change("web", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"])
    assert len(made["spec"]["clusterIPs"]) == 2
    await judge.agrees()
    await stage.change("web", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"], clusterIPs=made["spec"]["clusterIPs"][:1])
    await judge.agrees()


async def test_readiness_flips(stage, judge):
    await stage.pods("web", "n1p1", "n1p2", "n2p1")
    await stage.service("web", [port(80)], app="web")
    await judge.agrees()
    for ready in (False, True):
        await stage.say("web", "n1p1", "n2p1", ready=ready)
        await judge.agrees()
    await stage.say("web", "n1p1", "n1p2", "n2p1", ready=False)
    await judge.agrees()


async def test_pods_terminate(stage, judge):
    """While others are ready a terminating Pod gets nothing new; the last ones serve while they end (KEP-1669)."""
    await stage.pods("web", "n1p1", "n2p1")
    await stage.service("web", [port(80)], app="web", type="NodePort", externalTrafficPolicy="Local")
    await judge.agrees()
    await stage.end("web", "n1p1")
    await judge.agrees()
    await stage.end("web", "n2p1")
    await judge.agrees()
    await stage.say("web", "n1p1", "n2p1", ready=False)
    await judge.agrees()
    await stage.end("web", "n1p1", "n2p1", at_once=True)
    await judge.agrees()


async def test_traffic_stays_in_its_zone(stage, judge):
    """Hints come from the real controller; when a zone has no Pod left, hints or not, connections go on."""
    await stage.pods("web", "n1p1", "n1p2", "n2p1", "n2p2")
    await stage.service("web", [port(80)], app="web", trafficDistribution="PreferClose")

    async def hinted():
        path = f"/apis/discovery.k8s.io/v1/namespaces/{stage.name}/endpointslices"
        ends = [end for one in await stage.api.items(path) for end in one.get("endpoints") or ()]
        return len(ends) == 8 and all(end.get("hints") for end in ends)

    await until(hinted)
    await judge.agrees()
    await stage.say("web", "n1p1", "n1p2", ready=False)
    await judge.agrees()


async def test_policies_and_affinity_change(stage, judge):
    await stage.pods("web", "n1p1", "n2p1", "n2p2")
    await stage.service("web", [port(80)], app="web", type="NodePort")
    await stage.change("web", internalTrafficPolicy="Local")
    await judge.agrees()
    await stage.change("web", internalTrafficPolicy="Cluster", sessionAffinity="ClientIP")
    await judge.agrees()
    await stage.change("web", sessionAffinity="None", externalTrafficPolicy="Local")
    await judge.agrees()


async def test_an_endpoint_is_in_two_slices_for_a_moment(stage, judge):
    """A custom controller moves an endpoint from one slice to another: it is never missing, and stays when the first slice drops it."""
    await stage.service("web", [port(80, 8080)], families=("IPv4",))
    first, second = ("10.244.1.11", "n1"), ("10.244.2.11", "n2")
    await stage.slices("web", [first, second])
    await judge.agrees()
    await stage.slices("web", [second], prefix="more")
    await judge.agrees()
    await stage.api.delete(stage.slice_path("web-0"))
    await judge.agrees()
    await stage.slices("web", [first], prefix="web")
    await judge.agrees()
    await stage.api.delete(stage.slice_path("more-0"))
    await judge.agrees()


async def test_the_label_of_another_proxy_takes_a_service_away(stage, judge):
    """IN-01: labelled, the Service is another proxy's and its frontends are gone; without the label it is back."""
    await stage.pods("web", "n1p1", "n2p1")
    await stage.service("web", [port(80)], app="web")
    await judge.agrees()
    path = f"/api/v1/namespaces/{stage.name}/services/web"
    for label in ("other", None):
        await stage.api.patch(path, {"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": label}}})
        await judge.agrees()


async def test_headless_services_are_nobodys(stage, judge):
    """Headless Services have no frontends, and do not disturb others."""
    await stage.pods("web", "n1p1", "n2p1")
    await stage.service("headless", [port(80)], app="web", clusterIP="None")
    await stage.service("web", [port(80)], app="web")
    await judge.agrees()


async def test_the_api_itself_is_a_service(plane, agents):
    """Pods reach the API server by its own Service, which has an address of no Pod as its endpoint."""

    async def answers(client):
        with contextlib.suppress(OSError, aiohttp.ClientError):
            return await client.text("/readyz") == "ok"

    for pod in ("n1p4", "n2p4"):
        client = plane.client(pod, "https://10.96.0.1:443")
        try:
            await until(lambda client=client: answers(client))
        finally:
            await client.close()


async def test_what_is_wrong_is_seen(stage, judge, agents):
    """The judge is judged: while an agent is stopped, what it has not done differs from what the API server holds."""
    await stage.pods("web", "n1p1", "n2p1")
    await stage.service("web", [port(80)], app="web")
    await judge.agrees()
    agents["n1"].process.send_signal(signal.SIGSTOP)
    try:
        await stage.change("web", ports=[port(81)])
        with pytest.raises(AssertionError, match=r"cases differ(.|\n)*the oracle"):
            await judge.agrees(0)
    finally:
        agents["n1"].process.send_signal(signal.SIGCONT)
    await judge.agrees()
