"""How commands judge flows: as the agent does, by what is wanted, by names, and by what was served and is no more.

All commands that speak of flows (`conntrack`, `diff`, `doctor`, `explain`) have one judge, so that none calls wrong what another calls
foreign. What was served is read from the notes that the agent keeps beside its socket. Making a judge goes through all routes: it is made
once for many flows, and on the thread that reads the kernel where that matters.
"""

import time

from pointsman.conntrack.classify import Judge
from pointsman.conntrack.tombstones import Tombstones
from pointsman.proxy import notebook
from pointsman.proxy.cli.conntrack_rows import names
from pointsman.proxy.known import Known


def judge_of(known: Known) -> Judge:
    """Return a judge of flows by what is known."""
    seen, stones = known.picture, Tombstones()
    routing = seen.routing()
    stones.follow({}, dict(routing.routes), 0.0)
    stones.inherit(notebook.read(notebook.beside(known.socket or seen.config.socket), seen.node.name), time.time())
    return Judge(routing, seen.node, names(seen), stones)
