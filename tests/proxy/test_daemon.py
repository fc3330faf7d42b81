import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from fakes.scratch import namespace, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs import wire
from pointsman.kube.errors import ApiConfigError
from pointsman.kube.events import Batch
from pointsman.proxy import daemon, socket
from pointsman.proxy.cli.services import UnreachableError, decode, fetch
from pointsman.proxy.config import Config
from pointsman.proxy.daemon import StartError, prepare
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.proxy.demo.lab_topology import Topology
from pointsman.proxy.facts import Host
from pointsman.proxy.report import ServicesReport
from pointsman.routing.route import Family, Protocol

from .engines import FakeEngine


class FakeMode:
    """A mode whose engine says what the test wants."""

    def __init__(self, errors: Mapping[Family, tuple[KernelError, ...]]) -> None:
        self.errors = errors

    async def open(self, config: Config) -> FakeEngine:
        return FakeEngine(self.errors)


async def test_everything_wrong_with_the_machine_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [KernelError(ErrorKind.UNSUPPORTED, f"not usable: load {name}", name) for name in ("ipset", "xt_recent")]
    monkeypatch.setattr(daemon, "MODES", {"iptables": FakeMode({Family.IPV4: tuple(missing), Family.IPV6: (missing[0],)})})
    with pytest.raises(StartError) as caught:
        await prepare(Config(manifests="m"))
    assert str(caught.value).count("ipset") == 2  # subject and text of one line
    assert "xt_recent" in str(caught.value)


