"""`pointsman conntrack` against a real table of connections: manifests on one side, entries on the other, no agent between."""

import asyncio
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from fakes.flows import NODE, TCP, UDP, flow
from fakes.scratch import namespace, shell
from msgspec import structs
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.kernel import ConntrackKernel
from pointsman.conntrack.tombstones import Entry, Notebook
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.proxy.cli import conntrack as module
from pointsman.proxy.cli import wanted
from pointsman.proxy.cli.conntrack import command
from pointsman.proxy.known import Known
from pointsman.proxy.notebook import write
from pointsman.proxy.picture import picture
from pointsman.proxy.report import View
from pointsman.routing.route import Family
from pointsman.routing.snapshot import EMPTY

pytestmark = pytest.mark.kernel
LATE = 3000
PLANTED = {
    FlowClass.OK: flow(timeout=LATE),
    FlowClass.DRAINING: flow(at="10.2.0.6:53", client="10.5.0.2:1000", timeout=LATE),
    FlowClass.STALE_BACKEND: flow(at="10.2.0.5:53", client="10.5.0.3:1000", timeout=LATE),
    FlowClass.STALE_FRONTEND: flow("192.0.2.9:53", client="10.5.0.4:1000", timeout=LATE),
    FlowClass.UNNATTED: flow(at="10.96.0.10:53", client="10.5.0.5:1000", timeout=LATE),
    FlowClass.CLASH: flow(client="10.5.0.6:1000", back="10.5.0.6:1025", timeout=LATE),
    FlowClass.FOREIGN: flow("192.0.2.77:80", "10.2.0.7:80", "10.5.0.7:1000", protocol=TCP, timeout=LATE, state="ESTABLISHED"),
    FlowClass.NOT_A_SERVICE: flow("10.2.0.7:53", "10.2.0.7:53", "10.5.0.8:1000", timeout=LATE),
}
"""An entry of each class that a table can show without history: `recycled` needs to know who was there before."""


def manifest(kind, name, version="v1", labels=None, **content):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": labels or {}}, **content}


