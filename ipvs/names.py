"""Which names exist in the ipvs mode, and whose they are. Pure.

The device and the ipsets keep kube-proxy's names where they mean the same, so what people know goes on working; chains are `KUBE-IPVS-...`
throughout. No chain name is shared with the iptables mode: both modes can be in the kernel at once, which is what a switch without a gap
needs. A process without memory recognises its own by these names. Whose a virtual server is, says `ownership`.

Marks: packets of pods and of this node to an external address whose policy is Local go to all endpoints, others to those of this node.
IPVS tells them apart by a firewall mark, which must be the whole mark of a packet. Ours begin with 0x6, the rest names the Service port
(`mark`). IPv4 and IPv6 have separate tables, so a mark is unique within a family.
"""

from hashlib import sha256
from typing import Final

from msgspec import Struct
from pointsman.iptables.names import endpoint_chain, jump_target, service_chains
from pointsman.iptables.objects import RuleKey
from pointsman.routing.route import Backend, Family, Protocol, ServicePortName, ServiceRoute

DEVICE: Final = "kube-ipvs0"
PREFIX: Final = "KUBE-IPVS-"

FORWARD: Final = "KUBE-IPVS-FORWARD"
INPUT: Final = "KUBE-IPVS-INPUT"
OUTPUT: Final = "KUBE-IPVS-OUTPUT"
FILTER: Final = "KUBE-IPVS-FILTER"
SERVICES: Final = "KUBE-IPVS-SERVICES"
POSTROUTING: Final = "KUBE-IPVS-POSTROUTING"
SOURCES: Final = "KUBE-IPVS-SOURCES"
FIREWALL: Final = "KUBE-IPVS-FIREWALL"
LOCAL_DNS: Final = "KUBE-IPVS-DNS"
"""What leads queries to this node's own resolver, in tables raw and filter (`iptables.local_dns`), and in nat those that it does not answer
to the cluster's DNS (`dns_frontends`): there it is a chain of many owners, and the beginning of their chains' names."""

DNS_GROUP: Final = ("nat", LOCAL_DNS)
"""The chain of many owners."""

TABLES: Final = ("filter", "nat", "mangle", "raw")
BUILTIN: Final = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_HOOK: Final = '-m comment --comment "kubernetes services, ipvs" -j '

HOOKS: Final = tuple(
    RuleKey(table, chain, f"{_HOOK}{target}")
    for table, chain, target in (
        ("mangle", "PREROUTING", SOURCES),
        ("mangle", "OUTPUT", SOURCES),
        ("nat", "PREROUTING", SERVICES),
        ("nat", "OUTPUT", SERVICES),
        ("nat", "POSTROUTING", POSTROUTING),
        ("filter", "INPUT", INPUT),
        ("filter", "OUTPUT", OUTPUT),
        ("filter", "FORWARD", FORWARD),
    )
)
"""One jump from each built-in chain that matters, so that no order among them is needed."""

DNS_HOOKS: Final = tuple(RuleKey("raw", chain, f"{_HOOK}{LOCAL_DNS}") for chain in ("PREROUTING", "OUTPUT"))
"""Further jumps of a node with a resolver of its own."""

MARK_PREFIX: Final = 0x60000000
MARK_MASK: Final = 0xF0000000
_HASHED: Final = 1 << 27
_PROTOCOL_SHIFT: Final = 25
_HASH_MASK: Final = (1 << _PROTOCOL_SHIFT) - 1
_IDENTITY_MASK: Final = (1 << 22) - 1
_PROTOCOLS: Final = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)

_MAX_ELEMENTS: Final = 1 << 20
_INET: Final = {Family.IPV4: "inet", Family.IPV6: "inet6"}


