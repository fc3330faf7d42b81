"""What operators look at, beside a real kube-proxy: its metrics, its health endpoints and its events, and ours on the same node after it.

kube-proxy answers first, then pointsman with the same objects; what differs is listed here with its reason, and nothing else may.
"""

import asyncio
import json
import re
import sys

import pytest
from plane_agent import api_agent
from plane_objects import port
from plane_peer import KubeProxy, leftovers
from plane_wait import until
from pointsman.routing.route import Family

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.asyncio(loop_scope="session")]

NODE, OTHER = "n1", "n2"
METRICS, HEALTH = "127.0.0.1:10298", "127.0.0.1:10299"
ADDRESSES = ("--metrics-bind-address", METRICS, "--healthz-bind-address", HEALTH)
CLEANUP = (sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "cleanup")

SILENT = {
    # Names that kube-proxy offers only once there is something to count, or where the kernel has nfacct.
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
    "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
}
MEASURED = ("kubeproxy_network_programming_duration_seconds", "kubeproxy_sync_partial_proxy_rules_duration_seconds")
ASK = """
import json, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, dict(answer.headers), answer.read().decode()]))
"""


async def ask(lab, url, place=NODE):
    """Return status, headers and body of a URL, seen from a place; None while nobody answers."""
    process = await asyncio.create_subprocess_exec(
        *lab.command(place, sys.executable, "-c", ASK, f"http://{url}"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return json.loads(said) if process.returncode == 0 else None


def families(text):
    """Return of each metric its type, the names of its labels, and a histogram's bounds."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    found = {name: [kind, set(), set()] for name, kind in types.items()}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        metric = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            found[metric][2 if label == "le" else 1].add(value if label == "le" else label)
    return found


class Observed:
    """Everything that one of the two answers on the node."""

    def __init__(self, lab, stage, check):
        self._lab, self._stage, self._check = lab, stage, check
        self.answers = {}
        self._said = ""

    async def look(self):
        """Ask everything, once the load balancer would get traffic through, and a change has reached the kernel."""
        await until(self._carries)
        await asyncio.sleep(1.5)  # the API writes whole seconds, and what is older than the process does not count
        await self._stage.service("late", [port(81)], app="web")  # its slices carry the moment of its creation
        await until(self._measured, says=lambda: self._said)
        await self._stage.remove("late")
        await self._stage.settled()
        for url in (f"{METRICS}/metrics", f"{METRICS}/healthz", f"{METRICS}/proxyMode", f"{METRICS}/configz", f"{METRICS}/metrics/slis",
                    f"{HEALTH}/healthz", f"{HEALTH}/livez", f"127.0.0.1:{self._check}/any/path", f"[::1]:{self._check}/"):
            self.answers[url] = await ask(self._lab, url)
        self.metrics = families((await ask(self._lab, f"{METRICS}/metrics"))[2])

    async def _measured(self):
        answer = await ask(self._lab, f"{METRICS}/metrics")
        self._said = "\n".join(line for line in answer[2].splitlines() if line.startswith("kubeproxy") and "_bucket" not in line)
        return all(re.search(rf"^{name}_count.* [1-9]", answer[2], re.MULTILINE) for name in MEASURED)

    async def _carries(self):
        answer = await ask(self._lab, f"127.0.0.1:{self._check}/")
        return answer is not None and answer[0] == 200


@pytest.fixture
def shop(stage):
    """Objects for which each endpoint has something to say; the coroutine returns the health-check node port."""

    async def made():
        await stage.pods("web", "n1p1", "n2p1")
        await stage.service("web", [port(80)], app="web", type="LoadBalancer", externalTrafficPolicy="Local")
        await stage.balance("web", "198.51.100.77")
        await stage.settled()
        web = await stage.api.get(f"/api/v1/namespaces/{stage.name}/services/web")
        return web["spec"]["healthCheckNodePort"]

    return made


async def test_metrics_and_health_are_kube_proxys(lab, plane, binaries, identity, stage, shop, tmp_path):
    """MET-01 to MET-16, HLT-01 to HLT-11 as the original has them."""
    check = await shop()
    theirs, ours = Observed(lab, stage, check), Observed(lab, stage, check)
    peer = KubeProxy(plane, binaries, NODE, "iptables", "nft", tmp_path)
    try:
        await peer.start()
        await theirs.look()
    finally:
        await peer.stop()
        peer.clean()
    config = await identity.kubeconfig()
    async with api_agent(lab, NODE, "nft", ("--kubeconfig", config, *ADDRESSES), tmp_path / "ours") as agent:
        await agent.in_sync()
        await ours.look()
    peer.run(" ".join(CLEANUP), check=True)
    assert leftovers(peer.kernel_state()) == []
    compare_metrics(theirs.metrics, ours.metrics)
    compare_answers(theirs.answers, ours.answers)


def compare_metrics(theirs, ours):
    wanted = {name: one for name, one in theirs.items() if name.startswith(("kubeproxy_", "rest_client_request"))}
    wanted = {name: one for name, one in wanted.items() if not name.startswith("rest_client_request_size")}
    assert len(wanted) > 15
    missing = sorted(wanted.keys() - ours.keys())
    assert not missing, f"kube-proxy offers these, we do not: {missing}"
    differing = {name: (one, ours[name]) for name, one in wanted.items() if one[1] and ours[name] != one}
    assert not differing, differing
    surplus = {name for name in ours if name.startswith("kubeproxy_")} - wanted.keys()
    assert surplus <= SILENT


def compare_answers(theirs, ours):
    for url, (status, headers, body) in theirs.items():
        mine = ours[url]
        assert mine is not None, url
        assert mine[0] == status, url
        named = {name: value for name, value in headers.items() if name in {"Content-Type", "X-Content-Type-Options"} or "Weight" in name}
        if not url.endswith("slis") and not url.endswith("metrics"):
            assert named.items() <= mine[1].items(), f"{url}: {named} {mine[1]}"
        if url.endswith(("/any/path", "/", "proxyMode")) or url == f"{METRICS}/healthz":
            assert mine[2] == body, url
        if url.startswith(HEALTH):
            assert shape(json.loads(mine[2])) == shape(json.loads(body)), url
    mine, their = (json.loads(one[f"{METRICS}/configz"][2])["kubeproxy.config.k8s.io"] for one in (ours, theirs))
    assert shape(mine).keys() == shape(their).keys()


def shape(value):
    """Return a document with the names of its members and the kinds of its values."""
    return {name: shape(one) for name, one in value.items()} if isinstance(value, dict) else type(value).__name__


async def test_proc_10_events_are_told_and_a_broken_service_once_for_the_whole_cluster(lab, plane, identity, stage, tmp_path):
    config = await identity.kubeconfig()
    arguments = ("--kubeconfig", config, "--external-ips", "deny")
    async with (
        api_agent(lab, NODE, "nft", arguments, tmp_path) as first,
        api_agent(lab, OTHER, "legacy", arguments, tmp_path) as second,
    ):
        await first.in_sync()
        await second.in_sync()
        made = await stage.service("web", [port(80)], externalIPs=["192.0.2.7"])

        async def told(namespace, reason, *names):
            events = await plane.api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
            found = [one for one in events if one["reason"] == reason and one["reportingController"] == "kube-proxy"]
            return found if {one["regarding"]["name"] for one in found} >= set(names) else []

        started = await until(lambda: told("default", "Starting", NODE, OTHER))
        assert all(one["action"] == "StartKubeProxy" and one["type"] == "Normal" for one in started)
        (broken,) = await until(lambda: told(stage.name, "ServiceNotRouted", "web"))
        assert broken["regarding"]["uid"] == made["metadata"]["uid"]
        assert broken["type"] == "Warning"
        assert "192.0.2.7" in broken["note"]

        async def both_spoke():
            texts = [(await ask(lab, "127.0.0.1:10249/metrics", place))[2] for place in (NODE, OTHER)]
            outcomes = [dict(re.findall(r'^pointsman_events_total\{outcome="(\w+)"\} (\S+)$', text, re.MULTILINE)) for text in texts]
            return sum(float(value) for one in outcomes for value in one.values()) >= 4 and outcomes

        outcomes = await until(both_spoke)
        assert sum(float(one.get("known", 0)) for one in outcomes) >= 1
        assert len(await told(stage.name, "ServiceNotRouted", "web")) == 1
        assert not any("refused" in one for one in outcomes), "the least of all service accounts may create events"
    await clean(lab, NODE, OTHER)


async def test_a_load_balancer_asks_from_outside_which_node_has_endpoints(lab, identity, stage, shop, tmp_path):
    """HLT-10 to HLT-12, pains 53 and 54: both nodes, both families; where the last endpoint leaves, 503."""
    check, config = await shop(), await identity.kubeconfig()
    nodes = lab.topology.places
    async with api_agent(lab, NODE, "nft", ("--kubeconfig", config), tmp_path) as agent:
        await agent.in_sync()

        async def answers(status, count):
            for family in Family:
                address = nodes[NODE].addresses[family]
                answer = await ask(lab, f"[{address}]:{check}/" if family is Family.IPV6 else f"{address}:{check}/", "outside")
                if answer is None or answer[0] != status or json.loads(answer[2])["localEndpoints"] != count:
                    return False
                assert answer[1]["X-Load-Balancing-Endpoint-Weight"] == str(count)
            return True

        await until(lambda: answers(200, 1))  # each family counts for itself: one Pod here
        await stage.say("web", "n1p1", ready=False)
        await until(lambda: answers(503, 0))
        await stage.say("web", "n1p1", ready=True)
        await until(lambda: answers(200, 1))
        await stage.end("web", "n1p1")  # terminating endpoints serve, and do not count
        await until(lambda: answers(503, 0))
    await clean(lab, NODE)


async def test_pain_55_a_node_that_the_autoscaler_takes_away_fails_healthz_and_not_livez(lab, plane, identity, tmp_path):
    config, path = await identity.kubeconfig(), f"/api/v1/nodes/{NODE}"
    async with api_agent(lab, NODE, "nft", ("--kubeconfig", config, *ADDRESSES), tmp_path) as agent:
        await agent.in_sync()

        async def codes(*wanted):
            found = [await ask(lab, f"{HEALTH}/{name}") for name in ("healthz", "livez")]
            return all(found) and tuple(one[0] for one in found) == wanted

        try:
            await until(lambda: codes(200, 200))
            await plane.api.patch(path, {"spec": {"unschedulable": True}})  # a cordon alone must not fail it
            taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule", "value": "1"}
            await plane.api.patch(path, {"spec": {"taints": [taint]}})
            await until(lambda: codes(503, 200))
        finally:
            await plane.api.patch(path, {"spec": {"taints": [], "unschedulable": None}})
        await until(lambda: codes(200, 200))
    await clean(lab, NODE)


async def clean(lab, *places):
    """Remove what was programmed."""
    for place in places:
        process = await asyncio.create_subprocess_exec(*lab.command(place, *CLEANUP), stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
