"""The cluster's network: the laboratory's map without its pods (kubelets make those), and the control plane where the cables meet.

Both families everywhere. Nodes route to each other's pods; a client is outside, and `elsewhere` is the nodes' default gateway.
"""

import subprocess

from cluster_place import NODES, PLANE, TOPOLOGY
from plane_programs import ADDRESS
from pointsman.proxy.demo.lab_namespace import Namespaces
from pointsman.routing.route import Family

SYSCTLS = {
    "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_ra": "0", "net/ipv6/conf/default/accept_ra": "0",
}
ON_NODES = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
PLACES = (PLANE, *TOPOLOGY.places)


def build(cluster):
    """Make the namespaces and join them. Raises LabError."""
    spaces = Namespaces(cluster.name)
    spaces.create(PLACES)
    for place in PLACES:
        spaces.sysctl(place, SYSCTLS)
    for node in NODES:
        spaces.sysctl(node, ON_NODES)
    spaces.batches([*TOPOLOGY.batches(cluster.name), (PLANE, "\n".join(plane_lines()))])


def plane_lines():
    """Yield what gives the control plane its address and its ways to pods and to the nodes' second addresses."""
    yield f"addr add {ADDRESS}/24 dev br0"
    yield "addr add fd00:50::250/64 dev br0 nodad"
    for node in NODES:
        for family in Family:
            through = TOPOLOGY.places[node].addresses[family]
            length = 32 if family is Family.IPV4 else 128
            yield f"route add {TOPOLOGY.pod_range(node, family)} via {through}"
            yield f"route add {TOPOLOGY.second(node, family)}/{length} via {through}"


def remove(cluster):
    """Remove the namespaces; return what is left of them, in words."""
    left = []
    for place in PLACES:
        path = cluster.network(place)
        if not path.exists():
            continue
        command = ["ip", "netns", "del", path.name]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
        if path.exists():
            left.append(f"network namespace {path.name}: {said}; remove it by: {' '.join(command)}")
    return left


def address_of(place, family):
    """Return the address by which others reach a node, or the client outside."""
    return TOPOLOGY.places[place].addresses[family]
