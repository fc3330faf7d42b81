"""Sockets at the places of a running cluster, so that the traffic of the contract tests runs there: nodes, Pods, and the client outside."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

from cluster_images import container_tool
from cluster_network import PLACES
from cluster_place import NODES
from pointsman.proxy.demo.lab_namespace import Namespaces
from pointsman.proxy.demo.lab_probe import Station
from pointsman.proxy.demo.lab_stream import Stream

OF_TABLE = re.compile(r":\S+ (ACCEPT|DROP) ")


class Adopted(Namespaces):
    """Network namespaces that somebody else made, and removes."""

    def adopt(self, name, path):
        if (before := self._descriptors.pop(name, None)) is not None:
            os.close(before)
        self._descriptors[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self):
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        self.remove()  # what is not known any more is left alone; sockets that wait for use are closed


class Places:
    """What a laboratory offers to those who send packets, in a cluster."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._namespaces = Adopted(cluster.name)
        self._stations = {}
        for place in PLACES:
            self._namespaces.adopt(place, cluster.network(place))

    def take_pods(self, namespace, app):
        """Make places of the running Pods of an app; return their names."""
        names = []
        for pod in pods(self._cluster, namespace, app):
            name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
            pid = process(self._cluster, node, pod["status"]["containerStatuses"][0]["containerID"])
            self._namespaces.adopt(name, Path("/proc", str(self._cluster.pid(node)), "root/proc", str(pid), "ns/net"))
            names.append(name)
        return names

    def socket(self, place, family, kind):
        [made] = self._namespaces.sockets(place, socket.AF_INET if family.value == "IPv4" else socket.AF_INET6, kind)
        return made

    async def probe(self, place, destination, port, protocol, *, source_address=None, timeout_seconds=60.0):
        station = self._stations.get(place)
        if station is None:
            station = self._stations[place] = Station(self._namespaces, place)
        return await station.probe(destination, port, protocol, source_address, timeout_seconds)

    async def stream(self, place, destination, port, source_address=None):
        made = Stream(self._namespaces, place, source_address or "")
        await made.open(destination, port)
        return made

    def close(self):
        for station in self._stations.values():
            station.close()
        self._namespaces.close()


def kubectl(cluster, *arguments, text=None):
    """Run kubectl as the administrator and return what it said; it must succeed."""
    command = [cluster.folder / "bin/kubectl", "--kubeconfig", cluster.kubeconfig, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
    assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
    return done.stdout


def read(cluster, *arguments):
    """Return objects as kubectl gets them."""
    return json.loads(kubectl(cluster, "get", *arguments, "-o", "json"))


def pods(cluster, namespace, app, label="app"):
    """Return the running Pods of an app, none that is on its way out."""
    found = read(cluster, "pods", "-n", namespace, "-l", f"{label}={app}")["items"]
    return [pod for pod in found if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def process(cluster, node, container):
    """Return the id, on its node, of a container's first process."""
    identity = container.rpartition("/")[2]
    for line in container_tool(cluster, node, "tasks", "list").splitlines():
        if line.startswith(identity):
            return int(line.split()[1])
    raise AssertionError(f"{node} runs no container {container}")


def on_node(cluster, node, *command, check=True):
    """Run a command on a node and return what it said."""
    done = subprocess.run(cluster.inside(node, *command), capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{node}: {' '.join(map(str, command))}: {done.stderr}"
    return done.stdout


def kernel_rules(cluster):
    """Return every rule and set on every node: (node, tool) to sorted lines, without counters.

    KUBE-FIREWALL is left out: it is kubelet's as well, whoever comes first makes it, and nobody removes it (IPT-44).
    """
    found = {}
    for node in NODES:
        for tool in ("iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save"):
            found[node, tool] = rules(on_node(cluster, node, tool))
        found[node, "ipset"] = sorted(on_node(cluster, node, "ipset", "save").splitlines())
        found[node, "nft"] = sorted(line for line in on_node(cluster, node, "nft", "list", "tables").splitlines() if "kube-proxy" in line)
    return found


def difference(now, before):
    """Return what two states of the nodes' kernels differ in: where, whether it is more or less, and the line."""
    found = []
    for where, lines in now.items():
        found += [(where, "more", line) for line in lines if line not in before[where]]
        found += [(where, "less", line) for line in before[where] if line not in lines]
    return found


def rules(saved):
    """Return the rules and chains of an iptables-save, sorted and with their tables, without counters, comments and KUBE-FIREWALL.

    A table's own chains do not count: whoever looks at a table may bring it into being.
    """
    table, found = "", []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line
        elif line and not line.startswith(("#", "COMMIT")) and "KUBE-FIREWALL" not in line and not OF_TABLE.match(line):
            found.append(f"{table} {line.partition(' [')[0] if line.startswith(':') else line}")
    return sorted(found)
