"""The contract: in every mode, real packets meet what the oracle says, in every world, case by case."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from pointsman.proxy.demo.lab import Laboratory
from pointsman.routing.packet import SourcePlace, Verdict
from pointsman.routing.route import Family
from table_agent import agent, write
from table_cases import ALL_CELLS, cases, cell, routing_of
from table_modes import MODES
from table_run import prepare, run
from table_services import CONFIGURATIONS, manifests, others
from table_worlds import TOPOLOGY, WORLDS

ROWS = [
    mode.param(world, name=f"{mode}-{world}", marks=[pytest.mark.two_kernels] if (mode, world) == (MODES[0], WORLDS[0]) else [])
    for mode in MODES
    for world in WORLDS
]
LEAST_CASES = 300
SHOWN = 40


def summary(world):
    """Return one line about a world's cases."""
    found = cases(world)
    verdicts = Counter(outcome.verdict.value for outcome in found.values())
    cells = {cell(case, outcome) for case, outcome in found.items()} - {None}
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return f"{world.name}: {len(found)} cases ({told}), {len(cells)} of {len(ALL_CELLS)} cells"


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_every_world_has_cases_of_every_verdict(world):
    found = cases(world)
    assert len(found) >= LEAST_CASES
    assert {outcome.verdict.value for outcome in found.values()} == {"forward", "reject", "drop", "untouched"}


def test_the_table_covers_every_cell_that_the_oracle_knows():
    """Frontend kind x policy x place x endpoints; a world without a detector has no pods, so it lacks just those."""
    for world in WORLDS:
        cells = {cell(case, outcome) for case, outcome in cases(world).items()} - {None}
        missing = {one for one in ALL_CELLS - cells if world.detectors or one[2].value != "pod"}
        assert not missing, f"{world}: {missing}"


def test_the_table_covers_every_rule():
    """Every number of SERVICES.md 3.2 to 3.4 that an outcome can carry is met by a case."""
    numbers = set()
    for world in WORLDS:
        for outcome in cases(world).values():
            numbers |= {text.partition(":")[0] for text in (outcome.reason, *(share.reason for share in outcome.shares))}
    wanted = [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 20, 27, 28, 30, 33, 41, 42]
    assert {f"SEM-{number:02}" for number in wanted} <= numbers


def test_the_services_are_as_they_seem():
    """No Service of the table is refused or warned about, but the one that is meant to be: each case tests what its name says."""
    noticed = {notice.subject for world in WORLDS for notice in routing_of(world).notices}
    assert noticed == {"Service table/ranges-ipv4-only"}


@pytest.mark.kernel
@pytest.mark.parametrize(("mode", "world"), ROWS)
async def test_real_packets_meet_what_the_oracle_says(mode, world, tmp_path, record_property):
    departing = mode.departing(cases(world))
    found = cases(world) | departing
    async with running(world, found, mode, tmp_path) as lab:
        differences = await run(lab, found)
    departs = f", {len(departing)} depart as told in docs/modes.md" if departing else ""
    record_property("contract", f"{mode}: {summary(world)}{departs}")
    record_property("cases", len(found))
    record_property("differing", len(differences))
    assert not differences, f"{len(differences)} of {len(found)} cases differ:\n{shown(differences)}"


@pytest.mark.kernel
async def test_what_is_wrong_is_seen(tmp_path):
    """The judge is judged: where nothing is programmed, or something else, the table does not pass."""
    default, masqueraded = WORLDS[0], next(world for world in WORLDS if world.masquerade_all)
    names = {"cc-both", "cl-both", "cc-none"}
    some = {case: outcome for case, outcome in cases(masqueraded).items() if case.configuration.name in names}
    async with running(default, some, MODES[0], tmp_path) as lab:
        differences = await run(lab, some)
    kept = {
        case for case, outcome in some.items()
        if case.target == "cluster IP" and outcome.place is SourcePlace.POD and outcome.verdict is Verdict.FORWARD
    }
    assert kept
    assert differences.keys() == kept
    assert all("saw source" in text and "SEM-06" in text for text in differences.values())


@pytest.mark.kernel
async def test_an_unprogrammed_kernel_does_not_pass():
    ours = {case: outcome for case, outcome in cases(WORLDS[0]).items() if outcome.verdict is not Verdict.UNTOUCHED}
    some = {case: outcome for case, outcome in ours.items() if case.configuration.name == "cl-both"}
    async with Laboratory(TOPOLOGY) as lab:
        prepare(lab, some)
        assert len(await run(lab, some)) == len(some)


@asynccontextmanager
async def running(world, found, mode, scratch):
    """Give the laboratory of a world: every node's daemon in a complete world, else the entry node's, in sync with all Services."""
    folder = scratch / "manifests"
    write(folder, manifests(CONFIGURATIONS, TOPOLOGY))
    lab = Laboratory(TOPOLOGY)
    async with lab:
        lab.configure(world.entry, "".join(f"addr add {held} dev lo\n" for held in held_prefixes(world)))
        prepare(lab, found)
        async with AsyncExitStack() as daemons:
            if world.changed:
                write(folder, manifests(others(), TOPOLOGY))
            if world.earlier:
                async with agent(lab, world.entry, mode, folder, world.earlier, scratch) as earlier:
                    await earlier.in_sync()
                write(folder, manifests(CONFIGURATIONS, TOPOLOGY))
            nodes = TOPOLOGY.node_names if world.complete else (world.entry,)
            started = [await daemons.enter_async_context(agent(lab, node, mode, folder, world.arguments, scratch)) for node in nodes]
            applied = await asyncio.gather(*(one.in_sync() for one in started))
            if world.changed and not world.earlier:
                write(folder, manifests(CONFIGURATIONS, TOPOLOGY))
                await asyncio.gather(*(one.in_sync(revision + 1) for one, revision in zip(started, applied, strict=True)))
            yield lab
    assert lab.leftovers == ()


def held_prefixes(world):
    """Return the load-balancer IPs that the entry node holds, with prefix length."""
    held = [address for family in Family for address in world.held(family)]
    return [f"{address}/{128 if ':' in address else 32}" for address in held]


def shown(differences):
    """Return differences for people: at most so many, and how many of each Service."""
    services = Counter(case.configuration.name for case in differences)
    return "\n".join([*sorted(differences.values())[:SHOWN], f"by Service: {dict(services)}"])
