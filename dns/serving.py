"""Everything that answers in one resolver process: the catalog, the Corefile at work, a desk and a server per socket.

`resolver` feeds it and decides when it begins and ends. A change of the cluster goes to the catalog first, and then every hot table drops
what rested on it, before anything else is answered. A new Corefile replaces the old one only if it can be read and answers on every socket;
otherwise the old one stays (OBS-50).
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Hashable, Iterable
from typing import Final

from msgspec import Struct
from pointsman.dns.books import Books, Top
from pointsman.dns.catalog import Catalog
from pointsman.dns.contract import Chain
from pointsman.dns.corefile.files import Reader
from pointsman.dns.corefile.load import Corefile
from pointsman.dns.corefile.options import KubernetesOptions, TimeoutsOptions
from pointsman.dns.feed import OTHER, Change, Listener, Start, Synced
from pointsman.dns.hot import Hot, Room
from pointsman.dns.limit import Limits
from pointsman.dns.needs import unmet
from pointsman.dns.plugins.link import Surroundings, Tell
from pointsman.dns.server import Desk
from pointsman.dns.site import Site
from pointsman.dns.tally import Sample, Tally
from pointsman.dns.tcp import Patience, TcpServer
from pointsman.dns.udp import LOST, UdpServer

log = logging.getLogger(__name__)

HOT_ROOM: Final = 8 * 1024 * 1024
"""Bytes that all hot tables of the process may use."""
RELOAD_FAILED: Final = "coredns_reload_failed_total"
RELOAD_VERSION: Final = "coredns_reload_version_info"
PLUGIN_ENABLED: Final = "coredns_plugin_enabled"
PROGRAMMING: Final = "coredns_kubernetes_dns_programming_duration_seconds"
PROGRAMMING_BOUNDS: Final = tuple(0.001 * 2**step for step in range(20))
"""Seconds; CoreDNS's buckets (OBS-17)."""


class UnusableError(Exception):
    """The resolver cannot work as told; the text says why and what to do."""


class Version(Struct):
    """Which content of the Corefile is at work, and which was tried last, by their fingerprints."""

    at_work: str = ""
    tried: str = ""


