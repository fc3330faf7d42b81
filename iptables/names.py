"""Which names exist in the iptables mode, and whose they are.

Chains that people know keep kube-proxy's names and hashes (docs/services.md IPT-01 to IPT-05), so `iptables-save | grep KUBE-SVC` goes on
teaching. What is new are the buckets: `KUBE-DST-...` dispatch by the low byte of the destination address, `KUBE-NP-...` by blocks of node
ports. A process without memory recognises its own by these names: a chain named here, or with one of the five per-Service prefixes, in a
table where this mode works, belongs to whoever proxies on this node; so does an ipset with our prefix. Nothing else is ever touched, with
one exception by agreement: `KUBE-FIREWALL` is kubelet's chain too, we add to it and never take away.

Every chain has a role: `WHOLE` (one owner, ordered), `SHARED` (rules of many owners, in any order), `GUEST` (kubelet's, only added to),
`BUILTIN` (the kernel's, holds hooks), or None: not ours. `parse` and `render` go by role; `compile` takes the names.
"""

from base64 import b32encode
from enum import Enum
from hashlib import sha256
from re import compile as pattern
from typing import Final

from msgspec import Struct
from pointsman.iptables.objects import Key, RuleKey, SetKey
from pointsman.routing.route import Backend, Family, ServicePortName

SERVICES: Final = "KUBE-SERVICES"
EXTERNAL_SERVICES: Final = "KUBE-EXTERNAL-SERVICES"
NODE_PORTS: Final = "KUBE-NODEPORTS"
FORWARD: Final = "KUBE-FORWARD"
PROXY_FIREWALL: Final = "KUBE-PROXY-FIREWALL"
KUBELET_FIREWALL: Final = "KUBE-FIREWALL"
POSTROUTING: Final = "KUBE-POSTROUTING"
MARK_MASQ: Final = "KUBE-MARK-MASQ"
CANARY: Final = "KUBE-PROXY-CANARY"
DESTINATIONS: Final = "KUBE-DST"
"""Root of the nat table's dispatch by destination address; prefix of its buckets in both tables."""
NODE_PORT_BUCKETS: Final = "KUBE-NP"
"""Root of the filter table's refusals at node ports; prefix of the node-port buckets in both tables."""

LOCAL_DNS: Final = "KUBE-LOCAL-DNS"
"""What leads queries to this node's own resolver, in tables raw and filter (NLD-21)."""

TABLES: Final = ("filter", "nat", "mangle")
"""The tables that this mode always works in; raw is one more where this node has a resolver of its own."""

_BUILTIN: Final = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
_WHOLE: Final = {
    "filter": frozenset({SERVICES, EXTERNAL_SERVICES, NODE_PORTS, FORWARD, CANARY, LOCAL_DNS}),
    "nat": frozenset({SERVICES, POSTROUTING, MARK_MASQ, CANARY}),
    "mangle": frozenset({CANARY}),
    "raw": frozenset({LOCAL_DNS}),
}
ROOTS: Final = {
    "filter": frozenset({PROXY_FIREWALL, NODE_PORT_BUCKETS}),
    "nat": frozenset({DESTINATIONS, NODE_PORTS}),
    "mangle": frozenset[str](),
    "raw": frozenset[str](),
}
"""Shared chains that exist even while they have no rule, because a fixed rule or hook jumps to them."""

_PER_SERVICE: Final = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")
_BUCKET: Final = pattern(r"KUBE-DST(-[0-9A-F]{1,2})?|KUBE-NP(-(TCP|UDP|SCTP)-[0-9]{1,5})?|KUBE-DST[VLEFP]-[A-Z2-7]+")
_COPIES: Final = dict(zip(_PER_SERVICE, ("KUBE-DSTV-", "KUBE-DSTL-", "KUBE-DSTE-", "KUBE-DSTF-", "KUBE-DSTP-"), strict=True))

