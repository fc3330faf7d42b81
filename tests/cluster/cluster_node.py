"""A node's programs and their configuration: containerd with the CNI plug-in `bridge`, and a kubelet, as on any machine.

The paths are the usual ones, because a node has a file system of its own (cluster_machine): nothing needs to be told where anything is,
and manifests that mount a node's files (/run/xtables.lock, /lib/modules) mean the node's.
"""

import json
import os
from pathlib import Path

from cluster_place import TOPOLOGY
from plane_programs import ADDRESS, PORT, certified, kubeconfig
from pointsman.routing.route import Family

PAUSE = "pointsman.dev/pause:1"
PLUGINS = Path("/usr/lib/cni")
BOUND = {"/var/lib/containerd": "containerd", "/var/lib/kubelet": "kubelet"}
"""Folders of a node that cannot lie on an overlay, and their names in its folder."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
CONTAINERD = f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "/etc/cni/net.d"
"""


def cni(node):
    """Return the network configuration: one bridge per node, addresses of both families out of the node's ranges."""
    ranges = [[{"subnet": TOPOLOGY.pod_range(node, family), "gateway": TOPOLOGY.gateway(node, family)}] for family in Family]
    bridge = {
        "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "forceAddress": False,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet(cluster, node):
    """Return the KubeletConfiguration. It trusts everybody who reaches it, which nobody does from outside this machine."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}}, "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{cluster.space(node)}", "failCgroupV1": False, "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "failSwapOn": False, "localStorageCapacityIsolation": False, "resolvConf": "",
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "registerNode": True,
        "nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s", "maxPods": 60, "shutdownGracePeriod": "0s",
        "serializeImagePulls": False, "streamingConnectionIdleTimeout": "1h", "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }


def specification(cluster, node, authority):
    """Write a node's files and return its machine's specification."""
    own = cluster.folder / node
    for folder in (own / "etc", *(own / name for name in BOUND.values())):
        folder.mkdir(parents=True, exist_ok=True)
    binaries, settings = cluster.binaries, own / "kubelet.json"
    settings.write_text(json.dumps(kubelet(cluster, node)))
    (own / "containerd.toml").write_text(CONTAINERD)
    placed = own / "upper-etc/cni/net.d"
    placed.mkdir(parents=True, exist_ok=True)
    (placed / "10-pods.conflist").write_text(json.dumps(cni(node)))
    shown = authority.issue(node, f"/O=system:nodes/CN=system:node:{node}")
    access = kubeconfig(own / "kubeconfig", f"https://{ADDRESS}:{PORT}", authority, certified(*shown))
    addresses = ",".join(TOPOLOGY.places[node].addresses[family] for family in Family)
    programs = {
        "containerd": ("containerd", "--config", own / "containerd.toml", "--log-level", "info"),
        "kubelet": (binaries / "kubelet", f"--config={settings}", f"--kubeconfig={access}", f"--node-ip={addresses}",
                    f"--hostname-override={node}", "--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki", "--v=2"),
    }
    return machine(cluster, node, programs) | {
        "own": str(own), "bound": {inside: str(own / name) for inside, name in BOUND.items()} | {str(cluster.folder): str(cluster.folder)},
    }


def machine(cluster, name, programs):
    """Return the part of a specification that all machines have."""
    described = [{"name": program, "command": list(map(str, command)), "log": str(cluster.log(program, name))}
                 for program, command in programs.items()]
    return {"name": name, "network": str(cluster.network(name)), "record": str(cluster.record(name)),
            "log": str(cluster.log("init", name)), "programs": described}


def control_groups():
    """Return the folders in which a control group is made: that of each controller, or the one of all."""
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        return [CONTROL_GROUPS]
    return [path for path in sorted(CONTROL_GROUPS.iterdir()) if path.is_dir() and not path.is_symlink() and (path / "tasks").exists()]


def make_control_groups(cluster, node):
    """Give the node's Pods a control group of their own, or each kubelet would remove the other's."""
    for folder in control_groups():
        made = folder / cluster.space(node)
        made.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (folder / "tasks").exists() and (made / name).exists():
                (made / name).write_text((folder / name).read_text())
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        wanted = " ".join(f"+{one}" for one in (CONTROL_GROUPS / "cgroup.controllers").read_text().split())
        for folder in (CONTROL_GROUPS, CONTROL_GROUPS / cluster.space(node)):
            (folder / "cgroup.subtree_control").write_text(wanted)


def remove_control_groups(cluster, node):
    """Remove the node's control groups, the innermost first; return what is left, in words."""
    left = []
    for folder in control_groups():
        top = folder / cluster.space(node)
        for path, _, _ in os.walk(top, topdown=False):
            try:
                Path(path).rmdir()
            except OSError as error:
                left.append(f"control group {path}: {error.strerror}")
    return left