async def test_proc_09_a_kernel_without_ipv6_serves_ipv4(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    absent = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv6 table nat for iptables (legacy): load it", "iptables IPv6")
    monkeypatch.setattr(daemon, "MODES", {"iptables": FakeMode({Family.IPV4: (), Family.IPV6: (absent,)})})
    parts = await prepare(Config(manifests="m", oom_score_adj=0))
    assert list(parts.loops) == [Family.IPV4]
    assert "one IP family only" in caplog.text


async def test_cfg_24_pods_of_a_family_that_this_kernel_lacks_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = KernelError(ErrorKind.UNSUPPORTED, "this kernel has no IPv6 table nat for iptables (legacy): load it", "iptables IPv6")
    monkeypatch.setattr(daemon, "MODES", {"iptables": FakeMode({Family.IPV4: (), Family.IPV6: (absent,)})})
    with pytest.raises(StartError, match=r"--cluster-cidr: fd00::/64 cannot be used: this host serves IPv4 only"):
        await prepare(Config(manifests="m", oom_score_adj=0, cluster_cidr=("fd00::/64",)))


def test_proc_05_init_only_tells_what_it_could_not_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    denied = KernelError(ErrorKind.DENIED, "cannot be set to 5", "sysctl net.x")
    monkeypatch.setattr(daemon.privileges, "prepare_only", lambda _: (denied,))
    assert daemon.prepare_only(Config()) == 1
    assert capsys.readouterr().err == "pointsman run --init-only: sysctl net.x: cannot be set to 5\n"
    monkeypatch.setattr(daemon.privileges, "prepare_only", lambda _: ())
    assert daemon.prepare_only(Config()) == 0


def test_what_arrives_before_the_agent_stands_is_kept_in_order() -> None:
    inbox, taken = daemon.Inbox(), list[Batch]()
    first, second, third = Batch(blind=True), Batch(problems=()), Batch()
    inbox.deliver(first)
    inbox.deliver(second)
    inbox.open(taken.append)
    inbox.deliver(third)
    assert taken == [first, second, third]


async def test_in_50_a_host_without_a_name_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nameless() -> Host:
        return Host("")

    monkeypatch.setattr(daemon.node, "read_host", nameless)
    with pytest.raises(StartError, match="--hostname-override"):
        await prepare(Config(manifests="m"))


def test_proc_01_nothing_is_set_before_it_is_known_whom_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tuned: list[Config] = []
    monkeypatch.setattr(daemon, "MODES", {"iptables": FakeMode({Family.IPV4: (), Family.IPV6: ()})})
    monkeypatch.setattr(daemon.sole, "reserved", partial(daemon.sole.reserved, name=f"\0pointsman/test/daemon/{os.getpid()}"))
    monkeypatch.setattr(daemon.privileges, "tune", tuned.append)
    with pytest.raises(ApiConfigError, match="no such file"):
        asyncio.run(daemon.run(Config(kubeconfig=str(tmp_path / "absent"), oom_score_adj=0)))
    assert tuned == []


def test_an_unexpected_error_is_logged_with_its_traceback_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> int:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(daemon, "run", broken)
    assert daemon.main(Config(manifests="m")) == 1
    assert "all rules stay" in caplog.text
    assert "ZeroDivisionError: a defect" in caplog.text


# --- the whole way, on a real kernel ---------------------------------------------------------------------------------

MANIFEST = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, clusterIP: 10.96.0.10, ports: [{name: http, port: 80, nodePort: 30080}]}
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [%s], nodeName: n1}]
ports: [{name: http, port: 8080, protocol: TCP}]
"""


class Process:
    """A real agent in the laboratory's node n1."""

    def __init__(self, lab: Laboratory, folder: Path, variant: str) -> None:
        self.lab = lab
        self.folder = folder
        self.variant = variant
        self.socket = str(folder / "agent.sock")
        self.log = folder / "agent.log"

    def write(self, name: str, text: str) -> None:
        (self.folder / "objects").mkdir(exist_ok=True)
        (self.folder / "objects" / name).write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return self.lab.command("n1", sys.executable, "-P", "-m", "pointsman.proxy.cli.main", *arguments)

    def arguments(self, *more: str) -> list[str]:
        known = ["--manifests", str(self.folder / "objects"), "--hostname-override=n1", "--cluster-cidr=10.244.0.0/16", "--oom-score-adj=0"]
        return self.command("run", *known, "--socket", self.socket, "--iptables-variant", self.variant, *more)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XTABLES_LOCKFILE": str(self.folder / "xtables.lock")}

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=self.environment())

    def once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.command(*arguments))

    @asynccontextmanager
    async def running(self, number: int = signal.SIGTERM) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the agent; at the end it is told to stop, and must do so with status 0."""
        with self.log.open("a") as log:
            process = await asyncio.create_subprocess_exec(*self.arguments(), stdout=log, stderr=log, env=self.environment())
        try:
            await self.report(lambda report: all(family.in_sync_since for family in report.families) and bool(report.families))
            yield process
            process.send_signal(number)
            async with asyncio.timeout(60):
                assert await process.wait() == 0, self.log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def report(self, until: Callable[[ServicesReport], bool]) -> ServicesReport:
        """Return the agent's report as soon as it is as wanted."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(UnreachableError):
                    report = decode(await asyncio.to_thread(fetch, self.socket, "/v1/services"), self.socket)
                    if until(report):
                        return report
                await asyncio.sleep(0.02)

    def rules(self) -> str:
        """Return all rules and sets of the node, without counters and times."""
        saved = [
            subprocess.run(self.lab.command("n1", *tool), capture_output=True, text=True, check=True).stdout
            for tool in ([f"iptables-{self.variant}-save"], [f"ip6tables-{self.variant}-save"], ["ipset", "save", "-sorted"])
        ]
        lines = [line for line in "\n".join(saved).splitlines() if not line.startswith(("#", ":"))]
        return "\n".join(lines)


@pytest.fixture(params=["legacy", "nft"])
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Process]:
    async with Laboratory(Topology(nodes=1, pods_per_node=3)) as lab:
        one = Process(lab, tmp_path, request.param)
        one.write("web.yaml", MANIFEST)
        one.write("slice.yaml", SLICE % "10.244.1.11")
        yield one
    assert lab.leftovers == ()


async def backend(lab: Laboratory, place: str, address: str, port: int) -> str:
    result = await lab.probe(place, address, port, Protocol.TCP)
    assert result.ending is Ending.ANSWERED, result
    return result.backend


def applied(report: ServicesReport, revision: int) -> bool:
    return all((family.revision_applied or 0) >= revision for family in report.families)


