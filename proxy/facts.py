"""From configuration, Node objects and the kernel's addresses to the facts that Service semantics depend on.

Pure: what the kernel said arrives as a `Host`, what the cluster said as a snapshot's Nodes. The same inputs give the same `NodeFacts`, so
the daemon compares values to find out whether anything must be made anew, and `plan` works on a machine that is no node at all. What looks
wrong is a notice, worded in the flags' names. `proxy.node` makes the Host, `routing` and the modes read the facts.

Sources: docs/services.md IN-50 to IN-56, SEM-40 to SEM-45, CFG-30 to CFG-34.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from pointsman.kube.objects import Node
from pointsman.proxy.config import PRIMARY, Config, family_of
from pointsman.routing.node import DetectLocal, ExternalIPPolicy, LocalDetector, NodeFacts, NodePortAddresses
from pointsman.routing.route import Family, Notice, Severity

LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
"""A node's IP where nothing else is known (IN-52)."""

_ADDRESS_TYPES = ("InternalIP", "ExternalIP")
_LOCAL_MODE_FLAG = "--detect-local-mode"
_NODE_PORT_FLAG = "--nodeport-addresses"


class Host(Struct, frozen=True):
    """What the kernel says: the host's name, its addresses per family without prefix length, and sysctls as found at start."""

    name: str
    addresses: Mapping[Family, tuple[str, ...]] = {}
    tcp_be_liberal: bool = False


class Facts(Struct, frozen=True):
    """The facts, and what looks wrong about them."""

    node: NodeFacts
    notices: tuple[Notice, ...] = ()

_LOOPBACK_RANGE = ipaddress.IPv4Network("127.0.0.0/8")


def node_name(config: Config, host: Host) -> str:
    """Return this node's name, trimmed and in lower case (IN-50); empty if nobody knows it."""
    return (config.hostname_override.strip() or host.name.strip()).lower()


def gather(config: Config, host: Host, nodes: Mapping[str, Node]) -> Facts:
    """Return the facts of this node."""
    name = node_name(config, host)
    node = nodes.get(name)
    node_ips = _node_ips(config, node)
    notices: list[Notice] = []
    facts = NodeFacts(
        name=name,
        zone=(node.metadata.labels.zone or "") if node and node.metadata.labels else "",
        node_ips=node_ips,
        local_addresses={family: tuple(host.addresses.get(family, ())) for family in Family},
        detectors=_detectors(config, node, notices),
        node_ports={family: _node_ports(config, family, node_ips[family], host, notices) for family in Family},
        masquerade_all=config.masquerade_every,
        masquerade_bit=config.mark_bit,
        tcp_be_liberal=host.tcp_be_liberal,
        all_node_addresses=frozenset(address for each in nodes.values() for address in addresses_of(each)),
    )
    return Facts(facts, tuple(notices))


def external_ip_policy(config: Config) -> ExternalIPPolicy:
    """Return which spec.externalIPs are honoured."""
    return ExternalIPPolicy(
        deny=config.external_ips == "deny",
        allowed_ranges=config.external_ip_ranges,
        refuse_node_addresses=needs_all_nodes(config),
    )


def needs_all_nodes(config: Config) -> bool:
    """Return whether all Nodes must be known: the mode makes Services' addresses this node's own, and waits for connections to end."""
    return config.mode == "ipvs"


def loopback_node_ports(config: Config) -> bool:
    """Return whether node ports may be accepted on IPv4 loopback addresses (SEM-45)."""
    if not config.localhost_node_ports or config.mode != "iptables" or config.node_port_addresses == (PRIMARY,):
        return False
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in config.node_port_addresses if family_of(cidr) is Family.IPV4]
    return not networks or any(isinstance(one, ipaddress.IPv4Network) and one.overlaps(_LOOPBACK_RANGE) for one in networks)


def addresses_of(node: Node) -> tuple[str, ...]:
    """Return a Node's internal, then its external addresses, normalised; what is no address is left out."""
    entries = node.status.addresses or ()
    found = (_normal(entry.address) for kind in _ADDRESS_TYPES for entry in entries if entry.type == kind)
    return tuple(address for address in found if address)


def pod_cidrs_of(node: Node) -> tuple[str, ...]:
    """Return the ranges of a Node's pods."""
    return tuple(node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ()))


