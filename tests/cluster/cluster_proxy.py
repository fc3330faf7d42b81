"""The peer in the cluster: a real kube-proxy as the DaemonSet that kubeadm installs."""

from pathlib import Path

from cluster_images import tag_of
from cluster_place import NODES
from cluster_traffic import is_ready, kubectl, on_node, pods
from cluster_wait import wait
from plane_programs import ADDRESS

MANIFEST = Path(__file__).parent / "kube-proxy.yaml"


class KubeProxy:
    """kube-proxy's DaemonSet, and its rules on the nodes."""

    def __init__(self, cluster, archive):
        self._cluster = cluster
        words = {"ADDRESS": ADDRESS, "IMAGE": tag_of(archive), "PROGRAMS": str(cluster.binaries)}
        self._text = MANIFEST.read_text()
        for word, value in words.items():
            self._text = self._text.replace(f"{{{{{word}}}}}", value)

    def install(self):
        """Install it, and wait until its Pods are ready and have written their rules: it calls itself healthy before that."""
        kubectl(self._cluster, "apply", "-f", "-", text=self._text)
        wait(lambda: sum(map(is_ready, self._pods())) == len(NODES))
        wait(lambda: all(self.rules(node, tool) for node in NODES for tool in ("iptables", "ip6tables")))

    def remove(self):
        """Delete it as docs/migrate.md says: its Pods go, its configuration and its rules stay."""
        kubectl(self._cluster, "delete", "daemonset", "kube-proxy", "-n", "kube-system", "--ignore-not-found", "--wait=true")
        wait(lambda: not self._pods())

    def clean(self):
        """Let kube-proxy itself remove its rules from the nodes."""
        for node in NODES:
            on_node(self._cluster, node, self._cluster.binaries / "kube-proxy", "--cleanup", check=False)

    def anywhere(self):
        """Return those rules on all nodes."""
        return [line for node in NODES for tool in ("iptables", "ip6tables") for line in self.rules(node, tool)]

    def rules(self, node, tool):
        """Return a node's rules of KUBE-SERVICES where kube-proxy wrote them: pointsman's lead to its buckets.

        All tables are read, because asking for one by name makes it.
        """
        texts = (on_node(self._cluster, node, f"{tool}-{variant}-save") for variant in ("legacy", "nft"))
        saved = (text.partition("*nat\n")[2].partition("COMMIT")[0] for text in texts)
        written = [[line for line in text.splitlines() if line.startswith("-A KUBE-SERVICES ")] for text in saved]
        return [line for lines in written if not any(" -j KUBE-DST" in line for line in lines) for line in lines]

    def _pods(self):
        return pods(self._cluster, "kube-system", "kube-proxy", "k8s-app")