@pytest.mark.kernel
async def test_a_connection_through_a_service_from_start_to_cleanup(process: Process) -> None:
    lab = process.lab
    async with process.running() as running:
        assert await backend(lab, "n1p3", "10.96.0.10", 80) == "n1p1"
        assert await backend(lab, "outside", "192.168.50.1", 30080) == "n1p1"
        before = await process.report(lambda _: True)
        process.write("slice.yaml", SLICE % "10.244.1.12")
        moved = await process.report(lambda report: applied(report, before.revision + 1))
        assert moved.service_ports[0].backends[0].address == "10.244.1.12"
        assert await backend(lab, "n1p3", "10.96.0.10", 80) == "n1p2"
        assert moved.families[0].apply.total == before.families[0].apply.total + 1
        assert moved.families[1].apply.total == before.families[1].apply.total
        second = await asyncio.to_thread(process.run, process.arguments())
        assert (second.returncode, f"another pointsman (process {running.pid}) programs this" in second.stderr) == (1, True)
        assert running.returncode is None
    left = process.rules()
    assert "KUBE-SVC-67NZLRHBNDSAWJRO" in left  # PROC-12
    assert await backend(lab, "n1p3", "10.96.0.10", 80) == "n1p2"
    async with process.running(signal.SIGINT):  # a restart writes nothing
        report = await process.report(lambda _: True)
        assert [one.apply.total for one in report.families] == [0, 0]
    assert process.rules() == left
    dry = process.once("cleanup", "--dry-run")
    assert dry.returncode == 0
    assert "KUBE-SVC-67NZLRHBNDSAWJRO" in dry.stdout
    assert process.rules() == left
    assert process.once("cleanup").returncode == 0
    # KUBE-FIREWALL is kubelet's too, and stays
    assert [line for line in process.rules().splitlines() if ("KUBE-" in line or "POINTSMAN" in line) and "KUBE-FIREWALL" not in line] == []
    again = process.once("cleanup")
    assert (again.returncode, again.stdout) == (0, "nothing of pointsman is in this kernel\n")


@pytest.mark.kernel
async def test_a_second_node_of_this_machine_routes_although_the_status_socket_is_taken(process: Process) -> None:
    """Nodes may be network namespaces of one machine, all with the same default path."""
    with socket.claim(process.socket) as other:
        with process.log.open("a") as log:
            second = await asyncio.create_subprocess_exec(*process.arguments(), stdout=log, stderr=log, env=process.environment())
        async with asyncio.timeout(60):
            while True:
                routed = (await process.lab.probe("n1p3", "10.96.0.10", 80, Protocol.TCP)).backend == "n1p1"
                if routed and "another pointsman answers here" in process.log.read_text():  # the rules come first
                    break
                await asyncio.sleep(0.1)
        second.terminate()
        assert await second.wait() == 0
        assert other.fileno() >= 0
    assert process.log.read_text().count("another pointsman answers here") == 1


@pytest.mark.kernel
async def test_a_broken_file_is_told_everywhere_and_costs_the_others_nothing(process: Process) -> None:
    async with process.running():
        process.write("bad.yaml", "kind: Service\napiVersion: v1\nmetadata: {name: bad, namespace: shop}\nspec: {ports: [{port: many}]}\n")
        report = await process.report(lambda report: bool(report.problems))
        assert "Service shop/bad" in report.problems[0].subject
        assert await backend(process.lab, "n1p3", "10.96.0.10", 80) == "n1p1"
        shown = process.once("services", "--socket", process.socket, "-o", "json")
        assert json.loads(shown.stdout)["problems"][0]["where"].endswith("bad.yaml:4")
        (process.folder / "objects" / "bad.yaml").unlink()
        await process.report(lambda report: not report.problems)
    assert process.log.read_text().count("input not usable") == 1
    assert process.log.read_text().count("input mended") == 1


@pytest.mark.kernel
async def test_health_is_served_inside_the_node(process: Process) -> None:
    async with process.running():
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:10256/healthz').read().decode())"
        asked = await asyncio.to_thread(process.run, process.lab.command("n1", sys.executable, "-P", "-c", code))
    value = json.loads(asked.stdout)
    assert value["healthy"] is True
    assert list(value["status"]) == ["IPv4", "IPv6"]


@pytest.mark.kernel
def test_a_kernel_without_ipvs_is_told_by_the_modules_name_with_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole way from the configuration to the exit status; the kernel is one without, whatever this one has."""
    monkeypatch.setattr(wire, "FAMILY_NAME", "NO-SUCH-FAMILY")
    with namespace():
        assert daemon.main(Config(mode="ipvs", manifests=str(tmp_path))) == 1
        assert "kube-ipvs0" not in shell("ip -o link")
    said = capsys.readouterr().err
    assert said.count("ip_vs is not loaded") == 1
    assert "`modprobe ip_vs`" in said
    assert "--proxy-mode iptables" in said
