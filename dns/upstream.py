"""One upstream: asked over UDP, TCP or TLS, and probed when it fails.

A reply counts only if id and question are those that were sent; over UDP everything else is passed over until time is up, so a forged
datagram cannot end a question (FWD-41). If the id was right and only the question was not, the client gets FORMERR in the end (FWD-35).
A reply that is cut in the middle of a record becomes an empty one with TC, so that the client comes back over TCP.

Probing begins after an error and goes on until one probe succeeds (FWD-33); while more than `max_fails` probes in a row have failed, the
upstream is down.

An upstream that refuses TCP, or answers FORMERR over it only, is asked over UDP for half a minute even where force_tcp wants TCP, and that
is said once (pain 78). A refusal may be a moment's, as when pods behind an address change: clients that came over TCP are asked over TCP
all the same, and so is what UDP cuts; the first answer over TCP ends it.
"""

import asyncio
import secrets
import ssl

from msgspec import Struct
from pointsman.dns import names
from pointsman.dns.books import DURATIONS
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.options import Upstream as Target
from pointsman.dns.corefile.values import RCODES
from pointsman.dns.datagram import exchange
from pointsman.dns.decode import Decoded, MalformedError, decode
from pointsman.dns.encode import request, without
from pointsman.dns.plugins.link import Surroundings
from pointsman.dns.question import FORMERR, NOERROR, RD, TC, Query, plain_name_end
from pointsman.dns.reply import Reply
from pointsman.dns.stream import Limits, Pool

PROBE_TIMEOUT = 1.0
"""Seconds that a probe may take (FWD-33)."""
WITHOUT_TCP = 30.0
"""Seconds for which an upstream that would not speak TCP is asked over UDP."""
DIAL_TIMEOUT = 5.0
"""Seconds that a connection may take to be made; a question's own deadline is shorter."""
REUSED, FRESH = "coredns_proxy_conn_cache_hits_total", "coredns_proxy_conn_cache_misses_total"
RCODE_NAMES = {number: name for name, number in RCODES.items()}
NS = 2
BETWEEN_TWO = frozenset({11, 12})
"""EDNS options that mean one connection only: TCP-KEEPALIVE and PADDING (RFC 7828, section 3.4; RFC 7830, section 3)."""


class MismatchedError(OSError):
    """The upstream answered another question than it was asked."""


class Health(Struct):
    """How an upstream's probes went: failures in a row, and the task that probes now.

    Until `udp_until` it is asked over UDP though TCP is wanted; `told` is whether that was said.
    """

    fails: int = 0
    probing: asyncio.Task[None] | None = None
    closed: bool = False
    udp_until: float = 0.0
    told: bool = False


