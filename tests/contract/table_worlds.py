"""The worlds of the contract table: node configurations, each as the daemon's flags and as the facts that the flags must come to.

The facts are written down here, not computed by the daemon's own code: what a flag means is part of what is tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pointsman.proxy.demo.lab_topology import POD_PREFIX, POD_RANGE, Topology
from pointsman.routing.node import DetectLocal, LocalDetector, NodeFacts, NodePortAddresses
from pointsman.routing.route import Family
from table_services import BY_NAME, ZONES

V4, V6 = Family.IPV4, Family.IPV6
TOPOLOGY = Topology(nodes=2, pods_per_node=4)
HELD = ("ranges-with-node", "cc-none", "cl-both", "cl-remote")
"""The Services whose load-balancer IPs the entry node itself holds, as some load balancers have it (SEM-32 is about the first)."""

BY_POD_RANGE = {family: LocalDetector(DetectLocal.CLUSTER_CIDR, POD_RANGE[family]) for family in Family}
ANYWHERE = {V4: NodePortAddresses(loopback=True), V6: NodePortAddresses()}
CLUSTER_CIDR = ("--cluster-cidr", ",".join(POD_RANGE.values()))


@dataclass(frozen=True, eq=False)
class World:
    """One node's configuration; packets enter through node `entry`.

    A `changed` world begins with other Services, which then become those of the table. With `earlier`, these are arguments of an earlier
    daemon that programmed the other Services and ended; without, one daemon lives through the change.
    """

    name: str
    arguments: tuple[str, ...] = CLUSTER_CIDR
    entry: str = "n1"
    detectors: Mapping[Family, LocalDetector] = field(default_factory=lambda: BY_POD_RANGE)
    node_ports: Mapping[Family, NodePortAddresses] = field(default_factory=lambda: ANYWHERE)
    masquerade_all: bool = False
    complete: bool = False
    changed: bool = False
    earlier: tuple[str, ...] = ()

    def __str__(self):
        return self.name

    def held(self, family):
        """Return the load-balancer IPs that the entry node holds."""
        return tuple(BY_NAME[name].balancer_ip(family) for name in HELD)

    def facts(self):
        """Return what the daemon must know about its node."""
        return NodeFacts(
            name=self.entry,
            zone=ZONES[self.entry],
            node_ips={family: TOPOLOGY.places[self.entry].addresses[family] for family in Family},
            local_addresses={family: (*TOPOLOGY.local_addresses(self.entry, family), *self.held(family)) for family in Family},
            detectors=self.detectors,
            node_ports=self.node_ports,
            masquerade_all=self.masquerade_all,
            all_node_addresses=frozenset(TOPOLOGY.places[n].addresses[family] for n in TOPOLOGY.node_names for family in Family),
        )


def _only(*addresses, loopback=False):
    found = {family: tuple(a for a in addresses if (":" in a) is (family is V6)) for family in Family}
    return {family: NodePortAddresses(match_all=False, addresses=found[family], loopback=loopback and family is V4) for family in Family}


_INTERNAL = [TOPOLOGY.places["n1"].addresses[family] for family in Family]
_PREFIX = {family: LocalDetector(DetectLocal.INTERFACE_NAME_PREFIX, POD_PREFIX) for family in Family}
_NODE = {family: LocalDetector(DetectLocal.NODE_CIDR, TOPOLOGY.pod_range("n1", family)) for family in Family}
_ONE_POD = {family: LocalDetector(DetectLocal.BRIDGE_INTERFACE, f"{POD_PREFIX}4") for family in Family}

WORLDS = (
    World("default", complete=True),
    World("default, other node", entry="n2", complete=True),
    World("masquerade all", (*CLUSTER_CIDR, "--masquerade-all"), masquerade_all=True),
    World("no detector", (), detectors={}),
    World("interface prefix", ("--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", POD_PREFIX), detectors=_PREFIX),
    World("bridge interface", ("--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", f"{POD_PREFIX}4"), detectors=_ONE_POD),
    World("node CIDR", ("--detect-local-mode", "NodeCIDR"), detectors=_NODE),
    World("node ports on some addresses", (*CLUSTER_CIDR, "--nodeport-addresses", "192.168.50.0/24,fd00:50::/64"),
          node_ports=_only(*_INTERNAL)),
    World("node ports on primary", (*CLUSTER_CIDR, "--nodeport-addresses", "primary"), node_ports=_only(*_INTERNAL)),
    World("no localhost node ports", (*CLUSTER_CIDR, "--iptables-localhost-nodeports=false"),
          node_ports={family: NodePortAddresses() for family in Family}),
    World("every Service changed", changed=True),
    World("every Service and flag changed while nobody ran", changed=True,
          earlier=("--cluster-cidr", "172.16.0.0/12", "--masquerade-all", "--nodeport-addresses", "primary")),
)
