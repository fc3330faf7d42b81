"""Who owns a frontend that several Services claim (SEM-29).

A Service whose cluster IP it is comes first: the API server allotted that address, while any other role is something that the writer of a
Service may put down as he likes, and so could take another's connections (CVE-2020-8554). Then the oldest Service, of equally old ones the
first by namespace and name; so the owner does not depend on the order in which objects arrived, and a newcomer cannot take what works. A
Service of unknown age counts as youngest. The others lose that frontend only, and are told who has it. When the owner goes, the next in
line gets it in the same update.

A node port is claimed at all of this node's addresses at once. Where such an address is a frontend of its own with the same port, that
frontend comes first, whoever has it and whichever is older, as packets are classified (SEM-40); the node port stays at the others.

`Claims` is the index behind this: most claims have one claimant and cost one dict entry. `build` puts every Service's claims in, then
settles what was touched.
"""

from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from math import inf

from pointsman.kube.objects import Service
from pointsman.routing.addresses import parse_address
from pointsman.routing.frontends import NODE_PORT, Claim, Wish
from pointsman.routing.notices import Notes
from pointsman.routing.snapshot import ServiceKey


class Claims:
    """All claims of all Services, and who owns each."""

    def __init__(self) -> None:
        self._claims: dict[ServiceKey, tuple[Claim, ...]] = {}
        self._claimants: dict[Claim, ServiceKey | set[ServiceKey]] = {}
        self._owners: dict[Claim, ServiceKey] = {}  # of contested claims only
        self._touched: dict[Claim, ServiceKey] = {}  # contested at some time since the last settlement, with their owners before
        self._crossings: dict[Claim, tuple[str, ...]] = {}
        self._crossed: Set[str] | None = None  # the local addresses that the crossings are about, None if claims have changed since

    def put(self, service: ServiceKey, claims: tuple[Claim, ...]) -> None:
        """Replace a Service's claims (each named once); `settle` must follow before owners are asked for."""
        before = self._claims.get(service, ())
        if claims:
            self._claims[service] = claims
        else:
            self._claims.pop(service, None)
        if before != claims:
            self._crossed = None
            kept = set(claims)
            for claim in before:
                if claim not in kept:
                    self._leave(service, claim)
        for claim in claims:
            self._join(service, claim)

    def settle(self, services: Mapping[ServiceKey, Service]) -> set[ServiceKey]:
        """Decide who owns what was touched; return the Services for which some owner is now another one."""
        affected: set[ServiceKey] = set()
        for claim, former in self._touched.items():
            claimants = self._claimants.get(claim)
            if isinstance(claimants, set):
                owner = first_in_line(claim, claimants, services)
                self._owners[claim] = owner
                if owner != former:
                    affected |= claimants
            else:
                self._owners.pop(claim, None)
                if claimants is not None and claimants != former:
                    affected.add(claimants)
        self._touched.clear()
        return affected

    def cross(self, local: Set[str]) -> set[ServiceKey]:
        """Find the node ports that meet frontends at local addresses; return the owners of those for which that has changed."""
        if self._crossed == local:
            return set()
        self._crossed = local
        found: dict[Claim, list[str]] = {}
        for claim in self._claimants:
            if claim.place in local:
                node_port = Claim(claim.family, NODE_PORT, claim.port, claim.protocol)
                if node_port in self._claimants:
                    found.setdefault(node_port, []).append(claim.place)
        before, self._crossings = self._crossings, {claim: tuple(sorted(places)) for claim, places in found.items()}
        changed = {claim for claim in before.keys() | found.keys() if before.get(claim) != self._crossings.get(claim)}
        return {owner for claim in changed if (owner := self.owner(claim)) is not None}

    def crossings(self, node_port: Claim) -> tuple[str, ...]:
        """Return the local addresses at which a node port is another frontend's."""
        return self._crossings.get(node_port, ())

    def owner(self, claim: Claim) -> ServiceKey | None:
        """Return the Service that owns a claim, None if nobody claims it."""
        claimants = self._claimants.get(claim)
        return self._owners[claim] if isinstance(claimants, set) else claimants

    def _join(self, service: ServiceKey, claim: Claim) -> None:
        claimants = self._claimants.get(claim)
        if claimants is None:
            self._claimants[claim] = service
        elif isinstance(claimants, set):
            self._touch(claim)
            claimants.add(service)
        elif claimants != service:
            self._touched.setdefault(claim, claimants)
            self._claimants[claim] = {claimants, service}

    def _leave(self, service: ServiceKey, claim: Claim) -> None:
        claimants = self._claimants[claim]
        if not isinstance(claimants, set):
            del self._claimants[claim]
            return
        self._touch(claim)
        claimants.discard(service)
        if len(claimants) == 1:
            self._claimants[claim] = next(iter(claimants))

    def _touch(self, claim: Claim) -> None:
        if claim not in self._touched:
            self._touched[claim] = self._owners[claim]


def first_in_line(claim: Claim, claimants: Iterable[ServiceKey], services: Mapping[ServiceKey, Service]) -> ServiceKey:
    """Return the claimant that owns a claim."""
    return min(claimants, key=lambda key: (not _is_cluster_ip(claim.place, services.get(key)), seniority(key, services)))


def seniority(key: ServiceKey, services: Mapping[ServiceKey, Service]) -> tuple[float, str, str]:
    """Return a Service's place among its equals: age first, then namespace and name; the least is first."""
    service = services.get(key)
    created = service.metadata.creation_timestamp if service is not None else None
    return (_seconds(created), key.namespace, key.name)


def note_loss(wish: Wish, owner: ServiceKey, notes: Notes) -> None:
    """Tell a Service that another one owns what it wishes."""
    notes.refuse(
        wish.field,
        f"{wish.claim} belongs to Service {owner} (a cluster IP goes before other uses, then the oldest Service, then the first by name);"
        f" this {wish.claim.place if wish.claim.family is None else wish.kind.value} is not programmed",
    )


def note_crossing(wish: Wish, place: str, owner: ServiceKey, notes: Notes) -> None:
    """Tell a Service that its node port is another one's frontend at an address of this node."""
    claim = Claim(wish.claim.family, place, wish.claim.port, wish.claim.protocol)
    notes.refuse(
        wish.field,
        f"{claim} is a frontend of Service {owner}, which goes before a node port: at {place} this one does not answer;"
        " give one of them another port",
    )


def _is_cluster_ip(place: str, service: Service | None) -> bool:
    if service is None:
        return False
    spec = service.spec
    return any(parse_address(text) == place for text in (spec.cluster_ip, *(spec.cluster_ips or ())) if text)


def _seconds(timestamp: str | None) -> float:
    if timestamp is None:
        return inf
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return inf
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
