"""Packets and bytes per endpoint, from connection tracking's own counters. Pure.

Rules that pick an endpoint meet the first packet of a connection only; what passes later is counted by connection tracking, entry by entry,
where `net.netfilter.nf_conntrack_acct` is 1. An entry and its counts go with the connection, so totals are kept here: what each entry has
gained since it was last read is added. What a connection passes between the last reading and its end is lost; who reads often loses little.

`pointsman top` reads; in the ipvs mode the virtual servers count both ways by themselves.
"""

from collections.abc import Iterable

from msgspec import Struct
from pointsman.conntrack.classify import Judge
from pointsman.conntrack.flow import PROTOCOLS, Flow
from pointsman.dataplane.traffic import Passed

Counts = tuple[int, int, int, int]
_NONE: Counts = (0, 0, 0, 0)


class Endpoint(Struct, frozen=True, gc=False):
    """Whose counts they are: the Service port, the protocol, and the endpoint."""

    subject: str
    protocol: str
    address: str
    port: int


class Accounts:
    """What passed since the first reading, and before it by connections that it saw."""

    def __init__(self) -> None:
        self._totals: dict[Endpoint, Counts] = {}
        self._seen: dict[tuple[object, ...], Counts] = {}

    def read(self, flows: Iterable[Flow], judge: Judge) -> None:
        """Add what these entries, all that there are at present, have gained since they were last read."""
        seen: dict[tuple[object, ...], Counts] = {}
        for flow in flows:
            counts = _counts(flow)
            if counts is None or not flow.translated or (name := judge.judge(flow).port_name) is None:
                continue
            identity = (flow.identity, flow.family, flow.protocol, flow.original)
            seen[identity] = counts
            before = self._seen.get(identity, _NONE)
            end = Endpoint(str(name), PROTOCOLS[flow.protocol].value, flow.reply.source, flow.reply.source_port)
            total = self._totals.get(end, _NONE)
            gained = (max(0, new - old) for new, old in zip(counts, before, strict=True))
            self._totals[end] = (total[0] + next(gained), total[1] + next(gained), total[2] + next(gained), total[3] + next(gained))
        self._seen = seen

    def passed(self) -> tuple[Passed, ...]:
        """Return the totals; connections are counted elsewhere."""
        return tuple(
            Passed(end.protocol, "", 0, end.address, end.port, 0, *counts, subject=end.subject) for end, counts in self._totals.items()
        )


def _counts(flow: Flow) -> Counts | None:
    """Return packets and bytes to the endpoint and back, None if the kernel does not count them."""
    sent, back = flow.sent, flow.returned
    return (sent.packets, sent.bytes, back.packets, back.bytes) if sent is not None and back is not None else None
