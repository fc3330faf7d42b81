"""Real connections for the cases of the demonstration, several cases at a time.

How many connections a case needs depends on what must be shown: shares need many, a refusal few, and silence costs its time-out. All of
them go through the laboratory's probes; nothing is retried. Where everything was answered and still something differs, which may be a
share that chance made odd, many more connections are asked for, and all of them are judged.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from pointsman.proxy.demo.judgement import NO_CHANCE, Finding, judge
from pointsman.proxy.demo.lab import Laboratory
from pointsman.proxy.demo.lab_probe import Ending, Result
from pointsman.proxy.demo.scene import Case
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Outcome, Verdict

CONNECTIONS = 60
"""New connections per case with several backends."""

MORE = 240
"""Further connections where shares were odd."""

FEW = 12
"""New connections per case with one possible answer."""

SILENT = 4
"""New connections per case that must stay without an answer."""

SILENCE_SECONDS = 0.7
ANSWER_SECONDS = 30.0
ABREAST = 4
"""Cases under way at once."""

AT_ONCE = 6
"""Connections of one case under way at once."""


async def run(lab: Laboratory, oracles: Mapping[str, Oracle], cases: Iterable[Case], tell: Callable[[Finding], None]) -> list[Finding]:
    """Try every case and return what became of each, in the order of the cases; `tell` hears of each as it ends. `oracles` are by node."""
    waiting = asyncio.Semaphore(ABREAST)

    async def one(case: Case) -> Finding:
        async with waiting:
            found = await attempt(lab, case, oracles[case.sender.node].trace(case.packet))
        tell(found)
        return found

    return await asyncio.gather(*map(one, cases))


async def attempt(lab: Laboratory, case: Case, outcome: Outcome) -> Finding:
    """Send the connections of one case and return what became of them."""
    forwarded = outcome.verdict is Verdict.FORWARD
    silent = outcome.verdict in {Verdict.DROP, Verdict.UNTOUCHED}
    count = CONNECTIONS if forwarded and len(outcome.shares) > 1 else SILENT if silent else FEW
    timeout = SILENCE_SECONDS if silent else ANSWER_SECONDS
    results = await _ask(lab, case, count, timeout)
    finding = judge(case, outcome, results, lab.topology)
    if finding.differences and count == CONNECTIONS and set(finding.endings) == {Ending.ANSWERED} and not outcome.affinity_seconds:
        results += await _ask(lab, case, MORE, timeout)
        finding = judge(case, outcome, results, lab.topology, NO_CHANCE)
    return finding


async def _ask(lab: Laboratory, case: Case, count: int, seconds: float) -> list[Result]:
    """Send some connections of one case and return what became of them."""
    results: list[Result] = []
    for first in range(0, count, AT_ONCE):
        some = [
            lab.probe(
                case.sender.place,
                case.destination,
                case.port,
                case.protocol,
                source_address=case.sender.address(case.family),
                timeout_seconds=seconds,
            )
            for _ in range(min(AT_ONCE, count - first))
        ]
        results += await asyncio.gather(*some)
    return results