def end(address, pod, **conditions):
    return {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"}}


CLUSTER = [
    manifest("Service", "dns", spec={"clusterIP": "10.96.0.10", "externalIPs": ["192.0.2.1"], "ports": [{"port": 53, "protocol": "UDP"}]}),
    manifest(
        "EndpointSlice", "dns-1", "discovery.k8s.io/v1", {"kubernetes.io/service-name": "dns"}, addressType="IPv4",
        ports=[{"name": "", "port": 53, "protocol": "UDP"}],
        endpoints=[end("10.2.0.7", "dns-a"), end("10.2.0.6", "dns-b", ready=False, serving=True, terminating=True)],
    ),
    manifest("Pod", "client", spec={}, status={"podIP": "10.5.0.1", "podIPs": [{"ip": "10.5.0.1"}]}),
]  # fmt: skip


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": CLUSTER}))
    write(tmp_path / "n1.flows.json", Notebook("n1", (Entry(Family.IPV4, UDP, "192.0.2.9", 53, "shop/old"),)))
    with namespace():
        asyncio.run(plant(PLANTED.values()))
        yield ["--manifests", str(folder), "--hostname-override", "n1", "--socket", str(tmp_path / "n1.sock")]


async def plant(flows):
    async with await ConntrackKernel.open() as kernel:
        assert await kernel.create(flows) == {}


def call(name, *arguments):
    return CliRunner().invoke(command, [name, *arguments], standalone_mode=False)


def listed(*arguments, name="list"):
    done = call(name, *arguments, "-o", "json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def test_every_class_is_listed_with_its_names_and_reason(place):
    found = {one["flowClass"]: one for one in listed(*place)["flows"]}
    assert found.keys() == {one.value for one in PLANTED}
    assert {name: one["client"] for name, one in found.items()} == {one.value: flow.client for one, flow in PLANTED.items()}
    good = found["ok"]
    assert (good["clientName"], good["service"], good["frontendKind"]) == ("pod shop/client", "shop/dns", "cluster IP")
    assert (good["backend"], good["backendName"]) == ("10.2.0.7:53", "pod shop/dns-a")
    assert "was shop/old and is not any more" in found["stale-frontend"]["reason"]
    assert found["foreign"]["state"] == "ESTABLISHED"
    entries = {line.split("[")[0].split("src=")[1].split()[0] for line in shell("conntrack -L").splitlines()}
    assert {one["entry"].split("src=")[1].split()[0] for one in found.values()} == entries


def test_flows_are_picked_out(place):
    def clients(*arguments):
        return {one["client"].rpartition(".")[2].partition(":")[0] for one in listed(*place, *arguments)["flows"]}

    assert clients("--service", "shop/dns") == {"1", "2", "3", "5", "6"}
    assert clients("--class", "draining", "--class", "clash") == {"2", "6"}
    assert clients("--proto", "tcp") == {"7"}
    assert clients("--pod", "shop/client") == {"1"}
    assert clients("--pod", "shop/dns-b") == {"2"}
    assert clients("--from", "10.5.0.4") == {"4"}
    assert clients("--from", "10.5.0.4/30") == {"4", "5", "6", "7"}
    assert clients("--from", "shop/client") == {"1"}
    assert clients("--to", "192.0.2.9") == {"4"}
    assert clients("--to", "10.2.0.6:53") == {"2"}
    assert clients("--to", ":80") == {"7"}
    assert clients("--service", "shop/none") == set()


def test_a_table_for_people(place):
    done = call("list", *place, "--service", "shop/dns")
    assert "PROTO  STATE  CLIENT" in done.stdout
    assert "5 shown; of all: " in done.stdout
    wide = call("list", *place, "--class", "ok", "-o", "wide").stdout
    assert "pod shop/dns-a" in wide
    assert "from cluster IP 10.96.0.10:53 of shop/dns to its endpoint 10.2.0.7:53 (pod dns-a)" in wide


def test_stale_tells_what_is_wrong_and_its_status_says_whether_anything_is(place):
    done = call("stale", *place)
    assert done.return_value == 1
    assert "stale-backend   udp 10.5.0.3:1000 -> 10.96.0.10:53 -> 10.2.0.5:53" in done.stdout
    assert "which is none of its endpoints" in done.stdout
    assert "3 shown" in done.stdout
    assert call("stale", *place, "--service", "shop/other").return_value == 0


def test_flush_shows_the_exact_entries_and_deletes_them_only_when_told(place):
    before = shell("conntrack -L")
    done = call("flush", *place, "--class", "stale-backend", "--class", "unnatted")
    assert "udp      17 " in done.stdout
    assert "src=10.5.0.3 dst=10.96.0.10 sport=1000 dport=53 src=10.2.0.5 dst=10.5.0.3 sport=53 dport=1000 mark=0 use=" in done.stdout
    assert "2 entries would be deleted; nothing was changed" in done.stdout
    assert len(shell("conntrack -L").splitlines()) == len(before.splitlines())
    done = call("flush", *place, "--class", "stale-backend", "--class", "unnatted", "--yes")
    assert (done.return_value, "2 entries deleted" in done.stdout) == (0, True)
    left = shell("conntrack -L")
    assert len(left.splitlines()) == len(before.splitlines()) - 2
    assert "10.5.0.3" not in left
    assert "10.5.0.5" not in left


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say which"),
        (("--yes", "--dry-run", "--class", "ok"), "contradict"),
        (("--service", "dns"), "NAMESPACE/NAME"),
        (("--class", "ok", "--since", "soon"), "such as 90s"),
        (("--class", "ok", "--since", "5m"), "nf_conntrack_timestamp=1"),
    ],
)
def test_a_command_line_that_makes_no_sense(place, arguments, told):
    done = call("flush", *place, *arguments)
    assert told in str(done.exception)
    assert done.exception.exit_code == 2


def test_since_goes_by_what_the_kernel_notes(place):
    shell("echo 1 > /proc/sys/net/netfilter/nf_conntrack_timestamp")
    asyncio.run(plant([flow(client="10.5.0.99:1", timeout=LATE)]))
    assert [one["client"] for one in listed(*place, "--since", "1h")["flows"]] == ["10.5.0.99:1"]