SET_PREFIX: Final = {Family.IPV4: "POINTSMAN-", Family.IPV6: "POINTSMAN-6-"}
_INET: Final = {Family.IPV4: "inet", Family.IPV6: "inet6"}
_MAX_ELEMENTS: Final = 1 << 20  # the kernel's default of 65,536 refuses the rest silently to nobody's benefit


class Role(Enum):
    """What a chain is to us."""

    WHOLE = "whole"      # ours, one owner, order is meaning
    SHARED = "shared"    # ours, many owners, order means nothing
    GUEST = "guest"      # kubelet's: we make sure of our rule and remove nothing
    BUILTIN = "builtin"  # the kernel's: holds our hooks among other rules


def role(table: str, chain: str) -> Role | None:
    """Return what a chain is to us; None if it is not ours and must not be touched."""
    if chain in _BUILTIN:
        return Role.BUILTIN
    if table not in _WHOLE:
        return None
    if chain.startswith(_PER_SERVICE) or chain in _WHOLE[table]:
        return Role.WHOLE
    if chain in ROOTS[table] or _BUCKET.fullmatch(chain):
        return Role.SHARED
    return Role.GUEST if (table, chain) == ("filter", KUBELET_FIREWALL) else None


def is_bucket(chain: str) -> bool:
    """Return whether a chain is a bucket or the root of buckets: names that kube-proxy does not have."""
    return _BUCKET.fullmatch(chain) is not None


def copy_of(chain: str) -> str:
    """Return the name of the copy of a chain per Service (`release`); empty if the chain is none."""
    return next((copy + chain.removeprefix(prefix) for prefix, copy in _COPIES.items() if chain.startswith(prefix)), "")


def is_copy(chain: str) -> bool:
    """Return whether a chain is such a copy."""
    return chain.startswith(tuple(_COPIES.values()))


class Hook(Struct, frozen=True):
    """A jump from a built-in chain to one of ours (IPT-05)."""

    table: str
    chain: str
    rule: str

    @property
    def key(self) -> RuleKey:
        """Return the hook as a key."""
        return RuleKey(self.table, self.chain, self.rule)


def _hook(table: str, chain: str, target: str, comment: str, match: str = "") -> Hook:
    noted = f'-m comment --comment "{comment}" ' if comment else ""
    return Hook(table, chain, f"{match}{noted}-j {target}")


_NEW: Final = "-m conntrack --ctstate NEW "
_EXTERNAL: Final = "kubernetes externally-visible service portals"
_PORTALS: Final = "kubernetes service portals"

HOOKS: Final = (
    _hook("filter", "INPUT", EXTERNAL_SERVICES, _EXTERNAL, _NEW),
    _hook("filter", "FORWARD", EXTERNAL_SERVICES, _EXTERNAL, _NEW),
    _hook("filter", "INPUT", NODE_PORTS, "kubernetes health check service ports"),
    _hook("filter", "FORWARD", SERVICES, _PORTALS, _NEW),
    _hook("filter", "OUTPUT", SERVICES, _PORTALS, _NEW),
    _hook("filter", "FORWARD", FORWARD, "kubernetes forwarding rules"),
    _hook("filter", "INPUT", PROXY_FIREWALL, "kubernetes load balancer firewall", _NEW),
    _hook("filter", "OUTPUT", PROXY_FIREWALL, "kubernetes load balancer firewall", _NEW),
    _hook("filter", "FORWARD", PROXY_FIREWALL, "kubernetes load balancer firewall", _NEW),
    _hook("nat", "OUTPUT", SERVICES, _PORTALS),
    _hook("nat", "PREROUTING", SERVICES, _PORTALS),
    _hook("nat", "POSTROUTING", POSTROUTING, "kubernetes postrouting rules"),
    _hook("filter", "INPUT", KUBELET_FIREWALL, ""),
    _hook("filter", "OUTPUT", KUBELET_FIREWALL, ""),
)
"""All hooks in the order in which they are inserted at the top, so that each stands above those before it (IPT-05)."""

