"""Asks real kernels what the oracle was asked: sends each case's packets, and tells where reality differs.

How many connections a case makes: a refusal or silence is asked twice; where connections are forwarded, at least enough to see that nobody
else answers, and until every backend has answered. A backend that should answer is missed by chance in fewer than one of 10^15 cases, so
in all the cases of all worlds and modes together in fewer than one of 10^9 runs.
"""

import asyncio
import math
from collections import Counter

from pointsman.proxy.demo.lab import Ending
from pointsman.proxy.demo.lab_topology import PlaceKind
from pointsman.routing.packet import SourcePlace, Verdict
from table_worlds import TOPOLOGY

AT_ONCE = 48
LEAST = 8
ROUND = 8
MISSED_BY_CHANCE = 1e-15
SILENCE_SECONDS = 0.4
ANSWER_SECONDS = 60.0  # however busy the machine is: what is tested is whether an answer comes
PLACE_OF = {address: place for place in TOPOLOGY.places.values() for address in place.addresses.values()}


def most(shares):
    """Return after how many connections a backend that never answered is no chance any more."""
    count = len(shares)
    if count == 1:
        return LEAST
    return max(LEAST, math.ceil(math.log(MISSED_BY_CHANCE / count) / math.log(1 - 1 / count)))


def expected_source(case, outcome, share):
    """Return the source addresses that a backend may see."""
    entry, family = case.world.entry, case.family
    backend = PLACE_OF[share.backend.address]
    if not share.masquerade:
        return {case.source.address}
    if backend.kind is PlaceKind.NODE and backend.name == entry:
        # Delivered locally: what this node itself sends passes postrouting, what arrived from elsewhere does not.
        return set(TOPOLOGY.local_addresses(entry, family)) if outcome.place is SourcePlace.NODE else {case.source.address}
    return {TOPOLOGY.gateway(entry, family) if backend.node == entry else TOPOLOGY.places[entry].addresses[family]}


async def ask(lab, case, seconds):
    """Open one connection as the case has it."""
    return await lab.probe(
        case.source.place, case.destination, case.port, case.protocol, source_address=case.source.address, timeout_seconds=seconds
    )


async def forwarded(lab, case, outcome):
    """Return what differs where connections must be forwarded; empty if nothing does."""
    wanted = {(PLACE_OF[share.backend.address].name, share.backend.port): share for share in outcome.shares}
    answered = Counter()
    limit = most(outcome.shares)
    while answered.total() < LEAST or (len(answered) < len(wanted) and answered.total() < limit):
        for result in await asyncio.gather(*(ask(lab, case, ANSWER_SECONDS) for _ in range(ROUND))):
            who = (result.backend, result.port)
            if result.ending is not Ending.ANSWERED:
                return f"{result.ending.value}, not answered, after {answered.total()} connections"
            if who not in wanted:
                return f"answered by {who[0]}:{who[1]}, which is none of {sorted(wanted)}"
            sources = expected_source(case, outcome, wanted[who])
            if result.seen_source not in sources:
                return f"{who[0]} saw source {result.seen_source}, not {sorted(sources)} ({wanted[who].reason})"
            answered[who] += 1
    if len(answered) < len(wanted):
        return f"{sorted(set(wanted) - set(answered))} never answered in {answered.total()} connections"
    return ""


async def sticky(lab, case, outcome):
    """Return what differs where the first backend must be kept (SEM-25)."""
    wanted = {PLACE_OF[share.backend.address].name for share in outcome.shares}
    first = await ask(lab, case, ANSWER_SECONDS)
    others = await asyncio.gather(*(ask(lab, case, ANSWER_SECONDS) for _ in range(LEAST)))
    met = {result.backend for result in (first, *others)}
    return "" if len(met) == 1 and met <= wanted else f"met {sorted(met)}, not one of {sorted(wanted)}"


async def ended(lab, case, ending, seconds):
    """Return what differs where nobody may answer."""
    results = await asyncio.gather(*(ask(lab, case, seconds) for _ in range(2)))
    wrong = {f"{result.ending.value} {result.backend}".strip() for result in results if result.ending is not ending}
    return f"{', '.join(sorted(wrong))}, not {ending.value}" if wrong else ""


def untouched_answerer(case):
    """Return the place where a packet arrives that nobody touches."""
    local = {*TOPOLOGY.local_addresses(case.world.entry, case.family), *case.world.held(case.family), "127.0.0.1", "::1"}
    return case.world.entry if case.destination in local else "elsewhere"


async def untouched(lab, case):
    """Return what differs where a packet must pass as it is."""
    result = await ask(lab, case, ANSWER_SECONDS)
    where = untouched_answerer(case)
    if (result.ending, result.backend) != (Ending.ANSWERED, where):
        return f"{result.ending.value} {result.backend}, not passed on to {where}"
    return "" if result.seen_source == case.source.address else f"{where} saw source {result.seen_source}, not {case.source.address}"


async def check(lab, case, outcome):
    """Return in words how reality differs from the oracle; empty if it does not."""
    match outcome.verdict:
        case Verdict.FORWARD:
            return await (sticky if outcome.affinity_seconds else forwarded)(lab, case, outcome)
        case Verdict.REJECT:
            return await ended(lab, case, Ending.REFUSED, ANSWER_SECONDS)
        case Verdict.DROP:
            return await ended(lab, case, Ending.SILENT, SILENCE_SECONDS)
        case Verdict.UNTOUCHED:
            return await untouched(lab, case)


def prepare(lab, cases):
    """Open the servers that answer besides the pods: wherever an untouched or leaked packet would arrive, and on the nodes' own ports."""
    wanted = {("elsewhere", protocol, port) for protocol in {case.protocol for case in cases} for port in (80, 81)}
    for case, outcome in cases.items():
        if outcome.verdict is Verdict.UNTOUCHED:
            wanted.add((untouched_answerer(case), case.protocol, case.port))
        for share in outcome.shares:
            place = PLACE_OF[share.backend.address]
            if place.kind is PlaceKind.NODE or share.backend.port != 8080:
                wanted.add((place.name, case.protocol, share.backend.port))
    for place, protocol, port in sorted(wanted, key=str):
        lab.servers.serve(place, protocol, port)


async def run(lab, cases):
    """Return the cases that differ, each with the difference in words."""
    gate = asyncio.Semaphore(AT_ONCE)
    differences = {}

    async def one(case, outcome):
        async with gate:
            difference = await check(lab, case, outcome)
        if difference:
            differences[case] = f"{case}: {difference}; the oracle: {outcome.verdict.value}, {outcome.reason}"

    together = {case: outcome for case, outcome in cases.items() if not outcome.affinity_seconds and outcome.verdict is not Verdict.DROP}
    silent = {case: outcome for case, outcome in cases.items() if outcome.verdict is Verdict.DROP}
    await asyncio.gather(*(one(case, outcome) for case, outcome in together.items()))
    await asyncio.gather(*(one(case, outcome) for case, outcome in silent.items()))
    for case, outcome in cases.items():  # what one case makes a client remember must not surprise another one
        if case not in together and case not in silent:
            await one(case, outcome)
    return differences
