"""Judging a dump at speed: a million entries in seconds, most of them without making a value of them.

What a flow is to be judged by stands at fixed places of an entry (`wire.TUPLES`): the bytes of its two ends are looked up in what is known,
and only ends not met before are decoded and given to the `Judge`. What no Service plays a part in is known from two look-ups. So an entry
costs well under a microsecond and nothing is kept of it, unless its class is one that was asked for. An entry of another shape takes the
long way, attribute by attribute, and is judged the same. A sweep of one protocol passes over all others: kernels before 5.8 tell them too,
and whoever looks at one protocol judges by its routes alone.

Nothing here has effects: `socket` is imported for its conversion of addresses. A sweep is of one family and one thread; `kernel` feeds it
the datagrams of a dump.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from socket import inet_pton
from typing import Final

from pointsman.conntrack import wire
from pointsman.conntrack.classify import FlowClass, Judge, Judgement
from pointsman.conntrack.flow import NUMBERS, Flow, Status
from pointsman.conntrack.tombstones import Served
from pointsman.netlink import codec
from pointsman.routing.route import Family, ServiceRoute

ROOM: Final = 100_000
"""So many pairs of ends are remembered before all are forgotten."""

_LEAD: Final = struct.Struct("=IH")
_ERRNO: Final = struct.Struct("=i")
_PORT: Final = struct.Struct(">H")
_CLASH: Final = Status.NAT_CLASH >> 8
"""The mark of a clash in the third byte of a status."""


class _Place:
    """One address and port of a Service: how many flows to its endpoints were met, and those ends in bytes, once somebody asks."""

    __slots__ = ("ends", "met", "route")

    def __init__(self, route: ServiceRoute | None) -> None:
        self.route = route
        self.ends: frozenset[bytes] | None = None if route is not None else frozenset()
        self.met = 0

    def read(self) -> frozenset[bytes]:
        """Return the endpoints that take connections, as an entry has them."""
        assert self.route is not None
        inet = wire.AF[self.route.family]
        self.ends = frozenset(inet_pton(inet, one.address) + _PORT.pack(one.port) for one in self.route.reachable)
        return self.ends


class Places:
    """Where Services are, or were, in bytes: address and port, and node ports, by protocol number."""

    def __init__(self, frontends: Iterable[tuple[Served, ServiceRoute | None]], family: Family) -> None:
        self.vips: dict[int, dict[bytes, _Place]] = {number: {} for number in NUMBERS.values()}
        self.ports: dict[int, set[bytes]] = {number: set() for number in NUMBERS.values()}
        for one, route in frontends:
            port, number = _PORT.pack(one.port), NUMBERS[one.protocol]
            if one.address:
                self.vips[number].setdefault(inet_pton(wire.AF[family], one.address) + port, _Place(route))
            else:
                self.ports[number].add(port)


class Sweep:
    """One pass over the entries of a family: counts by class and Service, and hands over the flows of classes that were asked for."""

    def __init__(
        self, judge: Judge, family: Family, wanted: frozenset[FlowClass] = frozenset(), limit: int = 1, protocol: int | None = None
    ) -> None:
        """Judge by `judge`, a protocol or all; the first flows of wanted classes are kept, as many as `limit` says."""
        self.family = family
        self.unreadable = 0
        self.taken: list[tuple[Flow, Judgement]] = []
        self.more = 0
        self._judge = judge
        self._limit = limit
        self._protocol = protocol
        self._places = Places(judge.places(family), family)
        self._wanted = wanted
        self._met: dict[int, dict[bytes, list[int]]] = {one: {} for one in NUMBERS.values() if protocol in (None, one)}
        self._judgements: list[Judgement] = []
        self._counted: Counter[tuple[FlowClass, str]] = Counter()

    def datagram(self, raw: bytes) -> bool:
        """Take one datagram of the dump; return whether it was the last. Raises MalformedError, or OSError with the kernel's errno."""
        layout, constants = wire.TUPLES[self.family], wire.shape(self.family)
        head, ports, reply, more, follows = constants
        unpack, size, end, offset = layout.unpack_from, layout.size, len(raw), 0
        vips, node_ports, met = self._places.vips, self._places.ports, self._met
        alone = self._protocol or 0
        plain, skip, pass_well = 0, FlowClass.NOT_A_SERVICE not in self._wanted, FlowClass.OK not in self._wanted
        while offset + size <= end:
            (length, kind, one, src, dst, two, number, sport, dport, three, rsrc, rdst, four, _, rsport, rdport, _, next_kind, status) = (
                unpack(raw, offset)
            )
            if length < 16 or offset + length > end:
                break
            if kind != wire.NEW or length < size:
                if self._rest(raw[: offset + length], offset):
                    return self._finish(plain, last=True)
                offset += length + 3 & ~3
                continue
            usual = one == head and two == ports and three == reply and four == more and next_kind == follows and number in met
            if not usual or status[2] & _CLASH or (rdst == src and rdport != sport):  # a clash depends on the client
                self._long_way(raw, offset, length, other=alone not in (0, number) and one == head and two == ports)
            else:
                there = vips[number].get(dst + dport)
                if there is None and skip and rsrc == dst and rsport == dport and dport not in node_ports[number]:
                    plain += 1
                elif there is not None and pass_well and rsrc + rsport in (there.ends if there.ends is not None else there.read()):
                    there.met += 1
                else:
                    ends = dst + dport + rsrc + rsport
                    cell = met[number].get(ends)
                    if cell is None:
                        self._first(raw, offset, length, number, ends)
                    else:
                        cell[0] += 1
                        if cell[2]:
                            self._keep(memoryview(raw)[offset + 16 : offset + length], self._judgements[cell[1]])
            offset += length + 3 & ~3
        return self._finish(plain, last=self._rest(raw, offset))

    def counts(self) -> Counter[tuple[FlowClass, str]]:
        """Return how many flows there are by class and Service port (empty where none plays a part)."""
        self._fold()
        found = Counter(self._counted)
        for there in (one for places in self._places.vips.values() for one in places.values() if one.met):
            assert there.route is not None
            found[FlowClass.OK, str(there.route.port_name)] += there.met
        return found

    def release(self) -> None:
        """Forget where Services are, one by one: all at once would keep other threads waiting for tens of milliseconds."""
        for places in self._places.vips.values():
            while places:
                places.popitem()

    def _rest(self, raw: bytes, offset: int) -> bool:
        """Take what is too short for the quick way: the end of the dump, and entries of a shape that is not known."""
        while offset < len(raw):
            if len(raw) - offset < codec.HEADER.size:
                raise codec.MalformedError(f"{len(raw) - offset} bytes are left of a datagram")
            length, kind = _LEAD.unpack_from(raw, offset)
            if not codec.HEADER.size <= length <= len(raw) - offset:
                raise codec.MalformedError(f"a message of {length} bytes, of which {len(raw) - offset} are there")
            if self._ends(raw, offset, length, kind):
                return True
            if kind == wire.NEW:
                self._long_way(raw, offset, length)
            offset += length + 3 & ~3
        return False

    def _finish(self, plain: int, *, last: bool) -> bool:
        if plain:
            self._counted[FlowClass.NOT_A_SERVICE, ""] += plain
        return last

    @staticmethod
    def _ends(raw: bytes, offset: int, length: int, kind: int) -> bool:
        """Return whether a message ends the dump; raises OSError for one that tells an error."""
        if kind not in (codec.DONE, codec.ERROR):
            return False
        number = _ERRNO.unpack_from(raw, offset + 16)[0] if length >= 20 else 0
        if number < 0:
            raise OSError(-number, "dump of connection tracking")
        return True

    def _first(self, raw: bytes, offset: int, length: int, number: int, ends: bytes) -> None:
        """Judge two ends that were not met before, and remember it."""
        body = memoryview(raw)[offset + 16 : offset + length]
        judgement = self._judge.judge(wire.flow(body))
        met = self._met[number]
        if len(met) >= ROOM:
            self._fold()
        met[ends] = [1, len(self._judgements), judgement.kind in self._wanted]
        self._judgements.append(judgement)
        if judgement.kind in self._wanted:
            self._keep(body, judgement)

    def _long_way(self, raw: bytes, offset: int, length: int, *, other: bool = False) -> None:
        """Judge one entry for itself, unless it is seen to be of a protocol other than the wanted one."""
        if other:
            return
        body = memoryview(raw)[offset + 16 : offset + length]
        if len(body) < wire.FIXED or body[0] != wire.AF[self.family]:
            self.unreadable += 1
            return
        try:
            flow = wire.flow(body)
        except codec.MalformedError:
            self.unreadable += 1
            return
        if self._protocol not in (None, flow.protocol):
            return
        judgement = self._judge.judge(flow)
        self._counted[judgement.kind, judgement.service] += 1
        if judgement.kind in self._wanted:
            self._keep(body, judgement)

    def _keep(self, body: memoryview, judgement: Judgement) -> None:
        if len(self.taken) < self._limit:
            self.taken.append((wire.flow(body), judgement))
        else:
            self.more += 1

    def _fold(self) -> None:
        """Add up what was counted by ends, and forget the ends."""
        for met in self._met.values():
            for count, index, _ in met.values():
                judgement = self._judgements[index]
                self._counted[judgement.kind, judgement.service] += count
            met.clear()
        self._judgements.clear()


ALL: Final = frozenset(FlowClass)
"""Every class is wanted."""
