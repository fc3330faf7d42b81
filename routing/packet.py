"""The oracle's question and answer: a packet that opens a connection, and what happens to it.

Kept apart from `oracle` so that tests, the demo and (later) explanations share the vocabulary without the decision.
"""

from enum import Enum

from msgspec import Struct
from pointsman.routing.route import Backend, Frontend, Protocol, ServicePortName


class Packet(Struct, frozen=True):
    """The first packet of a connection as this node sees it.

    `interface` is the input interface's name; empty for a packet that this node itself sends (then `source` is one of its addresses, or a
    virtual address that it holds).
    """

    source: str
    destination: str
    protocol: Protocol
    port: int
    interface: str = ""


class SourcePlace(Enum):
    """Where a packet comes from (docs/services.md 3.1)."""

    POD = "pod"      # the local detector matches
    NODE = "node"    # the source is an address of this host
    OTHER = "other"  # everything else


class Verdict(Enum):
    """What happens to the packet."""

    FORWARD = "forward"  # to one of the backends
    REJECT = "reject"    # ICMP port unreachable (SEM-23)
    DROP = "drop"        # silence
    UNTOUCHED = "untouched"  # not ours


class Share(Struct, frozen=True):
    """A backend, how likely it is (0 < probability ≤ 1), and whether the connection to it is masqueraded, and why or why not."""

    backend: Backend
    probability: float
    masquerade: bool
    reason: str


class Outcome(Struct, frozen=True):
    """The verdict with its reason in words and its specification number, the frontend it met, and for FORWARD the backends' shares.

    `affinity_seconds` > 0: a client that comes back within that time gets the backend it last used, if it is among the shares (SEM-25).
    """

    verdict: Verdict
    reason: str
    place: SourcePlace
    port_name: ServicePortName | None = None
    frontend: Frontend | None = None
    shares: tuple[Share, ...] = ()
    affinity_seconds: int = 0
