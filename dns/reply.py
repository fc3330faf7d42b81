"""What is answered: records, a reply made of them, and for how long the reply may be given again without asking.

Records are wire values: owner and rdata are uncompressed, so that a record can be moved between messages; `encode` compresses. Plugins
make a `Reply` and hand it up their chain; each plugin in front may replace parts of it. Flags that every reply copies from its
query (id, opcode, RD, CD, the question, OPT) are not here: `encode` writes them (WIR-20, WIR-30).

`life` is what makes the hot path possible: who made the reply says on what it rests, and everybody in front may only shorten it.

- None (the default): ask again for every query. A plugin whose work depends on the client, counts, or logs must set it to None.
- `Life(tags=...)`: good until one of the tags is withdrawn (`hot.Hot.withdraw`). Tags are values such as `("svc", namespace, name)`.
- `Life(until=...)`: good until a monotonic time; with `counting`, every TTL is lowered by the whole seconds that passed since `born`.

`rotate` is set by loadbalance: address records may be given in another order each time (WIR-50, WIR-51).
"""

from collections.abc import Hashable
from typing import Final

import msgspec
from msgspec import Struct
from pointsman.dns.question import AA, NOERROR
from pointsman.dns.tally import Cell

FOREVER: Final = float("inf")


class Record(Struct, frozen=True, gc=False):
    """One resource record; `owner` and `rdata` are uncompressed wire, `ttl` is in seconds."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes
    rclass: int = 1


class Life(Struct, frozen=True):
    """How long a reply may be given again without asking (see the module).

    `counted` are numbers that go up by one each time it is: what a cache in front of the chain would have counted.
    """

    tags: tuple[Hashable, ...] = ()
    until: float = FOREVER
    counting: bool = False
    born: float = 0.0
    counted: tuple[Cell, ...] = ()


class Reply(Struct, frozen=True):
    """A reply without what is copied from the query.

    `flags` holds AA, TC, RA, AD as in `question`. `plugin` and `zone` are labels of the metrics: who answered, and which server block
    matched (the chain fills `zone`). `options` are the EDNS options that are sent in wire form (NSID, extended errors, what an upstream
    said); None: nobody has any, and some of the client's are echoed (WIR-33). `limit` is the UDP size to which bufsize lowers the
    client's (0: not at all). `clear` are flags that are not copied from the query as usual.

    `error` says why it is a failure, for the plugin errors; clients do not see it. `bare` is a failure of this server's own, which no
    plugin wrote: plugins in front leave it as it is, and none keeps it. `origin` is the upstream that said it, now or when it was kept.
    """

    rcode: int = NOERROR
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    flags: int = AA
    life: Life | None = None
    rotate: bool = False
    plugin: str = ""
    zone: str = ""
    options: bytes | None = None
    limit: int = 0
    clear: int = 0
    error: str = ""
    bare: bool = False
    origin: str = ""

    def but(self, **changes: object) -> "Reply":
        """Return a copy with these fields changed."""
        return msgspec.structs.replace(self, **changes)


def failure(rcode: int, plugin: str = "", error: str = "") -> Reply:
    """Return the bare reply of a server error (WIR-15): no sections, AA clear."""
    return Reply(rcode=rcode, flags=0, plugin=plugin, error=error, bare=True)
