"""Unknown cluster names, denied at once: most of what a cluster asks (SRC-04).

A search path turns `example.com` into `example.com.shop.svc.cluster.local` and more of that kind. They are all different and all the same:
no such Service, NXDOMAIN, the zone's SOA. Here such a query is recognised by its bytes and answered with the question as it came and an SOA
that is prepared per length of the name; nothing is parsed that does not matter. In doubt the answer is None, and the chain decides.

What is decided here (REC-31, REC-40): a label left of the zone that is neither `svc` nor `pod`; a namespace that does not exist; a
Service that does not exist, with anything in front of it. It needs a catalog that is complete (REC-110) and a chain that lets it
(`contract.Plain`).
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from pointsman.dns.apex import soa
from pointsman.dns.books import Books, Flow
from pointsman.dns.catalog import Catalog
from pointsman.dns.contract import Denied, Plain
from pointsman.dns.encode import asks_for, echoed
from pointsman.dns.hot import FOREVER, Hit, Hot
from pointsman.dns.question import MAX_NAME, well_formed
from pointsman.dns.resolve import PLUGIN

_ONE_QUESTION: Final = b"\x00\x01\x00\x00\x00\x00\x00"
_BARE: Final = 11
"""The length of an OPT without options."""
_LABEL: Final = 63
"""The length of the longest label."""
_NSID: Final = 3
"""The option by which a client asks for this server's name: the plugin of that name answers it."""
_OPT: Final = b"\x00\x00\x29"
_FLAGS: Final = frozenset({b"\x00" * 4, b"\x00\x00\x80\x00"})
"""OPT after its size: version 0, with or without DO."""
_SVC: Final = b"\x03svc"
_POD: Final = b"\x03pod"
_SPECIAL: Final = frozenset({b"\x0bdns-version", b"\x02ns\x03dns"})
_OTHERWISE: Final = frozenset({6, 251, 252})
"""Types that are not answered by a denial: SOA (REC-92) and transfers."""
NXDOMAIN: Final = 3
LEAST: Final = 15
ROOM: Final = 512
"""Shorter messages are no queries; longer ones go the ordinary way."""


class Tallied(Struct):
    """Denials of one kind that are not in the books yet, by size of query and of reply."""

    flow: Flow
    times: int = 0
    request: int = 0
    response: int = 0


