"""Facts about a Service → the frontends each of its ports asks for, as claims that can be compared with those of others.

A claim is the thing that only one Service port can have: an address with port and protocol, or a node port with protocol (SEM-29), or a
health-check node port. Claims within one Service are settled here: of two ports that mean the same frontend the first has it. An address
that a Service names in two roles is programmed once: as cluster IP, else as load-balancer IP, else as external IP. The last two differ only
in that source ranges protect a load-balancer IP, so the protected role is the one that counts. `conflicts` settles claims among Services.
"""

from msgspec import Struct
from pointsman.routing.notices import Notes
from pointsman.routing.route import Family, FrontendKind, Notice, Protocol
from pointsman.routing.service import FamilyFacts, PortFacts, ServiceFacts

NODE_PORT = "node port"
HEALTH_CHECK = "health-check node port"


class Claim(Struct, frozen=True, gc=False, cache_hash=True):
    """What one Service port can have alone. `place` is an address, `NODE_PORT` (per family) or `HEALTH_CHECK` (in no family)."""

    family: Family | None
    place: str
    port: int
    protocol: Protocol

    def __str__(self) -> str:
        """Return `10.96.0.1:80/TCP`, `IPv4 node port 30080/TCP` or `health-check node port 32000/TCP`."""
        if self.place == HEALTH_CHECK:
            return f"{self.place} {self.port}/{self.protocol.value}"
        if self.place == NODE_PORT:
            return f"{self.family.value if self.family else ''} {self.place} {self.port}/{self.protocol.value}"
        place = f"[{self.place}]" if ":" in self.place else self.place
        return f"{place}:{self.port}/{self.protocol.value}"


class Wish(Struct, frozen=True, gc=False):
    """A frontend that a Service port asks for, and the field that says so."""

    kind: FrontendKind
    claim: Claim
    field: str


class PortFrontends(Struct, frozen=True, gc=False):
    """The frontends that a Service port asks for in one family."""

    port: PortFacts
    family: FamilyFacts
    wishes: tuple[Wish, ...]


class ServiceFrontends(Struct, frozen=True, gc=False):
    """The frontends that a Service asks for, by family and port, and what its own ports dispute among themselves."""

    ports: tuple[PortFrontends, ...]
    health_check: Wish | None = None
    notices: tuple[Notice, ...] = ()

    def claims(self) -> tuple[Claim, ...]:
        """Return all claims, each once."""
        found = [wish.claim for port in self.ports for wish in port.wishes]
        if self.health_check is not None:
            found.append(self.health_check.claim)
        return tuple(found)


def service_frontends(facts: ServiceFacts, subject: str) -> ServiceFrontends:
    """Return the frontends a Service asks for; `subject` is how notices call it."""
    notes = Notes(subject)
    taken: dict[Claim, PortFacts] = {}
    ports = []
    for family in facts.families:
        for port in facts.ports:
            wishes: list[Wish] = []
            for wish in _wishes(family, port):
                first = taken.setdefault(wish.claim, port)
                if first is port and all(wish.claim != other.claim for other in wishes):
                    wishes.append(wish)
                elif first is not port:
                    _note(wish, port, first, notes)
            ports.append(PortFrontends(port, family, tuple(wishes)))
    health = None
    if facts.health_check_port and ports:
        claim = Claim(None, HEALTH_CHECK, facts.health_check_port, Protocol.TCP)
        health = Wish(FrontendKind.NODE_PORT, claim, "spec.healthCheckNodePort")
    return ServiceFrontends(tuple(ports), health, notes.notices())


def _wishes(family: FamilyFacts, port: PortFacts) -> list[Wish]:
    protocol = port.port_name.protocol
    wishes = [Wish(vip.kind, Claim(family.family, vip.address, port.port, protocol), vip.field) for vip in family.vips]
    if port.node_port:
        claim = Claim(family.family, NODE_PORT, port.node_port, protocol)
        wishes.append(Wish(FrontendKind.NODE_PORT, claim, f"spec.ports[{port.index}].nodePort"))
    return wishes


def _note(wish: Wish, port: PortFacts, first: PortFacts, notes: Notes) -> None:
    what = "nodePort" if wish.claim.place == NODE_PORT else "port"
    notes.refuse(
        f"spec.ports[{port.index}].{what}",
        f"{wish.claim} belongs to spec.ports[{first.index}] already; give the ports different numbers",
    )