def _node_ips(config: Config, node: Node | None) -> dict[Family, str]:
    known = dict(LOOPBACK)
    for address in reversed(addresses_of(node) if node else ()):
        family = family_of(address)
        if family:
            known[family] = address
    bind = ipaddress.ip_address(config.bind_address)
    if not bind.is_unspecified:
        known[Family.IPV4 if bind.version == 4 else Family.IPV6] = str(bind)
    return known


def _detectors(config: Config, node: Node | None, notices: list[Notice]) -> dict[Family, LocalDetector]:
    mode = DetectLocal(config.detect_local_mode)
    if mode is DetectLocal.BRIDGE_INTERFACE:
        return {family: LocalDetector(mode, config.pod_bridge_interface) for family in Family}
    if mode is DetectLocal.INTERFACE_NAME_PREFIX:
        return {family: LocalDetector(mode, config.pod_interface_name_prefix) for family in Family}
    if mode is DetectLocal.CLUSTER_CIDR:
        return _by_source(mode, config.cluster_cidr)
    found = _by_source(mode, pod_cidrs_of(node) if node else ())
    if not found:
        text = "NodeCIDR needs spec.podCIDRs of this node's Node object; until it has them no traffic counts as a pod's"
        notices.append(Notice("configuration", _LOCAL_MODE_FLAG, text, Severity.SUSPICIOUS))
    return found


def _by_source(mode: DetectLocal, cidrs: Iterable[str]) -> dict[Family, LocalDetector]:
    """Return a detector per family from the first CIDR of each (CFG-30, CFG-31)."""
    found: dict[Family, LocalDetector] = {}
    for cidr in cidrs:
        family = family_of(cidr)
        if family and family not in found:
            found[family] = LocalDetector(mode, str(ipaddress.ip_network(cidr, strict=False)))
    return found


def _node_ports(config: Config, family: Family, node_ip: str, host: Host, notices: list[Notice]) -> NodePortAddresses:
    """Return where node ports are accepted. A family whose node IP is unknown accepts none under `primary` (SEM-43)."""
    loopback = family is Family.IPV4 and config.localhost_node_ports and config.mode == "iptables"
    if config.node_port_addresses == (PRIMARY,):
        known = node_ip != LOOPBACK[family]
        return NodePortAddresses(match_all=False, addresses=(node_ip,) if known else ())
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in config.node_port_addresses if family_of(cidr) is family]
    if not networks or any(network.prefixlen == 0 for network in networks):
        return NodePortAddresses(match_all=True, loopback=loopback)
    accepted = []
    for address in dict.fromkeys(host.addresses.get(family, ())):
        parsed = ipaddress.ip_address(address)
        if not any(parsed in network for network in networks):
            continue
        if parsed.is_loopback and not loopback:
            notices.append(_loopback_notice(family, address))
        else:
            accepted.append(address)
    if not accepted:
        text = f"no {family.value} address of this node is inside the given CIDRs: its node ports are accepted nowhere"
        notices.append(Notice("configuration", _NODE_PORT_FLAG, text, Severity.SUSPICIOUS))
    return NodePortAddresses(match_all=False, addresses=tuple(sorted(accepted)), loopback=any(map(_is_loopback, accepted)))


def _loopback_notice(family: Family, address: str) -> Notice:
    by_mode = "it takes the iptables mode and --iptables-localhost-nodeports"
    reason = "the kernel cannot route IPv6 loopback" if family is Family.IPV6 else by_mode
    return Notice("configuration", _NODE_PORT_FLAG, f"{address} accepts no node ports: {reason}")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _normal(text: str) -> str:
    """Return an address in its usual form, empty if it is none; leading zeros are decimal (IN-18)."""
    parts = text.strip().split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        text = ".".join(str(int(part)) for part in parts)
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""


def readable(facts: NodeFacts) -> Iterator[tuple[str, str]]:
    """Yield the facts in words, for one log line."""
    yield "node", facts.name
    yield "zone", facts.zone or "none"
    yield "node_ips", ",".join(facts.node_ips.values())
    for family, detector in facts.detectors.items():
        yield f"local_{family.value}", f"{detector.mode.value}:{detector.value}"
