"""/healthz, /livez, /readyz: whether this node should get traffic, whether this agent lives, whether it carries all (HLT-01 to HLT-06).

Questions that must not be mixed up (pain 55): `/livez` asks only whether changes reach the kernel, and belongs to liveness probes;
`/healthz` also asks whether the node is on its way out, so that load balancers drain it. `/readyz`, which kube-proxy has not, asks besides
`/livez` whether everything that was there at the start is in the kernel: a roll-out goes on to the next node only then. A family is
unhealthy when it has owed something for longer than twice the sync period: a change that is not applied, or a sign of life of its loop
(`meters`, pains 31 and 71). The answer is made by pure functions from `FamilyHealth`, on the event loop that does the work: where that
hangs, nobody answers. `Checks` counts what was answered, for the metrics.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from pointsman.kube.objects import Node
from pointsman.proxy.servers import JSON, Answer, Question, Server
from pointsman.routing.route import Family

DRAINING_TAINT = "ToBeDeletedByClusterAutoscaler"
"""A node with this taint is about to be deleted (HLT-03)."""


class FamilyHealth(Struct, frozen=True):
    """When a family last had everything applied (seconds since the epoch), and for how many seconds it has owed something (0 = nothing)."""

    last_updated: float
    pending: float = 0.0


class Health(Struct, frozen=True):
    """What the endpoints answer from. `families` holds only those that have reported; `timeout` is in seconds.

    `programmed`: every family has applied what was wanted first.
    """

    families: Mapping[Family, FamilyHealth]
    eligible: bool
    timeout: float
    programmed: bool = False

    def well(self) -> dict[Family, bool]:
        """Return whether each family that has reported owes nothing for too long (HLT-01)."""
        return {family: one.pending <= self.timeout for family, one in self.families.items()}


class _FamilyBody(Struct, rename="camel"):
    last_updated: str
    healthy: bool


class _LiveBody(Struct, rename="camel"):
    last_updated: str
    current_time: str
    healthy: bool
    status: dict[str, _FamilyBody]


class _HealthBody(_LiveBody):
    node_eligible: bool


class _ReadyBody(_LiveBody):
    programmed: bool


def eligible(nodes: Mapping[str, Node], name: str, *, known: bool = False) -> bool:
    """Return whether the node should get traffic from load balancers (HLT-03).

    `known`: whoever gives objects gives the Nodes too, as the API does. Manifests may have none, and then nobody has said otherwise; among
    others, a node that is missing is not known.
    """
    if not nodes and not known:
        return True
    node = nodes.get(name)
    if node is None or node.metadata.deletion_timestamp is not None:
        return False
    return all(taint.key != DRAINING_TAINT for taint in node.spec.taints or ())


def livez(health: Health, now: float) -> tuple[int, bytes]:
    """Return status and body of /livez at `now`, seconds since the epoch (HLT-02)."""
    fine = healthy(health)
    return _status(fine), msgspec.json.encode(_live(health, now, fine=fine))


def healthz(health: Health, now: float) -> tuple[int, bytes]:
    """Return status and body of /healthz at `now`, seconds since the epoch (HLT-03)."""
    fine = healthy(health) and health.eligible
    live = _live(health, now, fine=fine)
    body = _HealthBody(live.last_updated, live.current_time, live.healthy, live.status, node_eligible=health.eligible)
    return _status(fine), msgspec.json.encode(body)


def readyz(health: Health, now: float) -> tuple[int, bytes]:
    """Return status and body of /readyz at `now`, seconds since the epoch (HLT-06)."""
    fine = healthy(health) and health.programmed
    live = _live(health, now, fine=fine)
    body = _ReadyBody(live.last_updated, live.current_time, live.healthy, live.status, programmed=health.programmed)
    return _status(fine), msgspec.json.encode(body)


class Checks:
    """The endpoints; counts answers of kube-proxy's two by path and status (HLT-05)."""

    def __init__(self, health: Callable[[], Health], clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch."""
        self.counts: Counter[tuple[str, int]] = Counter()
        self._health = health
        self._clock = clock

    def server(self, address: str) -> Server:
        """Return the server of all, at an address (host:port; empty = nowhere)."""
        return Server("health", address, {"/livez": self.livez, "/healthz": self.healthz, "/readyz": self.readyz})

    def livez(self, _: Question) -> Answer:
        """Answer /livez."""
        return self._counted("livez", livez(self._health(), self._clock()))

    def healthz(self, _: Question) -> Answer:
        """Answer /healthz."""
        return self._counted("healthz", healthz(self._health(), self._clock()))

    def readyz(self, _: Question) -> Answer:
        """Answer /readyz."""
        status, body = readyz(self._health(), self._clock())
        return Answer(status, body, JSON)

    def _counted(self, name: str, found: tuple[int, bytes]) -> Answer:
        status, body = found
        self.counts[name, status] += 1
        return Answer(status, body, JSON)


def healthy(health: Health) -> bool:
    """Return whether no family has owed anything for too long."""
    return all(health.well().values())


def _status(fine: bool) -> int:
    return 200 if fine else 503


def _live(health: Health, now: float, *, fine: bool) -> _LiveBody:
    status = {
        family.value: _FamilyBody(_time(health.families[family].last_updated), well) for family, well in health.well().items()
    }
    oldest = min((one.last_updated for one in health.families.values()), default=now)
    return _LiveBody(_time(now if fine else oldest), _time(now), healthy(health), status)


def _time(seconds: float) -> str:
    """Return a time as Kubernetes writes it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
