"""How commands judge flows: as the agent does, by what is wanted, by names, and by what was served and is no more.

All commands that speak of flows (`conntrack`, `diff`, `doctor`, `explain`) have one judge, so that none calls wrong what another calls
foreign. What was served and is no more is read from the notes that the agent keeps beside its socket. That it noted as served what is not
wanted now means little while it runs: it will say so itself. Without it, it means that a Service went meanwhile, unless a folder holds a
part of the cluster only; so beside a folder the notes are read where the socket is named, and never to delete something.

Making a judge goes through all routes: it is made once for many flows, and on the thread that reads the kernel where that matters.
"""

import time

from msgspec.structs import replace
from pointsman.conntrack.classify import Judge
from pointsman.conntrack.tombstones import EMPTY, Notebook, Tombstones
from pointsman.proxy import notebook
from pointsman.proxy.cli.conntrack_rows import names
from pointsman.proxy.config import Config
from pointsman.proxy.known import Known


def judge_of(known: Known, *, deletes: bool = False) -> Judge:
    """Return a judge of flows by what is known; say whether something is to be deleted by it."""
    seen, stones = known.picture, Tombstones()
    routing = seen.routing()
    stones.follow({}, dict(routing.routes), 0.0)
    stones.inherit(_noted(known, deletes=deletes), time.time())
    return Judge(routing, seen.node, names(seen), stones)


def _noted(known: Known, *, deletes: bool) -> Notebook:
    """Return what the notes tell of frontends that went."""
    seen = known.picture
    if not known.live and seen.config.manifests and (deletes or seen.config.socket == Config().socket):
        return EMPTY
    found = notebook.read(notebook.beside(known.socket or seen.config.socket), seen.node.name)
    if known.live or deletes:
        return replace(found, frontends=tuple(one for one in found.frontends if one.gone))
    return found
