"""Was that as the oracle said? Counts what came back from one case and compares it with the outcome.

Pure. A case is in order if every connection ended as it must, only backends of the outcome were met, each about as often as its share
says, and each saw the source address that it must see. Shares are random, so they are held to some standard deviations: five make a right
kernel fail one case in a million, and `trial` then asks on before it believes it; seven are no chance.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct
from pointsman.proxy.demo.lab_probe import Ending, Result
from pointsman.proxy.demo.lab_topology import Topology
from pointsman.proxy.demo.scene import Case
from pointsman.routing.packet import Outcome, Share, Verdict

DEVIATIONS = 5.0
"""How far a measured share may be from the expected one, in standard deviations, unless told otherwise."""

NO_CHANCE = 7.0
"""The same where a share was found odd before, and many more connections were asked for."""

_ENDINGS = {Verdict.FORWARD: Ending.ANSWERED, Verdict.REJECT: Ending.REFUSED, Verdict.DROP: Ending.SILENT, Verdict.UNTOUCHED: Ending.SILENT}


class Met(Struct, frozen=True):
    """A backend that was met: its place, how often, and the source addresses it saw."""

    place: str
    count: int
    sources: tuple[str, ...]


class Finding(Struct, frozen=True):
    """What became of a case: the outcome the oracle told, the endings and backends counted, and what differs (empty: nothing)."""

    case: Case
    outcome: Outcome
    sent: int
    endings: dict[Ending, int]
    met: tuple[Met, ...]
    differences: tuple[str, ...]


def judge(case: Case, outcome: Outcome, results: Sequence[Result], topology: Topology, deviations: float = DEVIATIONS) -> Finding:
    """Return what became of a case."""
    counts = Counter(result.backend for result in results if result.ending is Ending.ANSWERED)
    met = tuple(
        Met(place, count, tuple(sorted({result.seen_source for result in results if result.backend == place})))
        for place, count in sorted(counts.items())
    )
    endings = dict(Counter(result.ending for result in results))
    differences = (*_ending_differences(outcome, endings), *_backend_differences(case, outcome, met, topology, deviations))
    return Finding(case, outcome, len(results), endings, met, differences)


def expected_source(case: Case, share: Share, topology: Topology) -> str:
    """Return the source address that a backend must see (SEM-03 to SEM-20).

    A masqueraded connection shows the deciding node's address on the side of the backend: that towards its pods, or the underlay's.
    """
    if not share.masquerade:
        return case.sender.address(case.family)
    node = case.sender.node
    place = place_of(share, topology)
    here = place in {pod.name for pod in topology.pods_of(node)}
    return topology.gateway(node, case.family) if here else topology.places[node].addresses[case.family]


def place_of(share: Share, topology: Topology) -> str:
    """Return the place that plays a backend, empty if none does."""
    for place in topology.places.values():
        if share.backend.address in place.addresses.values():
            return place.name
    return ""


def _ending_differences(outcome: Outcome, endings: dict[Ending, int]) -> Iterator[str]:
    wanted = _ENDINGS[outcome.verdict]
    for ending, count in endings.items():
        if ending is not wanted:
            yield f"{count} connections were {ending.value}, not {wanted.value}"


def _backend_differences(
    case: Case, outcome: Outcome, met: Sequence[Met], topology: Topology, deviations: float
) -> Iterator[str]:
    shares = {place_of(share, topology): share for share in outcome.shares}
    total = sum(one.count for one in met)
    for one in met:
        share = shares.get(one.place)
        if share is None:
            yield f"{one.place} was met, which is no backend here"
            continue
        source = expected_source(case, share, topology)
        if one.sources != (source,):
            yield f"{share.backend} saw {', '.join(one.sources)}, not {source}"
    if outcome.affinity_seconds:
        if len(met) > 1:
            yield f"{len(met)} backends were met in spite of session affinity"
        return
    counts = {one.place: one.count for one in met}
    for place, share in shares.items():
        mean = total * share.probability
        allowed = deviations * math.sqrt(mean * (1 - share.probability))
        if abs(counts.get(place, 0) - mean) > allowed + 0.5:
            yield f"{share.backend} got {counts.get(place, 0)} of {total} connections, {mean:.0f} are its share"