class SetNames(Struct, frozen=True):
    """The ipsets of one family (IPVS-20), by what they hold.

    Frontends that are forwarded, by kind: `cluster_ip`, `external_ip`, `load_balancer` and `node_port` (external ones with policy Cluster),
    `short_circuit` (external ones with policy Local; an element carries the mark of the virtual server for pods and this node). Frontends
    that are not: `no_endpoints` (rejected), `no_local_endpoints` (dropped). Load-balancer IPs with source ranges: `restricted`,
    `source_cidr`, `source_ip`. `loop_back`: connections of endpoints to themselves. `addresses`: all of our device. `health_checks`: ports.
    """

    cluster_ip: str
    external_ip: str
    load_balancer: str
    node_port: str
    short_circuit: str
    no_endpoints: str
    no_local_endpoints: str
    restricted: str
    source_cidr: str
    source_ip: str
    loop_back: str
    addresses: str
    health_checks: str

    @property
    def forwarded(self) -> tuple[str, ...]:
        """Return the sets of frontends that have a virtual server."""
        return (self.cluster_ip, self.external_ip, self.load_balancer, self.node_port, self.short_circuit)


def _names(prefix: str) -> SetNames:
    return SetNames(
        cluster_ip=f"{prefix}CLUSTER-IP",
        external_ip=f"{prefix}EXTERNAL-IP",
        load_balancer=f"{prefix}LOAD-BALANCER",
        node_port=f"{prefix}NODE-PORT",
        short_circuit=f"{prefix}SHORT-CIRCUIT",
        no_endpoints=f"{prefix}NO-ENDPOINTS",
        no_local_endpoints=f"{prefix}NO-LOCAL-ENDPOINTS",
        restricted=f"{prefix}LOAD-BALANCER-FW",
        source_cidr=f"{prefix}LOAD-BALANCER-SOURCE-CIDR"[:31],
        source_ip=f"{prefix}LOAD-BALANCER-SOURCE-IP"[:31],
        loop_back=f"{prefix}LOOP-BACK",
        addresses=f"{prefix}IPVS-IPS",
        health_checks=f"{prefix}HEALTH-CHECK-NODE-PORT",
    )


SETS: Final = {Family.IPV4: _names("KUBE-"), Family.IPV6: _names("KUBE-6-")}


def set_types(family: Family) -> dict[str, str]:
    """Return the sets that a family has, each with its type and options as `ipset save` prints them."""
    sets = SETS[family]
    options = f"family {_INET[family]} maxelem {_MAX_ELEMENTS}"
    frontends = (*sets.forwarded[:-1], sets.no_endpoints, sets.no_local_endpoints, sets.restricted)
    return {
        **dict.fromkeys(frontends, f"hash:ip,port {options}"),
        sets.short_circuit: f"hash:ip,port {options} skbinfo",
        sets.source_cidr: f"hash:ip,port,net {options}",
        sets.source_ip: f"hash:ip,port,ip {options}",
        sets.loop_back: f"hash:ip,port,ip {options}",
        sets.addresses: f"hash:ip {options}",
        sets.health_checks: "bitmap:port range 0-65535",
    }


ALL_SETS: Final = {family: frozenset(set_types(family)) for family in Family}


def spare(name: str) -> str:
    """Return the name under which a set is built that is to take another one's place."""
    return f"{PREFIX}NEW-{sha256(name.encode()).hexdigest()[:8]}"


_SPARES: Final = {family: frozenset(map(spare, found)) for family, found in ALL_SETS.items()}


def is_our_set(name: str, family: Family) -> bool:
    """Return whether a set of this name is ours in this family; one that an interrupted exchange left behind is too."""
    return name in ALL_SETS[family] or name in _SPARES[family]


def is_our_chain(table: str, chain: str) -> bool:
    """Return whether a chain is ours."""
    return table in TABLES and chain.startswith(PREFIX)


def is_shared(table: str, chain: str) -> bool:
    """Return whether a chain of ours has rules of several owners, in any order; all others are one owner's."""
    return (table, chain) == DNS_GROUP


def dns_chain(name: ServicePortName, *, local: bool) -> str:
    """Return the chain of the backends of a port of the cluster's DNS: all, or those on this node."""
    return f"{LOCAL_DNS}-{name.protocol.value}-{service_chains(name).cluster[-8:]}{'-L' if local else ''}"


