"""How commands judge flows: as the agent does, by what is wanted, by names, and by what was served and is no more.

All commands that speak of flows (`conntrack`, `diff`, `doctor`, `explain`) have one judge, so that none calls wrong what another calls
foreign. What was served and is no more is read from the notes that the agent keeps beside its socket. That it noted as served what is not
wanted now means little while it runs, whoever says what is wanted: what it serves it knows itself, and a folder or another API server may
hold less than it reads. Where none runs, it means that a Service went meanwhile, unless a folder holds a part of the cluster only; so
beside a folder the notes are read where the socket is named, and never to delete something.

Making a judge goes through all routes: it is made once for many flows, and on the thread that reads the kernel where that matters.
"""

import time
from pathlib import Path

from msgspec.structs import replace
from pointsman.conntrack.classify import Judge
from pointsman.conntrack.tombstones import EMPTY, Notebook, Tombstones
from pointsman.proxy import notebook, socket
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
    path = known.socket or seen.config.socket
    found = notebook.read(notebook.beside(path), seen.node.name)
    if known.live or deletes or socket.answers(Path(path)):
        return replace(found, frontends=tuple(one for one in found.frontends if one.gone))
    return found
