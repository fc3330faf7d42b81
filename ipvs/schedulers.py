"""The schedulers of IPVS by name, and the flags that some of them understand. Pure.

Old kernels lack `mh`, and many are built without `twos`; a scheduler is a module of its own and is loaded when a virtual server asks
for it. `UPSTREAM` are the names that KubeProxyConfiguration admits (IPVS-04). Sources: net/netfilter/ipvs;
ipvsadm(8).
"""

from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Final

from pointsman.ipvs.objects import ServerFlag


class Scheduler(StrEnum):
    """How the next real server is chosen."""

    RR = "rr"        # one after the other
    WRR = "wrr"      # the same, in proportion to weights
    LC = "lc"        # the one with the fewest connections
    WLC = "wlc"      # the same, in proportion to weights
    LBLC = "lblc"    # by destination address, unless that one is overloaded
    LBLCR = "lblcr"  # the same, with a set of servers for each address
    SH = "sh"        # by the client's address
    DH = "dh"        # by the destination's address
    SED = "sed"      # the shortest expected delay
    NQ = "nq"        # an idle one if there is one, else the shortest expected delay
    MH = "mh"        # by the client's address, with Maglev's table: few clients move when a server comes or goes
    FO = "fo"        # the one with the highest weight, the next when that is gone
    OVF = "ovf"      # the same, the next when that one's connections exceed its weight
    TWOS = "twos"    # the less loaded of two random ones


UPSTREAM: Final = frozenset(
    {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh"},
)
"""The names that KubeProxyConfiguration admits (IPVS-04)."""

FALLBACK: Final = ServerFlag.SCHEDULER_1
"""sh and mh: take another server if the chosen one has weight 0, instead of refusing."""

PORT: Final = ServerFlag.SCHEDULER_2
"""sh and mh: connections of one client spread, because its port counts too."""

_FLAGS: Final = {
    Scheduler.SH: {"sh-fallback": FALLBACK, "sh-port": PORT},
    Scheduler.MH: {"mh-fallback": FALLBACK, "mh-port": PORT},
}
_PLAIN: Final = {"flag-1": ServerFlag.SCHEDULER_1, "flag-2": ServerFlag.SCHEDULER_2, "flag-3": ServerFlag.SCHEDULER_3}


def flag_names(scheduler: str, flags: ServerFlag) -> tuple[str, ...]:
    """Return the scheduler's flags as ipvsadm writes them (`mh-port`); a flag that it gives no meaning to is `flag-1` to `flag-3`."""
    known = {name: flag for name, flag in vocabulary(scheduler).items() if flag & flags}
    rest = flags & ~reduce(or_, known.values(), ServerFlag.NONE)
    return (*known, *(name for name, flag in _PLAIN.items() if flag & rest))


def parse_flags(scheduler: str, names: tuple[str, ...]) -> ServerFlag:
    """Return the flags of these names; raises ValueError that says which ones the scheduler knows."""
    known = {**vocabulary(scheduler), **_PLAIN}
    flags = ServerFlag.NONE
    for name in names:
        if name not in known:
            raise ValueError(f"scheduler {scheduler} knows no flag {name!r}; it knows {', '.join(known)}")
        flags |= known[name]
    return flags


def default_flags(scheduler: str) -> ServerFlag:
    """Return the flags that kube-proxy's ipvs mode gives a scheduler: `mh` gets the source port (IPVS-04), others none."""
    return PORT if scheduler == Scheduler.MH else ServerFlag.NONE


def vocabulary(scheduler: str) -> dict[str, ServerFlag]:
    """Return the flags that have a name with this scheduler."""
    return next((flags for known, flags in _FLAGS.items() if known == scheduler), {})
