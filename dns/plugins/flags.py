"""Plugins that look at a reply on its way back and change little: header, minimal, loadbalance, bufsize, nsid, cancel."""

import asyncio

import msgspec
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import BufsizeOptions, CancelOptions, HeaderOptions, NsidOptions
from pointsman.dns.encode import asks_for, without
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.question import AA, AD, CD, NOERROR, RA, RD, SERVFAIL, Query
from pointsman.dns.reply import Record, Reply, failure

BITS = {"aa": AA, "ra": RA, "rd": RD, "ad": AD, "cd": CD}
NS, SOA = 2, 6
GROUPS = {5: 0, 1: 2, 28: 2, 15: 3}
"""CNAME first; all types that are not here; then A and AAAA; then MX."""
NSID = 3


class Header(Quiet):
    """header: flags of the query for who follows, of the response for the client (WIR-61).

    A reply's RD is that of the query as who follows saw it, unless a rule for responses says otherwise.
    """

    def __init__(self, options: HeaderOptions) -> None:
        self._query = [(rule.set, _bits(rule.flags)) for rule in options.rules if not rule.response]
        self._response = [(rule.set, _bits(rule.flags)) for rule in options.rules if rule.response]

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            flags = _applied(query.flags, self._query)
            reply = await following(query if flags == query.flags else msgspec.structs.replace(query, flags=flags))
            if reply is None or reply.bare:
                return reply
            written = _applied(reply.flags | (flags & RD & ~reply.clear), self._response)
            return reply.but(flags=written, clear=reply.clear | (query.flags & RD & ~written))

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut where no response changes."""
        return None if self._response else plain


def _bits(flags: tuple[str, ...]) -> int:
    return sum({BITS[flag] for flag in flags})


def _applied(flags: int, rules: list[tuple[bool, int]]) -> int:
    for on, bits in rules:
        flags = flags | bits if on else flags & ~bits
    return flags


class Minimal(Quiet):
    """minimal: no authority and additional, except in denials, failures and referrals."""

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            reply = await following(query)
            if reply is None or reply.rcode != NOERROR:
                return reply
            if not reply.answer and any(one.rtype in {NS, SOA} for one in reply.authority):
                return reply
            return reply.but(authority=(), additional=())

        return respond


class Loadbalance(Quiet):
    """loadbalance: aliases first, then the rest, then addresses, which the server gives in another order each time, then MX (WIR-50)."""

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            reply = await following(query)
            if reply is None or reply.rcode != NOERROR or query.qtype in {251, 252}:
                return reply
            answer, authority, additional = map(grouped, (reply.answer, reply.authority, reply.additional))
            return reply.but(answer=answer, authority=authority, additional=additional, rotate=True)

        return respond


def grouped(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return records in the order CNAME, others, addresses, MX; inside each, as they were (WIR-52)."""
    if len(records) < 2:
        return records
    return tuple(sorted(records, key=lambda record: GROUPS.get(record.rtype, 1)))


class Bufsize(Quiet):
    """bufsize: nobody gets more over UDP than this, and upstreams are told so, too (WIR-35)."""

    def __init__(self, options: BufsizeOptions) -> None:
        self._size = options.size

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            if query.edns is None or query.edns.size <= self._size:
                inner = query
            else:
                inner = msgspec.structs.replace(query, edns=msgspec.structs.replace(query.edns, size=self._size))
            reply = await following(inner)
            return reply and reply.but(limit=self._size)

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut with the size that is told in OPT."""
        return msgspec.structs.replace(plain, limit=self._size)


class Nsid(Quiet):
    """nsid: the name of this server for clients that ask for it (RFC 5001)."""

    def __init__(self, options: NsidOptions, around: Surroundings) -> None:
        identity = (options.identity or around.hostname).encode()
        self._option = NSID.to_bytes(2, "big") + len(identity).to_bytes(2, "big") + identity

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            reply = await following(query)
            if reply is None or reply.bare or query.edns is None or not asks_for(query.edns.options, NSID):
                return reply
            return reply.but(options=without(reply.options or b"", (NSID,)) + self._option, life=None)

        return respond


class Cancel(Quiet):
    """cancel: a query that takes longer than this ends as SERVFAIL."""

    def __init__(self, options: CancelOptions) -> None:
        self._timeout = options.timeout

    def link(self, following: Responder, where: Where) -> Responder:  # noqa: ARG002 - one form for all plugins
        """Return the responder."""

        async def run(query: Query) -> Reply | None:
            return await following(query)

        async def respond(query: Query) -> Reply | None:
            task = asyncio.get_running_loop().create_task(run(query))
            done, _ = await asyncio.wait({task}, timeout=self._timeout)
            if done:
                return task.result()
            task.cancel()
            return failure(SERVFAIL, "cancel", "context deadline exceeded")

        return respond
