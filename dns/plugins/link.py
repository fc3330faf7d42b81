"""What a plugin is to its chain, and what it may ask of the process around it.

A plugin is made once per server block. Each listener of the block then gets its own link, a responder that is bound to what follows and to
the label `server` of the metrics, while state (a cache, connections, a hosts file) is the plugin's and shared. A plugin that reads files or
keeps connections has work in the background: it starts with the first `start` and ends with `stop`.
"""

import random
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from pointsman.dns.contract import Responder
from pointsman.dns.question import Query
from pointsman.dns.reply import Reply
from pointsman.dns.tally import Tally

Tell = Callable[[str, str], None]
"""Writes a log line: level (`info`, `warning`, `error`, `debug`) and text."""


def silent(level: str, text: str) -> None:
    """Write nothing: for checks and tests."""


class Surroundings(Struct, frozen=True):
    """The process around the chains.

    `clock` is monotonic time in seconds. `own` holds the addresses and ports that this process listens on: they are never an upstream
    (LOP-03). `hostname` is told to clients that ask for it (nsid, chaos). `version` is this program's.
    """

    tally: Tally
    clock: Callable[[], float]
    tell: Tell = silent
    own: frozenset[tuple[str, int]] = frozenset()
    hostname: str = ""
    version: str = ""
    dice: random.Random = random.SystemRandom()


class Plugin(Protocol):
    """One plugin of a server block."""

    def link(self, following: Responder, server: str) -> Responder:
        """Return the responder of one listener; `server` is the metrics' label, `following` answers what this plugin does not."""
        ...

    def start(self) -> None:
        """Begin what runs in the background; a loop is running. Once, after `link`."""
        ...

    def stop(self) -> None:
        """End what runs in the background."""
        ...


class Resting:
    """A plugin with nothing in the background."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


async def no_next(query: Query) -> Reply | None:  # noqa: ARG001 - a responder
    """Answer what no plugin of the chain did (REC-101)."""
    return Reply(rcode=2, flags=0, error="no next plugin found")


async def refused(query: Query) -> Reply | None:  # noqa: ARG001 - a responder
    """Answer where no plugin could (WIR-11, WIR-12)."""
    return Reply(rcode=5, flags=0)
