"""Announced means reachable: what may be told of a Service while its rules are not in the kernel yet. Pure.

A name is answered only with what this node's dataplane carries. What is new waits until the revision that brought it is applied; what is
gone is told at once, before its rules go. In between the resolver knows what both states have in common (`common`): a Service that gains an
endpoint keeps its others, one whose address changes has none for a moment.

An import waits like a Service: where its address is the cluster IP of a Service of this cluster that stands for it, as with most
implementations, the rules for it are in the kernel then. Others' addresses are others' to carry.

`Gate` remembers who waits, and for which revision; `telling` asks it.
"""

from collections.abc import Container, Iterable

from msgspec import structs
from pointsman.dns.facts import CLUSTER, PortFact, ServiceFact, SliceFact
from pointsman.dns.journal import fact_of
from pointsman.routing.snapshot import ServiceKey, Snapshot

Fact = ServiceFact | None


class Gate:
    """Which Services wait for their rules; `reduced` is what may be told of each meanwhile, None for nothing."""

    def __init__(self) -> None:
        self.reduced: dict[ServiceKey, Fact] = {}
        self._needs: dict[ServiceKey, int] = {}

    def advance(self, before: Snapshot, after: Snapshot, keys: Iterable[ServiceKey]) -> None:
        """Take note of Services that changed between two snapshots."""
        for key in keys:
            told = self.reduced[key] if key in self.reduced else fact_of(before, key)
            wanted = fact_of(after, key)
            less = common(told, wanted)
            if less == wanted:
                self._forget(key)
            else:
                self.reduced[key] = less
                self._needs[key] = after.revision

    def applied(self, revision: int) -> frozenset[ServiceKey]:
        """Let those go whose revision is applied; return them."""
        freed = frozenset(key for key, needed in self._needs.items() if needed <= revision)
        for key in freed:
            self._forget(key)
        return freed

    def _forget(self, key: ServiceKey) -> None:
        self.reduced.pop(key, None)
        self._needs.pop(key, None)


def common(told: Fact, wanted: Fact) -> Fact:
    """Return what is true of a Service both as it was told and as it is wanted; None where that is nothing."""
    if told is None or wanted is None or told.kind != wanted.kind:
        return None
    if told == wanted:
        return wanted
    if told.external_name != wanted.external_name:
        return None
    addresses = tuple(each for each in wanted.addresses if each in told.addresses)
    if wanted.kind == CLUSTER and not addresses and not wanted.imported:
        return None
    known = {(each.cluster, endpoint.address) for each in told.slices for endpoint in each.endpoints}
    slices = tuple(_kept(each, known) for each in wanted.slices)
    ports = tuple(port for port in wanted.ports if port in told.ports)
    if wanted.ports and not ports:
        ports = (PortFact(),)  # without any, the name would be denied
    return structs.replace(wanted, addresses=addresses, ports=ports, slices=slices)


def _kept(found: SliceFact, known: Container[tuple[str, bytes]]) -> SliceFact:
    """Return a slice with the endpoints whose addresses are known, by whatever name they go now: rules know addresses only."""
    return structs.replace(found, endpoints=tuple(each for each in found.endpoints if (found.cluster, each.address) in known))
