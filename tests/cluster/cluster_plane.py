"""The control plane's machine: etcd, API server, controllers, scheduler, and the door through which this machine reaches them."""

import socket
import sys
from pathlib import Path

from cluster_node import machine
from cluster_place import PLANE, ClusterError
from plane_programs import ADDRESS, PORT, apiserver, certified, controllers, etcd, kubeconfig

HERE = Path(__file__).parent
PATIENT = "--node-monitor-grace-period=10m"
"""A busy machine's kubelets report late; their Pods do not count as lost by that."""
INSIDE = f"https://{ADDRESS}:{PORT}"


def specification(cluster, authority):
    """Write the control plane's files, the administrator's kubeconfig among them, and return its machine's specification."""
    folder, binaries = cluster.folder / PLANE, cluster.binaries
    folder.mkdir(exist_ok=True)
    administrator = certified(*authority.issue("admin", "/O=system:masters/CN=admin"))
    inside = kubeconfig(folder / "kubeconfig", INSIDE, authority, administrator)
    port = free_port()
    kubeconfig(cluster.kubeconfig, f"https://127.0.0.1:{port}", authority, administrator).chmod(0o600)
    programs = {
        "etcd": etcd(folder, binaries),
        "kube-apiserver": (*apiserver(folder, binaries, authority, authorization="Node,RBAC"), "--allow-privileged=true",
                           "--kubelet-preferred-address-types=InternalIP"),
        "kube-controller-manager": (*controllers(folder, binaries, authority, inside, ("*",)), PATIENT),
        "kube-scheduler": (binaries / "kube-scheduler", f"--kubeconfig={inside}", "--leader-elect=false", "--bind-address=127.0.0.1"),
        "door": (sys.executable, HERE / "cluster_door.py", ADDRESS, PORT),
    }
    return machine(cluster, PLANE, programs) | {"listen": port}


def free_port():
    """Return a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", 0))
        except OSError as error:
            raise ClusterError(f"no port is free on 127.0.0.1: {error}") from error
        return one.getsockname()[1]
