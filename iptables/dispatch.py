"""Buckets: the first packet of a connection must not walk past ten thousand rules to find its Service.

Addresses are told apart by their lowest byte, in two steps of four bits, which both variants and both families can match by a mask: a
root chain, sixteen chains `KUBE-DST-0` to `-F`, 256 leaves `KUBE-DST-00` to `-FF`. Cluster IPs are given out evenly over that byte, so a
leaf of 10,000 Services holds about 40 rules. Node ports are told apart by blocks of 64. Leaves and the chains above them are shared: each
route brings the jumps on its way, the same keys as every other route in that bucket, and they are there as long as one route wants them.

`service` uses these for nat, `firewall` for filter.
"""

from functools import lru_cache

from pointsman.iptables import names
from pointsman.iptables.objects import RuleKey
from pointsman.routing.route import Family, Protocol

_BLOCK = 64

Way = tuple[str, tuple[RuleKey, ...]]
"""A leaf chain, and the jumps that lead to it."""


def by_address(table: str, root: str, family: Family, address: str) -> Way:
    """Return the leaf for a destination address and the jumps from the root to it."""
    return _by_byte(table, root, family, _low_byte(address))


def _low_byte(address: str) -> int:
    if "." in address:
        return int(address.rpartition(".")[2])
    return int(address.rpartition(":")[2] or "0", 16) & 0xFF


@lru_cache(maxsize=2048)
def _by_byte(table: str, root: str, family: Family, byte: int) -> Way:
    nibble = byte & 15
    if family is Family.IPV4:
        upper, lower = f"0.0.0.{nibble}/0.0.0.15", f"0.0.0.{byte}/0.0.0.255"
    else:
        upper, lower = f"::{nibble:x}/::f" if nibble else "::/::f", f"::{byte:x}/::ff" if byte else "::/::ff"
    middle, leaf = f"{names.DESTINATIONS}-{nibble:X}", f"{names.DESTINATIONS}-{byte:02X}"
    return leaf, (RuleKey(table, root, f"-d {upper} -j {middle}"), RuleKey(table, middle, f"-d {lower} -j {leaf}"))


@lru_cache(maxsize=4096)
def by_node_port(table: str, root: str, protocol: Protocol, port: int) -> Way:
    """Return the leaf for a node port and the jump from the root to it."""
    first = port - port % _BLOCK
    leaf = f"{names.NODE_PORT_BUCKETS}-{protocol.value}-{first}"
    proto = protocol.lower
    jump = f"-p {proto} -m {proto} --dport {first}:{first + _BLOCK - 1} -j {leaf}"
    return leaf, (RuleKey(table, root, jump),)
