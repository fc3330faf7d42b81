"""A node of a laboratory whose agent answers DNS: who asks it, who stands in for it, and how long it takes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fakes import dns as fake
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_topology import Topology
from pointsman.routing.route import Family

PATIENCE = 60.0
VIP = {Family.IPV4: "10.96.0.10", Family.IPV6: "fd00:10:96::a"}
WEB = {Family.IPV4: "10.96.0.80", Family.IPV6: "fd00:10:96::50"}
OWN = {Family.IPV4: "169.254.20.10", Family.IPV6: "fd53::20:10"}
ELSEWHERE = {Family.IPV4: "192.0.2.53", Family.IPV6: "2001:db8::53"}
TYPES = {Family.IPV4: "A", Family.IPV6: "AAAA"}
NAME = "web.shop.svc.cluster.local"


class Node:
    """A node with an agent that answers DNS, a pod that asks, and a pod that is the cluster's DNS."""

    def __init__(self, lab, folder, mode, variant, workers=1):
        self.workers = workers
        self.lab, self.folder, self.mode, self.variant = lab, folder, mode, variant
        self.process = None
        self.log = folder / "agent.log"
        kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        sockets = {family: [self._bound("n1p2", family, kind) for kind in kinds] for family in Family}
        self.cluster = [fake.Everywhere(one, ELSEWHERE[family], two) for family, (one, two) in sockets.items()]
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        pod = lab.place("n1p2").addresses
        dns = (("dns", "UDP", 53), ("dns-tcp", "TCP", 53))
        fake.write(
            self.manifests, "cluster", fake.namespace("shop"), fake.namespace("kube-system"),
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
             "status": {"addresses": [{"type": "InternalIP", "address": one} for one in lab.place("n1").addresses.values()]}},
            fake.service("kube-system", "kube-dns", list(VIP.values()), dns),
            *(fake.endpoint_slice("kube-system", "kube-dns", [address], dns) for address in pod.values()),
            fake.service("shop", "web", list(WEB.values())),
        )  # fmt: skip
        (folder / "Corefile").write_text(
            ".:53 {\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa\n  forward . 127.0.0.1:5300\n  reload\n}\n"
        )

    def _bound(self, place, family, kind):
        found = self.lab.socket(place, family, kind)
        found.bind((self.lab.place(place).addresses[family], 53))
        if kind == socket.SOCK_STREAM:
            found.listen()
        return found

    async def start(self):
        options = {
            "proxy-mode": self.mode, "manifests": str(self.manifests), "hostname-override": "n1", "corefile": str(self.folder / "Corefile"),
            "cluster-cidr": "10.244.0.0/16,fd00:10:244::/48", "iptables-variant": self.variant, "socket": str(self.folder / "agent.sock"),
            "healthz-bind-address": "", "metrics-bind-address": "", "conntrack-max-per-core": "0", "dns": "true",
            "dns-workers": str(self.workers),
            "iptables-min-sync-period": "100ms",
        }  # fmt: skip
        command = self.lab.command(
            "n1", sys.executable, "-P", "-m", "pointsman.proxy.cli.main", "run", *(f"--{name}={value}" for name, value in options.items())
        )
        env = {**os.environ, "XTABLES_LOCKFILE": str(self.folder / "lock"), "PYTHONSAFEPATH": "1"}
        with self.log.open("a") as log:
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=env, start_new_session=True)

    async def stop(self, number=signal.SIGTERM):
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        await self.process.wait()

    def resolvers(self):
        """Return the ids of the resolvers of this node's network namespace."""
        ours = self.run("readlink", "/proc/self/ns/net").strip()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                ours_too = entry.name.isdigit() and b"pointsman.dns.resolver" in (entry / "cmdline").read_bytes()
                if ours_too and str((entry / "ns/net").readlink()) == ours:
                    found.append(int(entry.name))
        return found

    def run(self, *command):
        """Return what a command prints on the node."""
        return subprocess.run(self.lab.command("n1", *command), capture_output=True, text=True, check=True).stdout

    def client(self, family, place="n1p1", kind=socket.SOCK_DGRAM):
        return self.lab.socket(place, family, kind)

    async def asked(self, family, name=NAME, server=None, place="n1p1", seconds=2.0, kind=socket.SOCK_DGRAM):
        """Return what a new client gets, over UDP or TCP."""
        ask = fake.ask if kind == socket.SOCK_DGRAM else fake.ask_stream
        with self.client(family, place, kind) as client:
            return fake.values(await ask(client, (server or VIP[family], 53), name, TYPES[family], seconds))

    async def until(self, wanted, family=Family.IPV4, **options):
        """Wait until a new client gets what is wanted."""
        got = None
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while (got := await self.asked(family, **options)) != wanted:  # noqa: ASYNC110 - the world outside changes
                    await asyncio.sleep(0.05)
                return
        raise AssertionError(f"{got!r} instead of {wanted!r}:\n{self.log.read_text()[-4000:]}")

    async def says(self, command, *, at_least):
        """Wait until a shell command on the node prints a number that is large enough."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while (count := int(self.run("sh", "-c", f"{command} || true") or 0)) < at_least:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.2)
                return
        raise AssertionError(f"{command}: {count} instead of {at_least}:\n{self.log.read_text()[-4000:]}")

    async def grown(self, load, more=2000):
        """Wait until so many more queries were answered."""
        wanted = len(load.waits) + more
        async with asyncio.timeout(PATIENCE):
            while len(load.waits) < wanted:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.02)

    async def gone(self, pid):
        """Wait until a resolver has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while pid in self.resolvers():  # noqa: ASYNC110 - another process ends
                    await asyncio.sleep(0.1)
                return
        raise AssertionError(f"resolver {pid} goes on:\n{self.log.read_text()[-4000:]}")

    def close(self):
        for each in self.cluster:
            each.close()
        for pid in self.resolvers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def running(tmp_path, mode, variant, *, serve=False, workers=1):
    async with Laboratory(Topology(nodes=1, pods_per_node=2), serve=serve) as lab:
        node = Node(lab, tmp_path, mode, variant, workers)
        try:
            await node.start()
            for family in Family:
                await node.until([WEB[family]], family)
            yield node
        finally:
            if node.process.returncode is None:
                await node.stop()
            node.close()
