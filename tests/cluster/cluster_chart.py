"""The chart in the cluster: installed by helm as a person does it, looked at as kubelets run it, taken off again."""

import json
import os
import subprocess
from pathlib import Path

from cluster_place import NODES
from cluster_traffic import is_ready, kernel_rules, kubectl, on_node, pods, process, read
from cluster_wait import LONG, wait

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/pointsman"
VALUES = Path(__file__).parent / "values.yaml"
RELEASE = "pointsman"
NAMESPACE = "kube-system"
LABEL = "app.kubernetes.io/name"
BITS = {12: "NET_ADMIN", 13: "NET_RAW"}


def helm(cluster, *arguments):
    """Run helm; it must succeed."""
    command = [cluster.folder / "bin/helm", *arguments, "--kubeconfig", cluster.kubeconfig, "--namespace", NAMESPACE]
    # What helm keeps for itself belongs to the cluster's folder.
    places = {f"HELM_{name}_HOME": str(cluster.folder / "helm") for name in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **places})
    assert done.returncode == 0, f"helm {' '.join(map(str, arguments))}: {done.stderr}{done.stdout}"
    return done.stdout


def install(cluster, *values):
    """Install the chart of this checkout, or change it to these values, and wait for its Pods; what is not given is as the chart has it."""
    told = [part for value in values for part in ("--set", value)]
    helm(cluster, "upgrade", "--install", RELEASE, CHART, "--reset-values", "--values", VALUES, *told)
    kubectl(cluster, "rollout", "status", f"daemonset/{RELEASE}", "-n", NAMESPACE, f"--timeout={LONG:.0f}s")


def installed(cluster):
    return any(one["name"] == RELEASE for one in json.loads(helm(cluster, "list", "--all", "-o", "json")))


def end(cluster):
    """End the agents as docs/migrate.md says on the way back to kube-proxy; their rules stay."""
    kubectl(cluster, "delete", "daemonset", RELEASE, "-n", NAMESPACE, "--wait=true")
    wait(lambda: not pods(cluster, NAMESPACE, RELEASE, LABEL))


def remove(cluster):
    """Take it off as docs/install.md says: first the rules, then the release."""
    if installed(cluster):
        install(cluster, "cleanup=true")
        helm(cluster, "uninstall", RELEASE, "--wait")
        wait(lambda: not pods(cluster, NAMESPACE, RELEASE, LABEL))


def bare(cluster):
    """Return the rules of every node without ours, but with kubelet's: the rules of before."""
    remove(cluster)
    wait(lambda: all("KUBE-KUBELET-CANARY" in on_node(cluster, node, "iptables-save") for node in NODES))
    return kernel_rules(cluster)


def agents(cluster):
    """Return the agent's Pods by node."""
    return {pod["spec"]["nodeName"]: pod for pod in pods(cluster, NAMESPACE, RELEASE, LABEL)}


def all_ready(cluster):
    found = agents(cluster)
    return set(found) == set(NODES) and all(map(is_ready, found.values())) and found


def status(cluster, node, container):
    """Return what the kernel says of a container's first process: the fields of /proc/PID/status."""
    pid = process(cluster, node, container)
    lines = on_node(cluster, node, "cat", f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def capabilities(mask):
    """Return the names of capabilities in a mask; a number where this project has no word for one."""
    number = int(mask, 16)
    return {BITS.get(bit, str(bit)) for bit in range(64) if number >> bit & 1}


def sections(cluster):
    """Return the DaemonSet's Pod template as the API server has it."""
    return read(cluster, "daemonset", RELEASE, "-n", NAMESPACE)["spec"]["template"]["spec"]
