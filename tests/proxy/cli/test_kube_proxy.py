import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pointsman.proxy import version
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import Topology


def kube_proxy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pointsman.proxy.cli.kube_proxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_tells_the_release_that_it_takes_the_place_of() -> None:
    assert kube_proxy("--version").stdout == f"Kubernetes {version.release()}\n"
    assert kube_proxy("--version=raw").stdout == version.raw() + "\n"


def test_cfg_41_what_is_wrong_is_told_under_its_name() -> None:
    done = kube_proxy("--no-such-flag", "stray", "--proxy-mode=magic")
    assert done.returncode == 2
    assert done.stderr.startswith("kube-proxy: ")
    assert "--no-such-flag: unknown flag" in done.stderr
    assert "'magic' is unknown" in done.stderr


def test_proc_06_it_writes_what_is_in_force(tmp_path: Path) -> None:
    target = tmp_path / "written.conf"
    done = kube_proxy("--write-config-to", target, "--proxy_mode=ipvs", "--cluster-cidr=10.244.0.0/16", "-v=2")
    assert (done.returncode, done.stderr) == (0, "")
    text = target.read_text()
    assert "mode: ipvs\n" in text
    assert "clusterCIDR: 10.244.0.0/16\n" in text
    again = tmp_path / "again.conf"
    assert kube_proxy("--config", target, "--write-config-to", again).returncode == 0
    assert again.read_text() == text


def test_help_is_short_to_ask_for() -> None:
    assert "--iptables-masquerade-bit" in kube_proxy("-h").stdout


# --- in a node of the laboratory ---------------------------------------------------------------------------------------

PATIENCE = 60.0

CONFIG = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: ""}}
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: {{maxPerCore: null, min: null, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null}}
iptables: {{masqueradeBit: {bit}, minSyncPeriod: 0s, syncPeriod: 0s}}
mode: ""
oomScoreAdj: 0
portRange: ""
---
apiVersion: pointsman.dev/v1alpha1
kind: PointsmanConfiguration
manifests: {folder}
socket: {socket}
iptables: {{variant: nft}}
"""
OBJECTS = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.1.11], nodeName: n1}]
ports: [{name: http, port: 8080, protocol: TCP}]
"""
ESTABLISHED = "net/netfilter/nf_conntrack_tcp_timeout_established"


class Node:
    """The program in node n1 of a laboratory, with its files in a folder."""

    def __init__(self, lab: Laboratory, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.config = folder / "config.conf"
        self.log = folder / "log"
        (folder / "objects").mkdir()
        (folder / "objects" / "web.yaml").write_text(OBJECTS)
        self.configure(14)

    def configure(self, bit: int) -> None:
        """Replace the configuration file, as an editor does."""
        other = self.folder / "new"
        other.write_text(CONFIG.format(bit=bit, folder=self.folder / "objects", socket=self.folder / "agent.sock"))
        other.rename(self.config)

    def command(self, *arguments: object) -> list[str]:
        return self.lab.command("n1", sys.executable, "-P", "-m", "pointsman.proxy.cli.kube_proxy", *map(str, arguments))

    def environment(self) -> dict[str, str]:
        mine = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_") and key != "KUBECONFIG"}
        return {**mine, "XTABLES_LOCKFILE": str(self.folder / "xtables.lock")}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=self.environment())

    def sysctl(self, path: str) -> str:
        return self.run(*self.lab.command("n1", "cat", f"/proc/sys/{path}")).stdout.strip()

    def rules(self) -> str:
        return self.run(*self.lab.command("n1", "iptables-nft-save", "-t", "nat")).stdout

    async def start(self) -> asyncio.subprocess.Process:
        with self.log.open("a") as log:
            arguments = self.command(f"--config={self.config}", "--hostname-override=n1")
            return await asyncio.create_subprocess_exec(*arguments, stdout=log, stderr=log, env=self.environment())

    async def holds(self, text: str) -> None:
        """Wait until the kernel holds a rule."""
        async with asyncio.timeout(PATIENCE):
            while text not in await asyncio.to_thread(self.rules):  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(0.1)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Laboratory(Topology(nodes=1, pods_per_node=1)) as lab:
        yield Node(lab, tmp_path)
    assert lab.leftovers == ()


