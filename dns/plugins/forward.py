"""forward: what this server does not know, an upstream is asked (FWD-01 to FWD-41).

Equal questions that come while one is on its way wait for the same answer (FWD-40): equal means name, type, class, DO, CD, AD, RD,
transport and EDNS size, and no EDNS options. The work is a task of its own, so the client that began it may go away.

A query walks the policy's order, passing over upstreams that are down; an error starts probing and goes on to the next. It ends with an
answer, after five seconds, or when twice as many attempts failed as there are upstreams. SERVFAIL and REFUSED are answers, unless
`failover` or `next` say otherwise: with `failover` each upstream answers once at most, and the last answer counts if none is better; with
`next` the query goes to the next forward line that takes the name, if there is one.

Where upstreams come from a resolv.conf, the file is looked at again and again; addresses that this process listens on itself are left out,
as are those that `loop` found to lead back here (LOP-02, LOP-03).
"""

import asyncio
import ssl
from collections.abc import Callable, Hashable
from pathlib import Path

from pointsman.dns import names, resolvconf
from pointsman.dns.contract import Responder
from pointsman.dns.corefile.options import ForwardOptions
from pointsman.dns.corefile.options import Upstream as Target
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.plugins.policy import policy
from pointsman.dns.question import AD, CD, FORMERR, NOERROR, RD, REFUSED, SERVFAIL, Query
from pointsman.dns.reply import Reply, failure
from pointsman.dns.upstream import MismatchedError, Upstream

DEADLINE = 5.0
"""Seconds that a query may take in all (FWD-31)."""
LOOK_AGAIN = 5.0
"""Seconds between two looks at a resolv.conf."""
CONCURRENT = 2_000
"""Queries that may wait for the upstreams of a line that does not say `max_concurrent`: some 40 MB. With none at all, names that nobody
answers for take the memory, and then the time, of all others."""
MOST = 15
"""Upstreams that are used, at most (FWD-01)."""
NAME = "forward"
REJECTS, BROKEN = "coredns_forward_max_concurrent_rejects_total", "coredns_forward_healthcheck_broken_total"