def dns_endpoint_chain(name: ServicePortName, backend: Backend) -> str:
    """Return the chain, and the list of recent clients, of one of them where the Service has session affinity."""
    return f"{LOCAL_DNS}-{endpoint_chain(name, backend)[-14:]}"


def is_hook(rule: str) -> bool:
    """Return whether a rule of a built-in chain jumps to a chain of ours."""
    return jump_target(rule).startswith(PREFIX)


# --- kube-proxy's ----------------------------------------------------------------------------------------------------

_INHERITED_CHAINS: Final = frozenset({
    ("nat", "KUBE-NODE-PORT"), ("nat", "KUBE-LOAD-BALANCER"), ("filter", "KUBE-NODE-PORT"), ("filter", "KUBE-SOURCE-RANGES-FIREWALL"),
})  # fmt: skip
_INHERITED: Final = (
    "EXTERNAL-IP-LOCAL", "LOAD-BALANCER-LOCAL", "NODE-PORT-TCP", "NODE-PORT-LOCAL-TCP", "NODE-PORT-UDP", "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH", "NODE-PORT-LOCAL-SCTP-HASH",
)  # fmt: skip
_PREFIXES: Final = {Family.IPV4: "KUBE-", Family.IPV6: "KUBE-6-"}
_INHERITED_SETS: Final = {family: frozenset(f"{prefix}{name}"[:31] for name in _INHERITED) for family, prefix in _PREFIXES.items()}


def is_inherited_chain(table: str, chain: str) -> bool:
    """Return whether a chain is of kube-proxy's ipvs mode and of neither mode of ours (IPVS-21): who takes over removes it."""
    return (table, chain) in _INHERITED_CHAINS


def is_inherited_hook(rule: str) -> bool:
    """Return whether a rule of a built-in chain jumps to such a chain."""
    return ("filter", jump_target(rule)) in _INHERITED_CHAINS


def is_inherited_set(name: str, family: Family) -> bool:
    """Return whether a set is of kube-proxy's ipvs mode only (IPVS-20)."""
    return name in _INHERITED_SETS[family]


def inherited_node_ports(name: str) -> Protocol | None:
    """Return the protocol whose node ports a set of kube-proxy's holds; None if it holds something else."""
    words = name.split("-")
    known = Protocol.__members__.keys() & set(words) if "PORT" in words else ()
    return Protocol(next(iter(known))) if known else None


# --- marks -----------------------------------------------------------------------------------------------------------


def mark(route: ServiceRoute) -> int:
    """Return the mark of the virtual server by which pods and this node reach a route's external addresses."""
    return mark_of(route.port_name, route.node_port)


def mark_of(name: ServicePortName, node_port: int) -> int:
    """Return the mark of a Service port: a node port (0 = none) is unique and names it, others are told apart by a hash of their name."""
    place = MARK_PREFIX | _PROTOCOLS.index(name.protocol) << _PROTOCOL_SHIFT
    if node_port:
        return place | node_port
    return place | _HASHED | int.from_bytes(sha256(str(name).encode()).digest()[:4], "big") & _HASH_MASK


def identity(route: ServiceRoute) -> int:
    """Return a number that differs, but for one in four million, for two Service ports whose marks are the same.

    As many bits as the kernel can take for a number of seconds, whatever its clock.
    """
    return int.from_bytes(sha256(str(route.port_name).encode()).digest()[4:7], "big") & _IDENTITY_MASK


def mark_protocol(value: int) -> Protocol | None:
    """Return the protocol that a mark of ours stands for; None if it is not ours."""
    number = value >> _PROTOCOL_SHIFT & 3
    return _PROTOCOLS[number] if is_our_mark(value) and number < len(_PROTOCOLS) else None


def mark_node_port(value: int) -> int:
    """Return the node port that a mark of ours stands for, 0 if it was made of a name."""
    return value & 0xFFFF if is_our_mark(value) and not value & _HASHED else 0


def is_our_mark(value: int) -> bool:
    """Return whether a firewall mark is one of ours."""
    return value & MARK_MASK == MARK_PREFIX
