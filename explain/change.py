"""What a change of manifests, configuration or mode would do, Service port by Service port, before it is done. Pure.

Two routings are compared, not two texts: what a Service port's clients would notice (frontends, endpoints, policies, affinity, source
ranges) is told in words that hold in every mode. How many objects of the kernel that takes is counted beside.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import Enum

from msgspec import Struct
from pointsman.routing.route import Backend, Frontend, FrontendKind, Notice, Routing, ServiceRoute


class Kind(Enum):
    """What becomes of a Service port."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class RouteChange(Struct, frozen=True):
    """One Service port in one family: what becomes of it, in sentences."""

    subject: str
    family: str
    kind: Kind
    texts: tuple[str, ...]


class Count(Struct, frozen=True):
    """How many objects of the kernel are added, changed and removed."""

    added: int = 0
    changed: int = 0
    removed: int = 0


def changes(old: Routing, new: Routing) -> tuple[RouteChange, ...]:
    """Return what changes between two routings, by subject."""
    found: list[RouteChange] = []
    for key in old.routes.keys() | new.routes.keys():
        before, after = old.routes.get(key), new.routes.get(key)
        if before == after:
            continue
        subject = f"{key.port_name} {key.port_name.protocol.lower}"
        if before is None and after is not None:
            found.append(RouteChange(subject, key.family.value, Kind.ADDED, tuple(_whole(after))))
        elif after is None and before is not None:
            found.append(RouteChange(subject, key.family.value, Kind.REMOVED, tuple(_whole(before))))
        elif before is not None and after is not None and (texts := tuple(_differences(before, after))):
            found.append(RouteChange(subject, key.family.value, Kind.CHANGED, texts))
    return tuple(sorted(found, key=lambda one: (one.subject, one.family)))


def notices(old: Collection[Notice], new: Collection[Notice]) -> tuple[Notice, ...]:
    """Return what would be refused or doubtful that is not now."""
    known = set(old)
    return tuple(one for one in new if one not in known)


def counted(old: Mapping[object, object], new: Mapping[object, object]) -> Count:
    """Return how many objects one map has more, less and otherwise than the other."""
    both = old.keys() & new.keys()
    return Count(len(new.keys() - both), sum(old[key] != new[key] for key in both), len(old.keys() - both))


def _whole(route: ServiceRoute) -> Iterator[str]:
    yield ", ".join(_frontend(one) for one in route.frontends()) or "no frontend"
    count = len(route.reachable)
    yield f"{count} endpoint{'' if count == 1 else 's'}{': ' if count else ''}{', '.join(map(str, route.reachable[:10]))}"


def _differences(before: ServiceRoute, after: ServiceRoute) -> Iterator[str]:
    yield from _lists("frontend", [_frontend(one) for one in before.frontends()], [_frontend(one) for one in after.frontends()])
    yield from _lists("address without the node port", list(before.node_port_taken), list(after.node_port_taken))
    yield from _endpoints(before, after)
    if before.internal_local != after.internal_local:
        yield f"internal traffic policy {_policy(before.internal_local)} → {_policy(after.internal_local)}"
    if before.external_local != after.external_local:
        yield f"external traffic policy {_policy(before.external_local)} → {_policy(after.external_local)}"
    if before.affinity_seconds != after.affinity_seconds:
        yield f"session affinity {before.affinity_seconds} s → {after.affinity_seconds} s (0 = none)"
    if before.reset_after != after.reset_after:
        yield f"connections to an endpoint that has left: {_ended(before.reset_after)} → {_ended(after.reset_after)}"
    yield from _lists("source range", list(before.source_ranges), list(after.source_ranges))
    if before.vip_is_source != after.vip_is_source:
        yield f"the load-balancer IPs {'are' if after.vip_is_source else 'are not'} admitted as sources"
    if before.topology != after.topology:
        yield f"hints: {_hints(before)} → {_hints(after)}"
    for name, old, new in (
        ("cluster IP", before.internal_missing, after.internal_missing), ("outside", before.external_missing, after.external_missing),
    ):  # fmt: skip
        if old is not new:
            words = (f"{one.value}s" if one else "forwards" for one in (old, new))
            yield f"new connections to {name}: {' → '.join(words)}"
    if (before.scheduler, before.scheduler_flags) != (after.scheduler, after.scheduler_flags):
        yield f"scheduler {before.scheduler or 'default'} → {after.scheduler or 'default'}"


def _endpoints(before: ServiceRoute, after: ServiceRoute) -> Iterator[str]:
    """Yield what becomes of endpoints; of those that stay, who is led to them, and how."""
    old, new = {str(one): one for one in before.reachable}, {str(one): one for one in after.reachable}
    yield from _lists("endpoint", list(old), list(new))
    for policy, were, are in (("Cluster", before.cluster, after.cluster), ("Local", before.local, after.local)):
        some, others = frozenset(map(str, were)), frozenset(map(str, are))
        for name in sorted((some ^ others) - (old.keys() ^ new.keys())):
            yield f"endpoint {name} {'takes' if name in others else 'does not take'} new connections of policy {policy}"
    yield from _lists("draining endpoint", list(map(str, before.lingering)), list(map(str, after.lingering)))
    for name in sorted(old.keys() & new.keys()):
        if old[name].weight != new[name].weight:
            yield f"endpoint {name} weighs {old[name].weight} → {new[name].weight}"
        if (old[name].local, old[name].hairpin) != (new[name].local, new[name].hairpin):
            yield f"endpoint {name} is {_place(new[name])}"


def _place(one: Backend) -> str:
    return "on this node" if one.local else "where nobody knows" if one.hairpin else "elsewhere"


def _ended(seconds: float | None) -> str:
    return "kept" if seconds is None else f"ended after {seconds:g} s"


def _lists(word: str, before: list[str], after: list[str]) -> Iterator[str]:
    yield from (f"{word} {one} goes" for one in before if one not in after)
    yield from (f"{word} {one} comes" for one in after if one not in before)


def _policy(is_local: bool) -> str:
    return "Local" if is_local else "Cluster"


def _hints(route: ServiceRoute) -> str:
    return route.topology.reason or route.topology.mode.value


def _frontend(one: Frontend) -> str:
    if one.kind is FrontendKind.NODE_PORT:
        return f"node port {one.port}"
    return f"{one.kind.value} {f'[{one.address}]' if ':' in one.address else one.address}:{one.port}"


