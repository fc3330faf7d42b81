"""How the parts of the resolver meet: the server (sockets, hot path) in front, the chains that a Corefile describes behind it.

The server owns sockets, reads messages (`question`), keeps the hot table (`hot`), writes replies (`encode`) and counts coredns_dns_*. For
what the hot table does not know it asks the `Chain` of the listener. A chain owns the server blocks of one listener: it checks the class
(WIR-08), finds the block by zone (WIR-11, WIR-13) and runs its plugins in their fixed order. Exceptions that reach the server become
SERVFAIL and are counted (WIR-14).

A responder is a coroutine function, but most answers need no waiting: the server drives each coroutine by hand to its first suspension and
makes a task only of those that do suspend. Two rules follow. Before its first suspension a responder has no current task, so it must not
use `asyncio.timeout`, `asyncio.current_task` or task groups there: work that waits runs in a task of its own which the responder awaits
(single flight needs that anyway). And what happens before the first suspension must be short: it stops all other answers.

`plain` is the short cut for the greatest part of all queries, the search path's NXDOMAINs (SRC-04): where it gives a `Plain`, the server
may decide an unknown cluster name itself and answer NXDOMAIN with that SOA, without running the chain. A chain offers it for a
kubernetes zone if every plugin in front (in the order of COR-15) leaves such replies as they are, and nothing behind takes unknown names
(fallthrough). A plugin that acts on certain names only (hosts without wildcards) excludes those by `exempt`.
"""

from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from typing import Any, Protocol

from msgspec import Struct
from pointsman.dns.question import Query
from pointsman.dns.reply import Reply

Responder = Callable[[Query], Awaitable[Reply | None]]
"""Answers a query; None means that nothing is sent at all (acl drop). It takes the next responder when it is made, not per query."""


Denied = Callable[[bytes, bytes, int], float]
"""(name, zone, type) that was denied by the short cut; returns until when (monotonic) the same need not be told again."""


class Plain(Struct, frozen=True):
    """A cluster zone whose unknown names the server may refuse by itself.

    `zone` is the kubernetes zone as lower-case wire name; `ttl` is that of the SOA's record and minimum already lowered by plugins in
    front; `block` is the label `zone` of the metrics. Names in `exempt` (lower-case wire) always go through the chain. `limit` is the UDP
    size to which bufsize lowers the client's (0: not at all).
    """

    zone: bytes
    ttl: int
    minimum: int
    block: str
    exempt: Container[bytes] = frozenset()
    limit: int = 0


class Chain(Protocol):
    """What answers on one listener (an address and port of the Corefile)."""

    @property
    def label(self) -> str:
        """Return the label `server` of the metrics, such as `dns://:53` (OBS-01)."""
        ...

    @property
    def plain(self) -> Sequence[Plain]:
        """Return the zones with the short cut; may be empty."""
        ...

    @property
    def speculate(self) -> Denied | None:
        """Return who is to hear of names that were denied by the short cut; None if nobody wants to."""
        ...

    @property
    def enabled(self) -> Sequence[tuple[str, str]]:
        """Return the plugins at work, by zone and name (OBS-09); may be empty."""
        ...

    def answer(self, query: Query) -> Coroutine[Any, Any, Reply | None]:
        """Answer a query of class and name whatsoever; `Reply.zone` and `Reply.plugin` are filled for the metrics."""
        ...