class Serving:
    """What one process answers with; made in a running loop."""

    def __init__(self, start: Start, tell: Tell) -> None:
        self.catalog = Catalog()
        self.tally = Tally()
        self.top = Top()
        self.storms = Top(500)
        self.desks: list[tuple[Listener, Desk]] = []
        self._start = start
        self._servers: list[UdpServer | TcpServer] = []
        self._version = Version()
        self.reader = Reader(start.corefile)
        self.corefile = self._read()
        self._version.at_work = self._version.tried
        self.around = Surroundings(
            tally=self.tally, catalog=self.catalog, clock=time.monotonic, tell=tell, forget=self.forget, local=start.local,
            own=frozenset((each.address, each.port) for each in start.listeners), hostname=start.node or socket.gethostname(),
            speculate=start.search_ahead,
        )  # fmt: skip
        self.site = self._site(self.corefile)

    @property
    def patience(self) -> float:
        """Return how long to wait for the cluster before answering without it, in seconds (REC-111); 0 if nobody needs it."""
        options = self.corefile.all(KubernetesOptions) if self._start.cluster else ()
        return max((each.startup_timeout for each in options), default=0.0)

    async def open(self) -> None:
        """Begin to answer on all sockets."""
        self.site.start()
        room = Room(HOT_ROOM)
        for listener in self._start.listeners:
            chain = self._chain(self.site, listener)
            if chain is None:
                raise UnusableError(f"no server block of {self._start.corefile} answers on {listener.address} port {listener.key_port}")
            sock = socket.socket(fileno=listener.fd)
            desk = self._desk(listener, chain, room, "2" if sock.family == socket.AF_INET6 else "1")
            four = self._desk(listener, chain, room, "1") if _for_both(sock) else None
            if listener.transport == "udp":
                server = UdpServer(sock, desk, self._limits(), self.storms, four, lost=self.tally.cell(LOST))
                server.start()
                self._servers.append(server)
            else:
                tcp = TcpServer(sock, desk, self._tcp_patience(), self._limits(), four)
                await tcp.start()
                self._servers.append(tcp)

    def _desk(self, listener: Listener, chain: Chain, room: Room, family: str) -> Desk:
        """Return a desk of a listener, for clients of one family."""
        books = Books(self.tally, chain.label, listener.transport, family)
        desk = Desk(chain, self.catalog, books, Hot(random.shuffle, room, self.top), self.top)
        self.desks.append((listener, desk))
        return desk

    async def close(self, patience: float = 5.0) -> None:
        """Read no more, answer what was read, end."""
        for server in self._servers:
            if isinstance(server, UdpServer):
                server.stop()
            else:
                await server.stop()
        waiting = [task for _, desk in self.desks for task in desk.waiting]
        if waiting:
            await asyncio.wait(waiting, timeout=patience)
        self.site.stop()
        for server in self._servers:
            if isinstance(server, UdpServer):
                server.close()

    def apply(self, news: Change | Synced) -> None:
        """Take over what the agent says of the cluster."""
        tags = self.catalog.apply(news) if isinstance(news, Change) else self.catalog.finish(news)
        if tags:
            self.withdraw(tags)
        if isinstance(news, Change) and news.triggered and self._start.worker == 0:  # all workers are told: one counts
            now, histogram = time.time(), self.tally.histogram(PROGRAMMING, PROGRAMMING_BOUNDS, "headless_with_selector")
            for moment in news.triggered:
                histogram.observe(max(0.0, now - moment))

    def withdraw(self, tags: Iterable[Hashable]) -> None:
        """Forget the answers that rest on these."""
        for _, desk in self.desks:
            desk.hot.withdraw(tags)

    def forget(self) -> None:
        """Forget all answers."""
        for _, desk in self.desks:
            desk.hot.clear()

    def reload(self, *, asked: bool = False) -> bool:
        """Read the Corefile again; return whether another one is at work now.

        What was refused before is not tried again before it changes, unless somebody asked for it (OBS-50).
        """
        tried = None if asked else self._version.tried
        try:
            corefile = self._read()
            if self._version.tried in (tried, self._version.at_work):
                return False
            if lack := self._lack(corefile):
                log.info("the new Corefile waits until the agent has read what it needs: %s", lack)
                return False
            site = self._site(corefile, former=self.site)
            chains = [(desk, self._chain(site, listener)) for listener, desk in self.desks]
            if any(chain is None for _, chain in chains):
                log.info("the Corefile listens elsewhere now; this process goes on with the former one until its successor is there")
                return False
        except UnusableError as error:
            if self._version.tried == tried:
                return False
            self.tally.cell(RELOAD_FAILED)[0] += 1
            log.error("%s; the former configuration stays at work", error)  # noqa: TRY400 - the text says it all
            return False
        self.corefile, self._version.at_work = corefile, self._version.tried
        site.start()
        for desk, chain in chains:
            if chain is not None:
                desk.use(chain)
        self.site.stop(keeping=site)
        self.site = site
        log.info("the new Corefile is at work")
        return True

    def refusal(self, fingerprint: str) -> tuple[str, ...]:
        """Return why the Corefile of this fingerprint cannot be taken over, as `feed.Ask` says; empty if it can. Nothing is changed."""
        loaded = self.reader.read()
        if loaded.fingerprint != fingerprint:
            return (OTHER, "")
        if loaded.corefile is None:
            return ("error", f"{self._start.corefile} cannot be used")
        if loaded.fingerprint == self._version.at_work:
            return ()
        try:
            Site(loaded.corefile, self.around, former=self.site)
        except ValueError as error:
            return ("error", str(error))
        return ()

    async def settle(self) -> None:
        """Bring to the books what the hot tables counted, with answers in between: so `samples` finds little to do."""
        for _, desk in tuple(self.desks):
            for _ in desk.hot.settling():
                await asyncio.sleep(0)

    def samples(self) -> tuple[Sample, ...]:
        """Return all counters as they are now."""
        self.tally.cell(RELOAD_FAILED)
        for _, desk in self.desks:
            desk.settle()
        enabled = dict.fromkeys((desk.chain.label, *one) for _, desk in self.desks for one in desk.chain.enabled)
        return (
            *self.tally.dump(),
            Sample(RELOAD_VERSION, ("sha512", self._version.at_work), (1,)),
            *(Sample(PLUGIN_ENABLED, (label, zone, "", name), (1,)) for label, zone, name in enabled),
        )

    def _read(self) -> Corefile:
        """Read the Corefile. Raises UnusableError with all its findings."""
        loaded = self.reader.read()
        self._version.tried = loaded.fingerprint
        if loaded.corefile is None:
            raise UnusableError("\n".join(str(finding) for finding in loaded.findings))
        return loaded.corefile

    def _site(self, corefile: Corefile, former: Site | None = None) -> Site:
        """Return a Corefile's plugins and chains. Raises UnusableError if a plugin cannot be made, or facts that it needs are not told."""
        if lack := self._lack(corefile):
            raise UnusableError(lack)
        try:
            return Site(corefile, self.around, former=former)
        except ValueError as error:
            raise UnusableError(str(error)) from error

    def _lack(self, corefile: Corefile) -> str:
        """Return which facts that a Corefile needs are not told, empty if all are: names that exist would be denied."""
        return unmet(corefile, self._start.reads) if self._start.reads is not None else ""

    def _chain(self, site: Site, listener: Listener) -> Chain | None:
        if self._start.everywhere:
            return site.everywhere(f"dns://:{listener.key_port or listener.port}")
        return site.chain(listener.address, listener.key_port)

    def _limits(self) -> Limits | None:
        rate = self._start.client_rate
        return Limits(rate, 2 * rate, self.tally) if rate > 0 else None

    def _tcp_patience(self) -> Patience:
        """Return what the timeouts directive says, on the server's own defaults (WIR-45)."""
        own = Patience()
        option = self.corefile.one(TimeoutsOptions)
        if option is None:
            return own
        return Patience(
            read=own.read if option.read is None else option.read,
            idle=own.idle if option.idle is None else option.idle,
            write=own.write if option.write is None else option.write,
            queries=option.queries or 0,
        )


def _for_both(sock: socket.socket) -> bool:
    """Return whether clients of both families come to a socket."""
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) and sock.getsockname()[0] == "::"