class Upstream:
    """An address that queries are forwarded to."""

    def __init__(self, target: Target, options: ForwardOptions, tls: ssl.SSLContext | None, around: Surroundings) -> None:
        self.target = target
        self.label = f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"
        self.looping = False
        self._options = options
        self._around = around
        self._health = Health()
        self._fallen = around.tally.cell("coredns_proxy_healthcheck_failures_total", "forward", self.label)
        limits = Limits(options.expire, options.max_age, options.max_idle)
        name = target.server_name or options.tls_server_name
        trust = tls if target.transport == "tls" else None
        self._pool = Pool(target.address, target.port, limits=limits, clock=around.clock, tls=trust, name=name)

    @property
    def down(self) -> bool:
        """Return whether too many probes failed in a row (FWD-14)."""
        return bool(self._options.max_fails) and self._health.fails > self._options.max_fails

    def failed(self) -> None:
        """Begin to probe after an error, if nobody does already."""
        probing = self._health.probing is not None and not self._health.probing.done()
        if self._options.max_fails and not probing and not self._health.closed:
            self._health.probing = asyncio.get_running_loop().create_task(self._probe())

    def close(self) -> None:
        """End probing and all connections, for good."""
        self._health.closed = True
        if self._health.probing is not None:
            self._health.probing.cancel()
        self._pool.close()

    async def ask(self, query: Query, patience: float) -> Reply:
        """Forward a query and return the reply; raises OSError and TimeoutError after `patience` seconds at most."""
        started = self._around.clock()
        decoded = await self._ask(query, patience)
        rcode = RCODE_NAMES.get(decoded.rcode, str(decoded.rcode))
        self._around.tally.histogram("coredns_proxy_request_duration_seconds", DURATIONS, "forward", self.label, rcode).observe(
            self._around.clock() - started
        )
        return decoded

    async def _ask(self, query: Query, patience: float) -> Reply:
        options = self._options
        if self.target.transport == "tls":
            return await self._over_stream(query, patience, "tcp-tls")
        wants_tcp = options.force_tcp or (not query.udp and not options.prefer_udp)
        if wants_tcp and (not query.udp or self._around.clock() >= self._health.udp_until):
            return await self._over_tcp_if_possible(query, patience)
        started = self._around.clock()
        reply = await self._over_udp(query, patience)
        if not reply.flags & TC:
            return reply
        left = patience - (self._around.clock() - started)
        if options.force_tcp:
            return await self._uncut(query, left, reply)
        return await self._over_stream(query, left, "tcp") if options.prefer_udp else reply

    async def _uncut(self, query: Query, patience: float, cut: Reply) -> Reply:
        """Return the whole answer over TCP, or the cut one if there is none."""
        try:
            reply = await self._over_stream(query, patience, "tcp")
        except OSError:
            return cut
        if reply.rcode == FORMERR:
            return cut
        self._health.udp_until = 0.0
        return reply

    async def _over_tcp_if_possible(self, query: Query, patience: float) -> Reply:
        try:
            reply = await self._over_stream(query, patience, "tcp")
        except ConnectionRefusedError:
            reply = None
        if reply is not None and reply.rcode != FORMERR:
            self._health.udp_until = 0.0
            return reply
        if not query.udp:  # a client of TCP may want more than fits into a datagram
            if reply is None:
                raise ConnectionRefusedError(f"connection refused by {self.label}")
            return reply
        by_udp = await self._over_udp(query, patience)
        if by_udp.rcode != FORMERR and not by_udp.flags & TC:
            self._health.udp_until = self._around.clock() + WITHOUT_TCP
            if self._health.told:
                return by_udp
            self._health.told = True
            what = "refuses TCP connections" if reply is None else "answers FORMERR over TCP"
            self._around.tell("warning", f"plugin/forward: {self.label} {what}, but answers over UDP: it is asked over UDP until TCP works")
        return by_udp

    async def _over_udp(self, query: Query, patience: float) -> Reply:
        ident = secrets.randbelow(65536)
        matching = _Matching(query, ident)
        self._around.tally.cell(FRESH, "forward", self.label, "udp")[0] += 1
        try:
            message = await exchange(request(query, ident), self.target.address, self.target.port, patience, matching.is_reply)
        except TimeoutError:
            if matching.mismatched:
                raise MismatchedError(f"{self.label} answered another question than it was asked") from None
            raise TimeoutError(f"read udp ->{self.label}: i/o timeout") from None
        return _reply(message, cut_is_truncated=True)

    async def _over_stream(self, query: Query, patience: float, protocol: str, *, fresh: bool = False) -> Reply:
        ident = secrets.randbelow(65536)
        try:
            message, reused = await self._pool.ask(request(query, ident), patience, min(patience, DIAL_TIMEOUT), fresh=fresh)
        except TimeoutError:
            raise TimeoutError(f"read tcp ->{self.label}: i/o timeout") from None
        self._around.tally.cell(REUSED if reused else FRESH, "forward", self.label, protocol)[0] += 1
        if not _Matching(query, ident).is_reply(message):
            raise MismatchedError(f"{self.label} answered another question than it was asked")
        return _reply(message, cut_is_truncated=False)

    async def _probe(self) -> None:
        """Ask until an answer comes, whatever it says."""
        while not await self._answers():
            self._health.fails += 1
            self._fallen[0] += 1
            await asyncio.sleep(self._options.health_interval or 0.5)
        self._health.fails = 0

    async def _answers(self) -> bool:
        name = names.wire(self._options.health_domain)
        query = Query(0, RD if self._options.health_recursion else 0, name, name.lower(), NS, udp=not self._options.force_tcp)
        try:
            if self.target.transport == "tls" or self._options.force_tcp:
                await self._over_stream(query, PROBE_TIMEOUT, "tcp", fresh=True)
            else:
                await self._over_udp(query, PROBE_TIMEOUT)
        except MismatchedError:
            return True
        except (OSError, TimeoutError):
            return False
        return True


class _Matching:
    """Which message answers a question that was sent."""

    def __init__(self, query: Query, ident: int) -> None:
        self._ident = ident.to_bytes(2, "big")
        self._question = query.key + query.qtype.to_bytes(2, "big") + query.qclass.to_bytes(2, "big")
        self.mismatched = False

    def is_reply(self, message: bytes) -> bool:
        """Return whether id and question are ours; a bare error may come without its question."""
        if len(message) < 12 or message[:2] != self._ident or not message[2] & 0x80:
            return False
        if message[4:6] == b"\x00\x00" and message[3] & 15 != NOERROR:
            return True
        end = plain_name_end(message, 12)
        if message[4:6] == b"\x00\x01" and end > 0 and message[12:end].lower() + message[end : end + 4] == self._question:
            return True
        self.mismatched = True
        return False


def _reply(message: bytes, *, cut_is_truncated: bool) -> Reply:
    """Return the reply of a message; one that ends in the middle of a record is an empty one with TC over UDP."""
    try:
        decoded: Decoded = decode(message)
    except MalformedError as error:
        if cut_is_truncated:
            return Reply(flags=TC)
        raise OSError(f"the reply cannot be read: {error}") from None
    passed = None if decoded.edns is None else without(decoded.edns.options, BETWEEN_TWO)
    return decoded.reply.but(options=passed)
