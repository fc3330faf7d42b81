"""Facts about this node that Service semantics depend on, as one immutable value.

The daemon gathers them (configuration, the Node object, the kernel's addresses); `build`, the modes' compilers and the oracle read them, so
all of them decide by the same facts. A change of any of them is a new value: routes or static rules are then made anew.
Sources: docs/services.md IN-50 to IN-56, SEM-40 to SEM-45, CFG-30 to CFG-34.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct
from pointsman.routing.route import Family, Protocol

DNS_PORT: Final = 53
DNS_PROTOCOLS: Final = (Protocol.UDP, Protocol.TCP)
"""Where DNS of a node answers, at `NodeFacts.local_dns`."""


class DetectLocal(Enum):
    """How traffic from this node's pods is recognised; the values are kube-proxy's detectLocalMode."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class LocalDetector(Struct, frozen=True):
    """Recognises pods of one family: by source CIDR, or by input interface (its whole name, or a prefix of it).

    A family without a detector has None in its place: then nothing is a pod, and cluster IPs are not masqueraded (SEM-05).
    """

    mode: DetectLocal
    value: str

    @property
    def by_source(self) -> bool:
        """Return whether the value is a CIDR matched against the source address."""
        return self.mode in {DetectLocal.CLUSTER_CIDR, DetectLocal.NODE_CIDR}


class NodePortAddresses(Struct, frozen=True):
    """Where node ports of one family are accepted (SEM-40 to SEM-42).

    `match_all`: every local address, except loopback unless `loopback`. Otherwise: exactly `addresses` (which hold loopback addresses only
    where the mode supports them).
    """

    match_all: bool = True
    addresses: tuple[str, ...] = ()
    loopback: bool = False


class NodeFacts(Struct, frozen=True):
    """This node: name, zone (empty = none), and per family its IP, local addresses, detector and node-port addresses.

    `node_ips` are the Node object's (IN-52) and empty text where unknown; `local_addresses` are the kernel's, without prefix length.
    `masquerade_bit` is 0 to 31. `tcp_be_liberal` is the sysctl as found at start (SEM-70).
    `all_node_addresses` are the addresses of every known Node: Services that claim one are reported.
    `local_dns` are the addresses at whose port 53 this node's own resolver answers while it runs (NLD-21, NLD-41).
    """

    name: str
    zone: str = ""
    node_ips: Mapping[Family, str] = {}
    local_addresses: Mapping[Family, tuple[str, ...]] = {}
    detectors: Mapping[Family, LocalDetector] = {}
    node_ports: Mapping[Family, NodePortAddresses] = {}
    masquerade_all: bool = False
    masquerade_bit: int = 14
    tcp_be_liberal: bool = False
    all_node_addresses: frozenset[str] = frozenset()
    local_dns: Mapping[Family, tuple[str, ...]] = {}

    def detector(self, family: Family) -> LocalDetector | None:
        """Return the family's detector, None if not implemented."""
        return self.detectors.get(family)

    def node_port_addresses(self, family: Family) -> NodePortAddresses:
        """Return where the family's node ports are accepted; by default on all but loopback addresses."""
        return self.node_ports.get(family, NodePortAddresses())


class ExternalIPPolicy(Struct, frozen=True):
    """Which spec.externalIPs are honoured: all (kube-proxy's way), none, or those inside given CIDRs (CVE-2020-8554).

    `refuse_node_addresses`: no external or load-balancer IP may be an address of a node either. A mode that makes Services' addresses its
    own would cut that node off (pain 25).
    """

    deny: bool = False
    allowed_ranges: tuple[str, ...] = ()
    refuse_node_addresses: bool = False
