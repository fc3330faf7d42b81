"""A real control plane in the laboratory: etcd, kube-apiserver and kube-controller-manager as processes in the underlay's namespace.

    async with ControlPlane(lab, folder, binaries) as plane:
        await plane.api.create(...)
        plane.kubeconfig(path, token_file=...)

TLS and RBAC are on. The controllers that run are those that Services need: EndpointSlices with their hints, service accounts and
namespaces. There are no kubelets: `plane_objects` says what they would say. The binaries are built by tools/e2e-build.
"""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import aiohttp
from plane_api import Api, ApiError
from plane_certificates import Authority
from plane_programs import ADDRESS, ETCD, PORT, apiserver, certified, controllers, etcd, kubeconfig
from plane_wait import until
from pointsman.proxy.demo.lab_topology import UNDERLAY
from pointsman.routing.route import Family

DOOR = 6444
"""Where the faulty proxy (plane_proxy) listens."""
READY_SECONDS = 300.0
STOP_SECONDS = 20.0
CONTROLLERS = ("endpointslice-controller", "endpointslice-mirroring-controller", "serviceaccount-controller",
               "serviceaccount-token-controller", "namespace-controller", "root-ca-certificate-publisher-controller",
               "service-cidr-controller")


class Process:
    """A program in a namespace, with its log."""

    def __init__(self, lab, place, log, command, environment=None):
        self._lab, self._place, self.log, self._command = lab, place, log, command
        self._environment = {**os.environ, **(environment or {})}
        self._process = None

    async def start(self):
        command = self._lab.command(self._place, *map(str, self._command))
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment, start_new_session=True
            )

    @property
    def running(self):
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self):
        return self._process.pid

    def send(self, number):
        self._process.send_signal(number)

    async def stop(self, number=signal.SIGTERM):
        """End it; by force if it does not end by itself."""
        if not self.running:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class ControlPlane:
    """The control plane, from `async with` until its end."""

    def __init__(self, lab, folder: Path, binaries: Path):
        self.lab, self.folder = lab, folder
        self.server = f"https://{ADDRESS}:{PORT}"
        self.authority = Authority(folder)
        self._admin = self.authority.issue("admin", "/O=system:masters/CN=e2e-admin")
        self._configure_network()
        self.etcd = Process(lab, UNDERLAY, folder / "etcd.log", etcd(folder, binaries))
        self.apiserver = Process(lab, UNDERLAY, folder / "kube-apiserver.log", apiserver(folder, binaries, self.authority))
        managing = controllers(folder, binaries, self.authority, self.admin_kubeconfig(), CONTROLLERS)
        self.controllers = Process(lab, UNDERLAY, folder / "kube-controller-manager.log", managing)
        self.api = self.client()

    def client(self, place=UNDERLAY, server="", **identity):
        """Return a client in a namespace; the administrator unless it is told another identity."""
        return Api(self.lab, place, server or self.server, self.authority.certificate, **(identity or {"certificate": self._admin}))

    async def __aenter__(self):
        try:
            await self.etcd.start()
            await self.apiserver.start()
            await self.ready()
            await self.controllers.start()
            await self._accounts()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        await self.api.close()
        await asyncio.gather(*(one.stop(signal.SIGKILL) for one in (self.controllers, self.apiserver, self.etcd)))

    async def ready(self):
        """Wait until the API server answers that it is ready."""

        async def answers():
            try:
                return await self.api.text("/readyz")
            except (ApiError, aiohttp.ClientError, OSError):
                assert self.apiserver.running, f"kube-apiserver ended:\n{self.apiserver.tail()}\n{self.etcd.tail()}"

        await until(answers, READY_SECONDS, self.apiserver.tail)

    async def restart(self):
        """Kill the API server as the kernel does when memory runs out, and start it again: its watch cache begins anew."""
        await self.apiserver.stop(signal.SIGKILL)
        await self.apiserver.start()
        await self.ready()

    async def compact(self):
        """Make etcd forget every revision but the newest, as the API server does every five minutes."""
        [made] = await self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "revision-"}})
        revision = int(made["metadata"]["resourceVersion"])
        await self.api.delete(f"/api/v1/namespaces/{made['metadata']['name']}")
        await self._etcd_call("/v3/kv/compaction", {"revision": str(revision), "physical": True})

    def kubeconfig(self, path: Path, *, server="", token_file=None, certificate=None, exec_command=()):
        """Write a kubeconfig and return its path."""
        user = {}
        if token_file:
            user["tokenFile"] = str(token_file)
        if certificate:
            user |= certified(*certificate)
        if exec_command:
            program, *arguments = map(str, exec_command)
            version = "client.authentication.k8s.io/v1"
            user["exec"] = {"apiVersion": version, "command": program, "args": arguments, "interactiveMode": "Never"}
        return kubeconfig(path, server or self.server, self.authority, user)

    def admin_kubeconfig(self):
        """Write the administrator's kubeconfig and return its path."""
        return self.kubeconfig(self.folder / "admin.kubeconfig", certificate=self._admin)

    async def token(self, account, seconds=3600, namespace="kube-system"):
        """Return a fresh token of a service account."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        made = await self.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
        return made["status"]["token"]

    async def _accounts(self):
        """Wait until the controllers work: the first thing that they make is the default service account."""


        async def made():
            assert self.controllers.running, f"kube-controller-manager ended:\n{self.controllers.tail()}"
            return await self.api.exists("/api/v1/namespaces/default/serviceaccounts/default")

        await until(made, READY_SECONDS, self.controllers.tail)

    async def _etcd_call(self, path, body):
        connector = aiohttp.TCPConnector(socket_factory=self._socket)
        async with aiohttp.ClientSession(connector=connector) as session, session.post(ETCD + path, json=body) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return json.loads(text)

    def _socket(self, information):
        [made] = self.lab._namespaces.sockets(UNDERLAY, information[0], information[1])
        return made

    def _configure_network(self):
        """Give the underlay an address that nodes reach, and its ways back to pods and to the nodes' second addresses."""
        topology = self.lab.topology
        lines = [f"addr add {ADDRESS}/24 dev br0"]
        for node in topology.node_names:
            through = topology.places[node].addresses[Family.IPV4]
            lines += [f"route add {topology.pod_range(node, Family.IPV4)} via {through}",
                      f"route add {topology.second(node, Family.IPV4)}/32 via {through}"]
        self.lab.configure(UNDERLAY, "\n".join(lines) + "\n")
