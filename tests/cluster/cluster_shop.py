"""The shop in the cluster, and where its Services answer."""

from cluster_network import address_of
from cluster_place import NODES
from cluster_traffic import is_ready, kubectl, pods, read
from cluster_wait import wait
from pointsman.routing.route import Family, Protocol

IMAGE = "docker.io/library/python:3.13-slim"
"""What its Pods name; here another image that has Python goes by that name."""
FOLDER = "examples/shop-cluster"
APPS = {"web": 3, "cart": 2, "gateway": 1, "database": 1, "till": len(NODES)}
OUTSIDE = "outside"
WEB_NODE_PORT, GATEWAY_NODE_PORT, HEALTH_NODE_PORT = 30080, 30443, 32443


class Shop:
    """The shop, deployed; `addresses` are the cluster IPs of its Services, by name and family."""

    def __init__(self, cluster, places):
        self.cluster, self.places = cluster, places

    def open(self, root):
        """Deploy it, and wait until every Pod that can be ready is."""
        kubectl(self.cluster, "apply", "-k", root / FOLDER)
        wait(self.complete, lambda: kubectl(self.cluster, "get", "pods", "-A", "-o", "wide"))
        self.places.take_pods("shop", "till")

    def complete(self):
        counted = {app: len(self.ready(app)) for app in APPS}
        return counted == APPS and len(self.ready("statsd", "monitoring")) == len(NODES)

    def ready(self, app, namespace="shop"):
        """Return an app's ready Pods."""
        return [pod for pod in pods(self.cluster, namespace, app) if is_ready(pod)]

    def names(self, app, namespace="shop"):
        return {pod["metadata"]["name"] for pod in self.ready(app, namespace)}

    def execute(self, pod, *command):
        """Run a command in a Pod."""
        return kubectl(self.cluster, "exec", "-n", "shop", pod, "--", *command)

    def one(self, app):
        """Return the Pod of an app that has one."""
        [pod] = wait(lambda: len(found := pods(self.cluster, "shop", app)) == 1 and found)
        return pod

    def client(self, node):
        """Return the client Pod on a node."""
        [pod] = [pod for pod in pods(self.cluster, "shop", "till") if pod["spec"]["nodeName"] == node]
        return pod

    def till(self, node):
        """Return the place of the client Pod on a node."""
        return self.client(node)["metadata"]["name"]

    def cluster_ips(self, service, namespace="shop"):
        """Return a Service's addresses by family."""
        found = read(self.cluster, "service", service, "-n", namespace)["spec"]["clusterIPs"]
        return {Family.IPV6 if ":" in one else Family.IPV4: one for one in found}

    def targets(self):
        """Return (place, address, port, protocol) of everything that clients of the shop ask."""
        found = []
        for service, port, protocol, namespace in (
            ("web", 80, Protocol.TCP, "shop"), ("cart", 7070, Protocol.TCP, "shop"), ("statsd", 8125, Protocol.UDP, "monitoring"),
        ):
            for one in self.cluster_ips(service, namespace).values():
                found += [(place, one, port, protocol) for place in (*map(self.till, NODES), *NODES)]
        return found + self.from_outside()

    def from_outside(self):
        """Return those targets that are the web's node port."""
        return [(OUTSIDE, address_of(node, family), WEB_NODE_PORT, Protocol.TCP) for node in NODES for family in Family]
