"""What the iptables mode's kernel does to a packet, from rules and sets as they were read (`dataplane.trace.Tracer`). Pure.

`reading` fetches, `passage` walks; here is only which rules are this program's: chains by name, rules of built-in chains by where they
jump.
"""

from collections.abc import Iterable, Mapping

from pointsman.dataplane.trace import Trace
from pointsman.iptables import names
from pointsman.iptables.matching import Place
from pointsman.iptables.names import Role
from pointsman.iptables.passage import Passage
from pointsman.iptables.ruleset import Ruleset
from pointsman.iptables.setlist import SavedSet
from pointsman.iptables.walk import Walk
from pointsman.routing.packet import Packet


class IptablesTracer:
    """One family's kernel at one moment."""

    def __init__(
        self, rulesets: Iterable[Ruleset], sets: Mapping[str, SavedSet], local: Iterable[str], leads: Mapping[str, str] | None = None
    ) -> None:
        """Take what was read; `local` are this node's addresses, `leads` the interface towards each address that may matter."""
        self._passage = Passage(Walk(rulesets, Place(frozenset(local), sets), is_ours), leads or {})

    def trace(self, packet: Packet) -> Trace:
        """See `Tracer`."""
        return self._passage.trace(packet)


def is_ours(table: str, chain: str, text: str) -> bool:
    """Return whether a rule is this program's, or stands in a chain of its names."""
    role = names.role(table, chain)
    return names.is_hook(table, text) if role is Role.BUILTIN else role is not None
