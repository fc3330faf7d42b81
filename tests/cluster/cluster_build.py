"""Building the cluster up: from nothing to two Ready nodes, or to a clear word about what failed. Each step says what it does."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cluster_images as images
import cluster_network as network
import cluster_node as nodes
import cluster_plane as plane
from cluster_place import MACHINES, NODES, PLANE, ClusterError
from plane_certificates import Authority

READY_SECONDS = 180.0
HERE = Path(__file__).parent
TAIL = 15


def say(text):
    print(f"cluster: {text}", flush=True)


@contextlib.contextmanager
def alone(cluster):
    """Keep other commands about the same cluster waiting. The lock goes with the cluster: whoever waited looks whether it still counts."""
    cluster.folder.parent.mkdir(parents=True, exist_ok=True)
    path = cluster.folder.parent / f".{cluster.name}.lock"
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    continue
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                if not cluster.folder.exists():
                    path.unlink()
            return


def up(cluster, binaries):
    """Build the cluster; one that runs is left as it is, half of one is removed first. Raises ClusterError."""
    if all(map(cluster.pid, MACHINES)):
        wait_ready(cluster)
        return
    if left := down(cluster):
        raise ClusterError("what an earlier cluster left is in the way:\n  " + "\n  ".join(left))
    cluster.folder.mkdir(parents=True)
    (cluster.folder / "logs").mkdir()
    (cluster.folder / "binaries").write_text(str(binaries))
    try:
        build(cluster)
    except BaseException:
        if not os.environ.get("POINTSMAN_CLUSTER_KEEP"):
            down(cluster, keep=True)
        raise


def build(cluster):
    say("network: the control plane, two nodes and a client outside, each in a namespace of its own")
    network.build(cluster)
    say("control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler")
    authority = Authority(cluster.folder)
    start(cluster, PLANE, plane.specification(cluster, authority))
    link_tools(cluster)
    until(cluster, lambda: kubectl(cluster, "get", "--raw", "/readyz"), "the API server is ready", PLANE, "kube-apiserver")
    say(f"nodes: {' and '.join(NODES)}, each with containerd, kubelet and the CNI plug-in bridge")
    for node in NODES:
        nodes.make_control_groups(cluster, node)
        start(cluster, node, nodes.specification(cluster, node, authority))
    for node in NODES:
        until(cluster, lambda node=node: quiet(images.container_tool, cluster, node, "version"), "containerd answers", node, "containerd")
    pause = images.of_one_program(cluster.folder / "pause.tar", nodes.PAUSE, cluster.binaries / "pause")
    images.bring(cluster, pause)
    wait_ready(cluster)


def start(cluster, machine, specification):
    path = cluster.folder / f"{machine}.json"
    path.write_text(json.dumps(specification))
    done = subprocess.run([sys.executable, HERE / "cluster_machine.py", path], capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise ClusterError(f"{machine} does not start: {done.stderr.strip()}")


def link_tools(cluster):
    """Put kubectl, and helm where it was built, into a folder for the person's PATH."""
    folder = cluster.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        for program in (cluster.binaries / name, *sorted(cluster.binaries.glob(f"{name}-*"))):
            if program.exists():
                (folder / name).unlink(missing_ok=True)
                (folder / name).symlink_to(program)


def wait_ready(cluster):
    for node in NODES:
        until(cluster, lambda node=node: is_ready(cluster, node), "the node is Ready", node, "kubelet")


def is_ready(cluster, node):
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(cluster, "get", "node", node, "-o", f"jsonpath={condition}") == "True"


def kubectl(cluster, *arguments):
    """Return what kubectl says, nothing if it fails."""
    command = [cluster.binaries / "kubectl", "--kubeconfig", cluster.kubeconfig, "--request-timeout=10s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def quiet(function, *arguments):
    try:
        return function(*arguments)
    except ClusterError:
        return ""


def until(cluster, so, what, machine, program, seconds=READY_SECONDS):
    """Wait until it is so. Raises ClusterError with the end of the program's log."""
    ends = time.monotonic() + seconds
    while not so():
        if not cluster.pid(machine):
            raise ClusterError(f"{machine} ended:\n{tail(cluster.log('init', machine))}")
        if time.monotonic() > ends:
            raise ClusterError(f"{machine}: after {seconds:.0f} s it is not so that {what}:\n{tail(cluster.log(program, machine))}")
        time.sleep(0.2)


def tail(path):
    if not path.exists():
        return f"  (there is no {path})"
    return "\n".join(f"  {line}" for line in path.read_text(errors="replace").splitlines()[-TAIL:])


def down(cluster, *, keep=False):
    """Remove the cluster; return what could not be removed, in words. With `keep`, its folder stays, logs and all."""
    left = [words for machine in reversed(MACHINES) if (words := cluster.kill(machine))]
    left += network.remove(cluster)
    for node in NODES:
        until_gone = time.monotonic() + 10
        while (stuck := nodes.remove_control_groups(cluster, node)) and time.monotonic() < until_gone:
            time.sleep(0.1)
        left += stuck
    if left or keep or not cluster.folder.exists():
        return left
    try:
        shutil.rmtree(cluster.folder)
    except OSError as error:
        left.append(f"folder {cluster.folder}: {error}")
    return left
