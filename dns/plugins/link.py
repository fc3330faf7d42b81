"""What a plugin is to its chain, and what it may ask of the process around it.

A plugin is made once per server block. Each listener of the block then gets its own link, a responder that is bound to what follows and to
the label `server` of the metrics, while state (a cache, connections, a hosts file) is the plugin's and shared. A plugin that reads files or
keeps connections has work in the background, from `start` to `stop`; at a reload those whose settings stayed the same go on.

`plain` says how a plugin in front of kubernetes bears the server's short cut for unknown cluster names (see `contract`): it returns the
short cut as it may be taken with this plugin in front, or None if every query must come by.
"""

import random
from collections.abc import Callable, Container
from typing import Protocol

from msgspec import Struct
from pointsman.dns.catalog import Catalog
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.question import REFUSED, SERVFAIL, Query
from pointsman.dns.reply import Reply, failure
from pointsman.dns.tally import Tally

Tell = Callable[[str, str], None]
"""Writes a log line: level (`info`, `warning`, `error`, `debug`) and text."""


def silent(level: str, text: str) -> None:
    """Write nothing: for checks and tests."""


def nothing() -> None:
    """Do nothing."""


class Surroundings(Struct, frozen=True):
    """The process around the chains.

    `clock` is monotonic time in seconds. `local` are this server's addresses, for NS (REC-94); `own` are the addresses and ports that it
    listens on: they are never an upstream (LOP-03). `hostname` is told to clients that ask for it (nsid, chaos). `forget` empties the hot
    table: something changed that no tag tells. `speculate` lets the last step of search paths begin at the first (`speculation`).
    """

    tally: Tally
    catalog: Catalog
    clock: Callable[[], float]
    tell: Tell = silent
    forget: Callable[[], None] = nothing
    local: tuple[str, ...] = ()
    own: frozenset[tuple[str, int]] = frozenset()
    hostname: str = ""
    version: str = ""
    speculate: bool = True
    dice: random.Random = random.SystemRandom()


class Where(Struct, frozen=True):
    """The listener that a link belongs to: its metrics' label, and who answers any name there (for aliases that lead elsewhere)."""

    server: str
    everything: Responder


class Plugin(Protocol):
    """One plugin of a server block."""

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder of one listener; `following` answers what this plugin does not."""
        ...

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut as this plugin bears it."""
        ...

    def start(self) -> None:
        """Begin what runs in the background; a loop is running."""
        ...

    def stop(self) -> None:
        """End what runs in the background."""
        ...


class Quiet:
    """A plugin with nothing in the background, which bears the short cut."""

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut unchanged."""
        return plain

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class Either(Struct, frozen=True):
    """Names that are in one of two containers."""

    one: Container[bytes]
    other: Container[bytes]

    def __contains__(self, key: object) -> bool:
        """Return whether a name is in one of them."""
        return key in self.one or key in self.other


def no_next(last: str) -> Responder:
    """Return who answers what no plugin of a chain did (REC-101); `last` is the name of the chain's last plugin."""

    async def respond(query: Query) -> Reply | None:  # noqa: ARG001 - a responder
        return failure(SERVFAIL, error=f"plugin/{last}: no next plugin found")

    return respond


async def refused(query: Query) -> Reply | None:  # noqa: ARG001 - a responder
    """Answer where there is no plugin (WIR-11, WIR-12)."""
    return failure(REFUSED)
