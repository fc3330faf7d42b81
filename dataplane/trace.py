"""What the kernel, as it was read, does to the first packet of a connection: the question's other half beside the oracle.

The oracle says what should happen; a mode's tracer says what its kernel holds that decides it: the very rules, set elements and virtual
servers, quoted, with their counters, also those of other programs. A trace is made from text and values that were read back; no packet is
sent, and what is wished plays no part. Where chance decides, each outcome is a `Way` with its probability; where something cannot be
judged (a match that only a real packet meets), the way carries a doubt, and whoever reads it says "unknown" instead of guessing.

A mode implements `Tracer`; `explain` compares a trace with the oracle's outcome and with what is wanted.
"""

from typing import Protocol

from msgspec import Struct
from pointsman.routing.packet import Packet, Verdict


class Evidence(Struct, frozen=True):
    """One object of the kernel that a packet meets.

    `where` is its place (`filter FORWARD rule 3`), `text` the object as the kernel's own tool prints it, `does` what it does in words;
    `ours` is false for other programs' objects; counters are None where the kernel keeps none.
    """

    where: str
    text: str
    does: str = ""
    ours: bool = True
    packets: int | None = None
    octets: int | None = None


class Way(Struct, frozen=True):
    """One outcome: how likely, what happens, where the packet ends (as it is after translation), by which objects.

    `local` tells that it ends on this node itself. Verdict UNTOUCHED is a packet that nobody translated and nobody refused.
    """

    probability: float
    verdict: Verdict
    address: str
    port: int
    masquerade: bool = False
    local: bool = False
    evidence: tuple[Evidence, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def culprit(self) -> Evidence | None:
        """Return the object that refused the packet, None if none did."""
        return self.evidence[-1] if self.verdict in {Verdict.REJECT, Verdict.DROP} and self.evidence else None


class Trace(Struct, frozen=True):
    """All ways of a packet, likeliest first, and what was looked at in words."""

    ways: tuple[Way, ...]
    read: str = ""


class Difference(Struct, frozen=True, order=True):
    """Something that the kernel holds otherwise than it should.

    `subject` is the Service port (`shop/web:http tcp`), or `node` for what belongs to none; `text` says it in words that are the same in
    every mode; `where` names the object in the mode's own terms, `wanted` and `found` quote it, empty for nothing; `key` is the mode's key
    as it is told elsewhere, empty where it is none.
    """

    subject: str
    text: str
    where: str
    wanted: str = ""
    found: str = ""
    key: str = ""


class Tracer(Protocol):
    """A mode's kernel as it was read once."""

    def trace(self, packet: Packet) -> Trace:
        """Return what happens to a packet that opens a connection; pure, so it can be asked again and again."""
        ...
