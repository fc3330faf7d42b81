"""Whether the kernel does what the oracle says, packet by packet. Pure.

Two accounts of one packet are compared: the oracle's outcome (what should happen) and the trace (what the kernel holds). Each
difference is a `Mismatch` in words with the evidence that shows it; none is a working connection. What a trace could not judge is a doubt,
and a doubt is never taken for a difference.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from msgspec import Struct
from pointsman.dataplane.trace import Evidence, Trace, Way
from pointsman.routing.packet import Outcome, Verdict

Socket = tuple[str, int]


class Mismatch(Struct, frozen=True):
    """Something that the kernel does otherwise: in words, the object that does it if one does, and whether it is another program's."""

    text: str
    evidence: Evidence | None = None

    @property
    def foreign(self) -> bool:
        """Return whether another program's object is the cause."""
        return self.evidence is not None and not self.evidence.ours


def mismatches(outcome: Outcome, trace: Trace, *, weighted: bool = False) -> tuple[Mismatch, ...]:
    """Return in what a trace differs from the oracle's outcome, the cause first; `weighted` where a mode does not share equally."""
    refusals = tuple(_refusals(outcome, trace))
    if outcome.verdict is not Verdict.FORWARD:
        return refusals + tuple(_passed(outcome, trace))
    forwarded = [way for way in trace.ways if way.verdict is Verdict.FORWARD]
    untouched = [way for way in trace.ways if way.verdict is Verdict.UNTOUCHED]
    found = list(refusals)
    if untouched:
        found.append(Mismatch("no rule or server of the kernel takes the packet to an endpoint", None))
    if forwarded:
        found += _endpoints(outcome, forwarded, refused=bool(refusals), weighted=weighted)
        found += _sources(outcome, forwarded)
    return tuple(found)


def doubts(trace: Trace) -> tuple[str, ...]:
    """Return everything that could not be judged, each once."""
    return tuple(dict.fromkeys(doubt for way in trace.ways for doubt in way.doubts))


def _refusals(outcome: Outcome, trace: Trace) -> Iterable[Mismatch]:
    seen: dict[Evidence | None, None] = {}
    for way in trace.ways:
        if way.verdict not in {Verdict.DROP, Verdict.REJECT} or way.verdict is outcome.verdict or way.culprit in seen:
            continue
        seen[way.culprit] = None
        word = "dropped" if way.verdict is Verdict.DROP else "rejected"
        share = "" if way.probability > 1 - 1e-6 else f" on its way to {_text((way.address, way.port))}"
        rule = way.culprit
        by = "" if rule is None else f" by {rule.where}" if rule.ours else f" by {rule.where}, which is not pointsman's: {rule.text}"
        yield Mismatch(f"the packet is {word}{share}{by}", way.culprit)


def _passed(outcome: Outcome, trace: Trace) -> Iterable[Mismatch]:
    for way in trace.ways:
        if way.verdict is outcome.verdict or way.verdict not in {Verdict.FORWARD, Verdict.UNTOUCHED}:
            continue
        went = f"is sent to {_text((way.address, way.port))}" if way.verdict is Verdict.FORWARD else "passes"
        should = {Verdict.REJECT: "rejected", Verdict.DROP: "dropped"}.get(outcome.verdict, "left alone")
        yield Mismatch(f"the packet {went}, but should be {should}", way.evidence[-1] if way.evidence else None)


def _endpoints(outcome: Outcome, ways: list[Way], *, refused: bool, weighted: bool) -> Iterable[Mismatch]:
    wanted = {_socket(share.backend.address, share.backend.port): share for share in outcome.shares}
    found = _shares(ways)
    for place in sorted(found.keys() - wanted.keys()):
        way = next(way for way in ways if _socket(way.address, way.port) == place)
        shown = next((one for one in reversed(way.evidence) if _text(place) in one.text), None)
        yield Mismatch(f"the kernel sends to {_text(place)}, which is no endpoint for this connection", shown)
    for place in sorted(wanted.keys() - found.keys()):
        if not refused:
            yield Mismatch(f"the kernel lacks endpoint {_text(place)}", None)
    if not weighted and not refused and wanted.keys() == found.keys():
        for place, share in wanted.items():
            if abs(found[place] - share.probability) > 1e-3:
                yield Mismatch(f"endpoint {_text(place)} gets {found[place]:.1%} of connections instead of {share.probability:.1%}", None)


def _shares(ways: list[Way]) -> Mapping[Socket, float]:
    found: dict[Socket, float] = {}
    for way in ways:
        place = _socket(way.address, way.port)
        found[place] = found.get(place, 0.0) + way.probability
    return found


def _sources(outcome: Outcome, ways: list[Way]) -> Iterable[Mismatch]:
    """Yield ways that are masqueraded and should not be, or the other way round; what ends on this node itself shows no difference."""
    wanted = {_socket(share.backend.address, share.backend.port): share.masquerade for share in outcome.shares}
    for place, masquerade in wanted.items():
        for way in ways:
            if _socket(way.address, way.port) == place and not way.local and way.masquerade is not masquerade:
                word = "is not masqueraded, but should be" if masquerade else "is masqueraded, but should keep its source"
                yield Mismatch(f"a connection to {_text(place)} {word}", None)
                return


def _socket(address: str, port: int) -> Socket:
    return str(ip_address(address)), port


def _text(place: Socket) -> str:
    return f"[{place[0]}]:{place[1]}" if ":" in place[0] else f"{place[0]}:{place[1]}"