def test_top_adds_up_by_service_and_pod(place):
    found = listed(*place, "--once", name="top")
    assert found["entries"] == len(PLANTED)
    assert {one["name"]: one["entries"] for one in found["services"]} == {"shop/dns": 5, "shop/old": 1}
    assert {one["name"]: one["entries"] for one in found["pods"]} == {"shop/client": 1, "shop/dns-a": 5, "shop/dns-b": 1}
    assert "SERVICE PORT" in call("top", *place, "--once").stdout
    rated = listed(*place, "--interval", "0.2", name="top")
    assert [one["perSecond"] for one in rated["services"]] == [0.0, 0.0]


def test_stats_count_and_advise(place):
    found = listed(name="stats")
    assert found["entries"] == len(PLANTED)
    assert found["limit"] > 0
    assert found["sums"]["insert"] == sum(one["insert"] for one in found["cpus"])
    assert found["advice"][0]["level"] == "ok"
    assert f"{len(PLANTED)} of " in call("stats").stdout


def test_sysctl_tells_what_has_drifted(place):
    shell("echo 4242 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established")
    done = call("sysctl", *place, "-o", "json")
    found = {one["name"].rpartition(".")[2]: one for one in json.loads(done.stdout)["settings"]}
    established = found["nf_conntrack_tcp_timeout_established"]
    assert (established["value"], established["wanted"], established["drifted"]) == (4242, 86400, True)
    assert established["fix"] == "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400"
    assert done.return_value == 1
    assert "DRIFTED" in call("sysctl", *place).stdout


def test_watch_names_what_begins_and_ends(place):
    program = [sys.executable, "-u", "-c", "from pointsman.proxy.cli.main import main; main()", "conntrack", "watch", *place, "-o", "json"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = asyncio.run(stirred(process))
        finally:
            process.kill()
    assert found["event"] in {"new", "destroy"}
    assert (found["flow"]["service"], found["flow"]["flowClass"], found["flow"]["backendName"]) == ("shop/dns", "ok", "pod shop/dns-a")


async def stirred(process):
    """Make and delete a flow until the process tells of it; return what it tells first."""
    line = asyncio.create_task(asyncio.to_thread(process.stdout.readline))
    one = flow(client="10.5.0.50:50", timeout=LATE)
    async with await ConntrackKernel.open() as kernel, asyncio.timeout(60):
        while not line.done():
            await kernel.create([one])
            await kernel.delete(await kernel.flows(keep=lambda found: found.client == one.client))
            await asyncio.wait({line}, timeout=0.2)
    return json.loads(line.result())


@pytest.mark.parametrize(("waiting", "told"), [(("EndpointSlice",), "EndpointSlice objects"), ((), "what this node is")])
@pytest.mark.parametrize("name", ["list", "stale", "flush", "top", "watch"])
def test_pain_10_an_agent_that_has_not_read_everything_is_no_judge(name, waiting, told, monkeypatch):
    seen = picture(View(NODE, "iptables", "", EMPTY, None))
    known = Known(structs.replace(seen, waiting_for=waiting), "the agent at /run/n1.sock", socket="/run/n1.sock")
    monkeypatch.setattr(wanted, "known", lambda *_: known)
    done = call(name, *(("--class", "stale-frontend", "--yes") if name == "flush" else ()))
    assert done.exception.exit_code == 3
    assert told in str(done.exception)


def test_no_agent_and_no_source_is_told_with_the_way_out(tmp_path):
    done = call("list", "--socket", str(tmp_path / "none.sock"))
    assert done.exception.exit_code == 3
    assert "--manifests" in str(done.exception)


def test_a_kernel_that_cannot_be_asked_is_told(monkeypatch):
    async def fail():
        raise KernelError(ErrorKind.DENIED, "Operation not permitted", "connection tracking")

    monkeypatch.setattr(module.ConntrackKernel, "open", fail)
    done = call("stats")
    assert done.exception.exit_code == 4
    assert "ask as root" in str(done.exception)