class Denials:
    """Denies names of the zones with the short cut."""

    def __init__(
        self, zones: Sequence[Plain], catalog: Catalog, books: Books, hot: Hot, *, speculate: Denied | None = None
    ) -> None:
        self._zones = tuple(sorted(zones, key=lambda plain: len(plain.zone), reverse=True))
        self._catalog = catalog
        self._books = books
        self._hot = hot
        self._speculate = speculate
        self._tails: dict[tuple[bytes, int], bytes] = {}
        self._serial = -1
        self._kinds: dict[tuple[bytes, int, int], Tallied] = {}

    def answer(self, message: bytes) -> bytes | None:
        """Return the reply to a message, both without id, or None if it is not for here to decide."""
        if not LEAST <= len(message) <= ROOM or message[0] & 0xFE or message[2:9] != _ONE_QUESTION:
            return None
        end = message.find(b"\x00", 10) + 1
        with_opt = message[9]
        rest = len(message) - end - 4
        if not end or with_opt > 1 or message[end + 2 : end + 4] != b"\x00\x01":
            return None
        if with_opt and (message[end + 4 : end + 7] != _OPT or message[end + 9 : end + 13] not in _FLAGS):
            return None
        if rest != (11 + int.from_bytes(message[end + 13 : end + 15], "big") if with_opt else 0):
            return None
        qtype = message[end] << 8 | message[end + 1]
        key = message[10:end].lower()
        for plain in self._zones:
            if key.endswith(plain.zone):
                if qtype in _OTHERWISE or not self._unknown(key, plain):
                    return None
                return self._denial(message, end, plain, qtype, with_opt)
        return None

    def settle(self, seconds: float) -> None:
        """Bring what was denied to the books."""
        for kind in self._kinds.values():
            if kind.times:
                kind.flow.count(kind.times, kind.request // kind.times, kind.response // kind.times, seconds)
                kind.times = kind.request = kind.response = 0

    def _unknown(self, key: bytes, plain: Plain) -> bool:
        """Return whether the name surely does not exist."""
        left = len(key) - len(plain.zone)
        at, last, before, third = 0, -1, -1, -1
        while at < left:
            third, before, last = before, last, at
            if key[at] > _LABEL:
                return False
            at += 1 + key[at]
        if at != left or last < 0 or len(key) > MAX_NAME or not self._catalog.synced or key in plain.exempt:
            return False
        label = key[last:left]
        if label != _SVC:
            return label != _POD and key[:left] not in _SPECIAL
        if before < 0:
            return False
        if third < 0:
            return key[before:last] not in self._catalog.namespaces
        return key[third:last] not in self._catalog.services.facts

    def _denial(self, message: bytes, end: int, plain: Plain, qtype: int, with_opt: int) -> bytes | None:
        start = end + 2 - len(plain.zone)
        if self._serial != self._catalog.serial:
            self._tails.clear()
            self._serial = self._catalog.serial
        tail = self._tails.get((plain.zone, start)) or self._tail(plain, start)
        opt = message[end + 4 :] if with_opt else b""
        if len(opt) > _BARE:
            if not well_formed(opt[_BARE:]) or asks_for(opt[_BARE:], _NSID):
                return None
            options = echoed(opt[_BARE:])
            opt = opt[: _BARE - 2] + len(options).to_bytes(2, "big") + options
        if plain.limit and with_opt and int.from_bytes(opt[3:5], "big") > plain.limit:
            opt = opt[:3] + plain.limit.to_bytes(2, "big") + opt[5:]
        reply = b"".join((
            (0x84 | message[0] & 1).to_bytes(1, "big"), (message[1] & 0x10 | NXDOMAIN).to_bytes(1, "big"),
            b"\x00\x01\x00\x00\x00\x01\x00", message[9:10], message[10 : end + 4], tail, opt,
        ))  # fmt: skip
        if len(reply) + 2 > ROOM:  # a client need not take more (WIR-40)
            return None
        kind = self._kind(plain, qtype, message[end + 11] if with_opt else 0)
        kind.times += 1
        kind.request += len(message) + 2
        kind.response += len(reply) + 2
        key = message[10:end].lower()
        until = FOREVER if self._speculate is None else self._speculate(key, plain.zone, qtype)
        if not self._hot.seen(message):
            return reply
        self._hot.put(message, Hit(reply, until, kind.flow, tags=_tags(key, len(plain.zone))))
        return reply

    def _kind(self, plain: Plain, qtype: int, do: int) -> Tallied:
        kind = self._kinds.get((plain.zone, qtype, do))
        if kind is None:
            flow = self._books.flow(plain.block, qtype, NXDOMAIN, PLUGIN, do=bool(do))
            kind = self._kinds[plain.zone, qtype, do] = Tallied(flow)
        return kind

    def _tail(self, plain: Plain, start: int) -> bytes:
        """Return the SOA record whose names point to the zone, `start` bytes from the message's beginning."""
        record = soa(plain.zone, plain.minimum, self._serial)
        pointer = (0xC000 | start).to_bytes(2, "big")
        rdata = b"\x02ns\x03dns" + pointer + b"\x0ahostmaster" + pointer + record.rdata[-20:]
        made = pointer + b"\x00\x06\x00\x01" + plain.ttl.to_bytes(4, "big") + len(rdata).to_bytes(2, "big") + rdata
        self._tails[plain.zone, start] = made
        return made


def _tags(key: bytes, zone: int) -> tuple[bytes, ...]:
    """Return on what the denial of a name rests: the Service or namespace that it would need; `zone` is the length of the zone's name."""
    at, last, before, third = 0, -1, -1, -1
    left = len(key) - zone
    while at < left:
        third, before, last = before, last, at
        at += 1 + key[at]
    if key[last:left] != _SVC:
        return ()
    return (key[before:last],) if third < 0 else (key[third:last],)