_DNS: Final = "kubernetes local DNS"

DNS_HOOKS: Final = (
    _hook("filter", "INPUT", LOCAL_DNS, _DNS),
    _hook("filter", "OUTPUT", LOCAL_DNS, _DNS),
    _hook("raw", "OUTPUT", LOCAL_DNS, _DNS),
    _hook("raw", "PREROUTING", LOCAL_DNS, _DNS),
)
"""The hooks of a node with a resolver of its own, above all others."""

HOOK_PLACE: Final = {hook.key: place for place, hook in enumerate((*HOOKS, *DNS_HOOKS))}

LOCALNET_RULE: Final = (
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
"""KUBE-FIREWALL's rule, letter for letter as kubelet writes it (IPT-12)."""


def jump_target(rule: str) -> str:
    """Return the chain that a rule without target options jumps to; empty if it does something else."""
    _, found, target = f" {rule}".rpartition(" -j ")
    return target if found and " " not in target and '"' not in target else ""


def is_hook(table: str, rule: str) -> bool:
    """Return whether a rule of a built-in chain is a hook: it jumps, by whatever match, to a chain of ours or to KUBE-FIREWALL."""
    target = jump_target(rule)
    return bool(target) and role(table, target) in {Role.WHOLE, Role.SHARED, Role.GUEST}


def is_kept(key: Key) -> bool:
    """Return whether a key, once there, is never removed: KUBE-FIREWALL, its rule and its hooks are kubelet's as well."""
    if isinstance(key, SetKey) or key.table != "filter":
        return False
    return key.chain == KUBELET_FIREWALL or (key.chain in _BUILTIN and jump_target(key.rule) == KUBELET_FIREWALL)


# --- per Service -----------------------------------------------------------------------------------------------------


def _hash(text: str) -> str:
    return b32encode(sha256(text.encode()).digest()[:10]).decode()  # 10 bytes are the first 16 characters


class ServiceChains(Struct, frozen=True, gc=False):
    """The chains of one Service port: cluster-wide backends, backends on this node, external traffic, source ranges (IPT-04)."""

    cluster: str
    local: str
    external: str
    firewall: str


def service_chains(port_name: ServicePortName) -> ServiceChains:
    """Return the names of a Service port's chains; they share one hash (IPT-04)."""
    digest = _hash(f"{port_name}{port_name.protocol.lower}")
    return ServiceChains(f"KUBE-SVC-{digest}", f"KUBE-SVL-{digest}", f"KUBE-EXT-{digest}", f"KUBE-FW-{digest}")


def endpoint_chain(port_name: ServicePortName, backend: Backend) -> str:
    """Return the name of an endpoint's chain, which is also the name of its list of recent clients (IPT-04, IPT-23)."""
    return f"KUBE-SEP-{_hash(f'{port_name}{port_name.protocol.lower}{backend}')}"


# --- sets ------------------------------------------------------------------------------------------------------------


def cluster_ip_set(family: Family) -> str:
    """Return the name of the set of all cluster IPs of a family."""
    return f"{SET_PREFIX[family]}CLUSTER-IP"


def hairpin_set(family: Family) -> str:
    """Return the name of the set of connections from a backend to itself: `endpoint,protocol:port,endpoint` (SEM-20)."""
    return f"{SET_PREFIX[family]}HAIRPIN"


def set_types(family: Family) -> dict[str, str]:
    """Return the sets that a family has, each with its type and options as `parse.observed_sets` reads them back."""
    options = f"family {_INET[family]} maxelem {_MAX_ELEMENTS}"
    return {cluster_ip_set(family): f"hash:ip {options}", hairpin_set(family): f"hash:ip,port,ip {options}"}


def is_our_set(name: str, family: Family) -> bool:
    """Return whether a set of this name is ours in this family."""
    if not name.startswith(SET_PREFIX[family]):
        return False
    return family is Family.IPV6 or not name.startswith(SET_PREFIX[Family.IPV6])
