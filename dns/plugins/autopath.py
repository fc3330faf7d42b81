"""autopath: the search path walked here instead of by the client (SRC-10, SRC-11, SRC-23).

A query below the first element of the client's search path is tried with each element in turn, and at last as it was meant; the first reply
that is not NXDOMAIN is given, with an alias in front from the name that was asked. All NXDOMAIN: the first reply, and the client walks
himself. A and AAAA take the same branch, because NXDOMAIN does not depend on the type.

With @kubernetes the path is that of the pod that has the client's address as its own: pods of the host's network have none, and a reused
address belongs to the pod that has it now (SRC-20). A file's path is the same for all.
"""

from pathlib import Path

from pointsman.dns import names, resolvconf
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import AutopathOptions
from pointsman.dns.facts import packed
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import NXDOMAIN, Query
from pointsman.dns.reply import Record, Reply

CNAME = 5
HOST = "/etc/resolv.conf"


class Autopath(Quiet):
    """The autopath directive of a server block."""

    def __init__(self, options: AutopathOptions, around: Surroundings) -> None:
        self._around = around
        self._zones = tuple(names.wire(zone).lower() for zone in options.zones)
        self._by_pod = options.source == "@kubernetes"
        self._search = _search(HOST if self._by_pod else options.source, around)

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""
        saved = self._around.tally.cell("coredns_autopath_success_total", where.server)

        async def respond(query: Query) -> Reply | None:
            path = self._path(query) if covers(self._zones, query.key) else ()
            if not path or names.cut(query.key, path[0]) <= 0:
                reply = await following(query)
                return reply and reply.but(life=None)
            stem = query.name[: names.cut(query.key, path[0])]
            first: Reply | None = None
            for at, suffix in enumerate(path):
                if len(stem) + len(suffix) > 255:
                    continue
                asked = query.asking(stem + suffix)
                reply = await following(asked)
                if reply is None or reply.error:
                    return reply
                if at == 0:
                    first = reply
                if reply.rcode != NXDOMAIN:
                    saved[0] += 1
                    if at == 0:
                        return reply.but(life=None)
                    return aliased(query, asked, reply)
            return first and first.but(life=None)

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if no name of that zone is taken."""
        touched = covers(self._zones, plain.zone) or any(names.cut(zone, plain.zone) >= 0 for zone in self._zones)
        return None if touched else plain

    def _path(self, query: Query) -> tuple[bytes, ...]:
        """Return the client's search path with the empty suffix at the end; nothing if it is not known."""
        if not self._by_pod:
            return self._search
        address = packed(query.client[0].partition("%")[0])
        pod = self._around.catalog.pods.at(address) if address else None
        if pod is None:
            return ()
        zone = next(zone for zone in sorted(self._zones, key=len, reverse=True) if names.cut(query.key, zone) >= 0)
        namespace = names.join((pod.namespace.encode(), b"svc"), zone)
        return (namespace, names.join((b"svc",), zone), zone, *self._search)


def _search(path: str, around: Surroundings) -> tuple[bytes, ...]:
    """Return the search list of a resolv.conf as wire names, with the root at the end."""
    try:
        found = resolvconf.parse(Path(path).read_text(errors="replace")).search
    except OSError as error:
        around.tell("warning", f"plugin/autopath: {path} cannot be read: {error.strerror}; its search domains are not walked")
        found = ()
    made = []
    for domain in found:
        try:
            made.append(names.wire(domain).lower())
        except ValueError:
            continue
    return (*made, names.ROOT)


def aliased(query: Query, asked: Query, reply: Reply) -> Reply:
    """Return the reply with an alias from the name that was asked to the one that was found."""
    ttl = reply.answer[0].ttl if reply.answer else 0
    alias = Record(query.name, CNAME, ttl, asked.name)
    return reply.but(answer=(alias, *reply.answer) if reply.answer else (), life=None)