class Forward(Quiet):
    """One forward line of a server block."""

    def __init__(self, options: ForwardOptions, around: Surroundings) -> None:
        self.options = options
        self._around = around
        self._zone = names.wire(options.zone).lower()
        self._except = tuple(names.wire(zone).lower() for zone in options.exclude)
        self._order: Callable[[list[Upstream]], list[Upstream]] = policy(options.policy, around.dice)  # type: ignore[assignment]
        self._tls = context(options) if any(target.transport == "tls" for target in options.upstreams) else None
        self.upstreams: list[Upstream] = []
        self._flying: dict[Hashable, asyncio.Task[Reply]] = {}
        self._waiting = 0
        self._watch: asyncio.Task[None] | None = None
        for metric in (BROKEN, REJECTS):  # told from the start on, as alerts expect
            around.tally.cell(metric)
        self.refresh()

    def matches(self, key: bytes) -> bool:
        """Return whether a name is forwarded here: in FROM and in no `except`, or FROM itself (FWD-01)."""
        if key == self._zone:
            return True
        return names.cut(key, self._zone) >= 0 and all(names.cut(key, zone) < 0 for zone in self._except)

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""
        return Line(self, following)

    def start(self) -> None:
        """Watch the resolv.conf, if there is one."""
        if self._watch is None and any(target.file for target in self.options.upstreams):
            self._watch = asyncio.get_running_loop().create_task(self._look())

    def stop(self) -> None:
        """End watching and every connection."""
        if self._watch is not None:
            self._watch.cancel()
        for upstream in self.upstreams:
            upstream.close()

    async def ask(self, query: Query) -> Reply:
        """Return the answer of an upstream, or the failure to get one."""
        most = self.options.max_concurrent or CONCURRENT
        if self._waiting >= most:
            self._around.tally.cell(REJECTS)[0] += 1
            return failure(REFUSED, NAME, f"concurrent queries exceeded maximum {most}")
        key = _equality(query)
        task = self._flying.get(key) if key is not None else None
        if task is None:
            task = asyncio.get_running_loop().create_task(self._walk(query))
            if key is not None:
                self._flying[key] = task
                task.add_done_callback(lambda _: self._flying.pop(key, None))
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1

    async def _walk(self, query: Query) -> Reply:
        """Try upstreams until there is an answer (FWD-31)."""
        around, options = self._around, self.options
        usable = [upstream for upstream in self.upstreams if not upstream.looping]
        if not usable:
            return self._no_upstream()
        waiting = list(self._order(usable))
        deadline = around.clock() + DEADLINE
        limit = options.max_attempts if options.max_attempts is not None else 2 * len(usable)
        failed, reason = 0, "no healthy proxies"
        last: Reply | None = None
        while waiting and (remaining := deadline - around.clock()) > 0 and (not limit or failed < limit):
            upstream = self._next(waiting, answered=last is not None)
            if upstream is None:
                break
            waiting.remove(upstream)
            try:
                reply = await upstream.ask(query, min(options.read_timeout, remaining))
            except MismatchedError as error:
                return last or Reply(FORMERR, flags=0, plugin=NAME, error=str(error))
            except (OSError, TimeoutError) as error:
                failed += 1
                reason = str(error) or type(error).__name__
                upstream.failed()
                waiting.append(upstream)
                continue
            last = reply.but(plugin=NAME, origin=upstream.label)
            if reply.rcode not in options.failover:
                break
        return last or failure(SERVFAIL, NAME, reason)

    def _next(self, waiting: list[Upstream], *, answered: bool) -> Upstream | None:
        """Return the upstream for an attempt: those that are down are passed over (FWD-32).

        If all are, any may do, unless there is an answer already.
        """
        found = next((upstream for upstream in waiting if not upstream.down), None)
        if found is not None or answered:
            return found
        self._around.tally.cell(BROKEN)[0] += 1
        return None if self.options.fail_fast else self._around.dice.choice(waiting)

    def _no_upstream(self) -> Reply:
        why = "every upstream leads back to this server" if self.upstreams else "there is no upstream that can be used"
        return failure(SERVFAIL, NAME, why)

    def goes_on(self, reply: Reply) -> bool:
        """Return whether the next forward line is to be asked, too (FWD-23)."""
        return reply.rcode in self.options.next or (self.options.next_on_nodata and reply.rcode == NOERROR and not reply.answer)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            self.refresh()

    def refresh(self) -> None:
        """Take the upstreams as the Corefile and the resolv.conf name them now; those that stay keep their connections."""
        known: dict[Target, Upstream] = {upstream.target: upstream for upstream in self.upstreams}
        wanted: dict[Target, None] = {}
        for target in self.options.upstreams:
            for one in self._expanded(target) if target.file else self._elsewhere(target):
                wanted.setdefault(one)
        if target_list := list(wanted)[:MOST]:
            kept = [known.pop(one) if one in known else Upstream(one, self.options, self._tls, self._around) for one in target_list]
            if known or len(kept) != len(self.upstreams):
                self._told_change(kept)
            self.upstreams = kept
            for gone in known.values():
                gone.close()

    def _elsewhere(self, target: Target) -> tuple[Target, ...]:
        """Return an upstream that the Corefile names, unless it is this process (LOP-03)."""
        if (target.address, target.port) not in self._around.own:
            return (target,)
        if not self.upstreams:
            text = f"{target.address}:{target.port} is answered by this server itself: it is left out as upstream of {self.options.zone}"
            self._around.tell("warning", f"plugin/forward: {text}")
        return ()

    def _told_change(self, kept: list[Upstream]) -> None:
        if self.upstreams:
            labels = ", ".join(one.label for one in kept)
            self._around.tell("info", f"plugin/forward: the upstreams of {self.options.zone} are now {labels}")

    def _expanded(self, target: Target) -> tuple[Target, ...]:
        """Return the nameservers of a resolv.conf that are not this process; what was there stays if the file cannot be read."""
        try:
            found = resolvconf.parse(Path(target.file).read_text(errors="replace"))
        except OSError as error:
            if not self.upstreams:
                why = f"{target.file} cannot be read: {error.strerror}; it is looked at again in {LOOK_AGAIN:g} s"
                self._around.tell("error", f"plugin/forward: {why}")
            return tuple(upstream.target for upstream in self.upstreams)
        own = [address for address in found.nameservers if (address, 53) in self._around.own]
        if own and not self.upstreams:
            self._around.tell("warning", f"plugin/forward: {target.file} names this server itself ({', '.join(own)}): it is left out")
        return tuple(Target(address) for address in found.nameservers if address not in own)


class Line:
    """A forward line in a chain; only another one can take a query over that this one was to hand on (FWD-23)."""

    def __init__(self, forward: Forward, following: Responder) -> None:
        self._forward = forward
        self._following = following

    async def __call__(self, query: Query) -> Reply | None:
        """Answer a query."""
        if not self._forward.matches(query.key):
            return await self._following(query)
        reply = await self._forward.ask(query)
        if reply.error == "" and self._forward.goes_on(reply) and isinstance(self._following, Line) and self._following.takes(query.key):
            return await self._following(query)
        return reply

    def takes(self, key: bytes) -> bool:
        """Return whether this line or one behind it forwards a name."""
        return self._forward.matches(key) or (isinstance(self._following, Line) and self._following.takes(key))


def _equality(query: Query) -> Hashable | None:
    """Return what makes questions equal, None if this one stands alone."""
    if query.edns is not None and query.edns.options:
        return None
    size = 0 if query.edns is None else query.edns.size
    return (query.key, query.qtype, query.qclass, query.flags & (CD | AD | RD), query.do, query.udp, size)


def context(options: ForwardOptions) -> ssl.SSLContext:
    """Return how TLS upstreams are trusted (FWD-21); raises OSError if a file cannot be read."""
    files = [file for file in options.tls if file]
    made = ssl.create_default_context(cafile=files[-1] if len(files) in {1, 3} else None)
    if len(files) > 1:
        made.load_cert_chain(files[0], files[1])
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