@pytest.mark.kernel
async def test_proc_07_it_runs_as_its_daemonset_runs_it_and_ends_when_the_file_changes(node: Node) -> None:
    first = await node.start()
    await node.holds("10.244.1.11:8080")
    assert node.sysctl(ESTABLISHED) == "86400"  # CT-22
    assert "0x4000" in node.rules()
    node.configure(5)
    async with asyncio.timeout(PATIENCE):
        assert await first.wait() == 1
    log = node.log.read_text()
    assert "the configuration file changed" in log
    assert "Traceback" not in log
    assert "10.244.1.11:8080" in node.rules()  # PROC-12
    second = await node.start()
    await node.holds("0x20")
    second.terminate()
    async with asyncio.timeout(PATIENCE):
        assert await second.wait() == 0


@pytest.mark.kernel
async def test_proc_05_init_only_makes_the_settings_once_and_writes_no_rules(node: Node) -> None:
    wanted = ("--init-only", "--conntrack-max-per-core=0", "--conntrack-tcp-be-liberal", "--conntrack-udp-timeout=33s")
    for written in (True, False):
        done = await asyncio.to_thread(node.run, *node.command(*wanted))
        assert done.returncode == 0, done.stderr
        assert ("set limits of connection tracking" in done.stderr) is written
    assert node.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal") == "1"
    assert node.sysctl("net/netfilter/nf_conntrack_udp_timeout") == "33"
    assert node.sysctl("net/ipv4/conf/all/route_localnet") == "1"
    assert "KUBE-" not in await asyncio.to_thread(node.rules)


@pytest.mark.kernel
async def test_proc_05_after_init_only_the_right_to_program_the_network_is_enough(node: Node) -> None:
    limits = ("--conntrack-max-per-core=0", "--conntrack-tcp-be-liberal")
    done = await asyncio.to_thread(node.run, *node.command("--init-only", *limits))
    assert done.returncode == 0, done.stderr
    few = ("setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all")
    inside = node.lab.command("n1", *few, *node.command()[len(node.lab.command("n1")) :])
    source = (f"--manifests={node.folder / 'objects'}", f"--socket={node.folder / 'agent.sock'}", "--iptables-variant=nft")
    with node.log.open("a") as log:
        command = (*inside, *source, *limits, "--hostname-override=n1", "--cluster-cidr=10.244.0.0/16")
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=node.environment())
    await node.holds("10.244.1.11:8080")
    process.terminate()
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
    log = node.log.read_text()
    assert "a limit of connection tracking stays as it is" not in log
    assert "route_localnet" not in log


@pytest.mark.kernel
async def test_proc_05_what_init_only_cannot_do_is_an_error_with_its_remedy(node: Node) -> None:
    """The size of the table is the host's: a namespace may not change it, and that is what is tried here."""
    done = await asyncio.to_thread(node.run, *node.command("--init-only", "--conntrack-min=1000003", "--conntrack-max-per-core=1"))
    assert done.returncode == 1
    assert "sysctl net.netfilter.nf_conntrack_max: cannot be set to 1000003" in done.stderr
    assert "sysctl -w net.netfilter.nf_conntrack_max=1000003" in done.stderr


@pytest.mark.kernel
async def test_proc_08_without_a_way_to_the_api_it_says_what_to_do(node: Node) -> None:
    done = await asyncio.to_thread(node.run, *node.command("--hostname-override=n1", "--conntrack-max-per-core=0"))
    assert done.returncode == 1
    assert "--kubeconfig" in done.stderr
    assert "Traceback" not in done.stderr
    assert "KUBE-" not in await asyncio.to_thread(node.rules)
