"""The reconcile loop against a kernel that fails one operation in ten, on virtual time.

Nothing here waits for real, and no fault is excused: whatever happened, the kernel ends exactly as wanted.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from fakes.faulty import Chain, FakeCompiler, FaultyKernel, Foreign, Rule
from fakes.virtual import run
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dataplane.plan import from_scratch
from pointsman.proxy.loop import FamilyLoop, LoopSettings
from pointsman.proxy.status import FamilyProgress
from pointsman.routing.build import RoutingChange
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Backend, Family, HealthCheck, Protocol, Routing, ServicePortName, ServiceRoute

NODE = NodeFacts("n1")
WALL = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
EVER = 3600.0


def route(name, *backends, family=Family.IPV4):
    """Return a route by the number in its name."""
    port_name = ServicePortName("shop", name, "", Protocol.TCP)
    found = tuple(Backend(f"10.0.0.{number}", 80, local=False, hairpin=False) for number in backends)
    return ServiceRoute(port_name, family, "10.96.0.1", sum(map(ord, name)), cluster=found)


class Router:
    """Says what is wanted, one revision after the other."""

    def __init__(self) -> None:
        self.routes = {}
        self.routing = Routing(0, {}, {}, {}, (), ())

    def change(self, *routes, gone=(), **static) -> RoutingChange:
        changed = {found.key: found for found in routes if self.routes.get(found.key) != found}
        changed |= {route(name).key: None for name in gone if route(name).key in self.routes}
        self.routes = {key: found for key, found in {**self.routes, **changed}.items() if found is not None}
        self.routing = structs.replace(self.routing, revision=self.routing.revision + 1, routes=self.routes, **static)
        return RoutingChange(self.routing, changed)

    def world(self, node=NODE) -> Mapping:
        plan = from_scratch(FakeCompiler(), Family.IPV4, self.routing, node)
        return {change.key: change.after for change in plan.changes}


class Process:
    """One life of the daemon: a loop that runs until it is killed."""

    def __init__(self, kernel, **options) -> None:
        self.compiler = FakeCompiler()
        self.loop = FamilyLoop(
            self.compiler, kernel, FamilyProgress(Family.IPV4), LoopSettings(**options), clock=asyncio.get_running_loop().time
        )
        self.task = asyncio.create_task(self.loop.run())

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def status(self):
        return self.loop.status(WALL)

    async def in_sync(self, revision) -> None:
        """Wait until a revision is applied and nothing is pending, failing keys included."""
        async with asyncio.timeout(EVER):
            await self.loop.applied(revision)
            while self.status.pending_keys or self.status.revision_applied < revision:  # noqa: ASYNC110
                await asyncio.sleep(0.5)


async def started(kernel, router, **options):
    process = Process(kernel, **options)
    process.loop.offer(router.change(), NODE)
    await process.in_sync(router.routing.revision)
    return process


def faultless(**options):
    return FaultyKernel(rate=0.0, **options)


# --- the gate, and restarts --------------------------------------------------------------------------------------------


def test_in_07_pain_10_nothing_is_read_or_written_before_the_first_offer():
    """A kernel full of our leftovers and an empty store: nothing may be pruned."""

    async def main():
        kernel = faultless()
        kernel.world = {Chain("left over"): "", Rule("root", "left over"): ""}
        process = Process(kernel)
        await asyncio.sleep(EVER)
        assert (kernel.observed, kernel.applied, len(kernel.world)) == ([], [], 2)
        router = Router()
        process.loop.offer(router.change(route("web", 1)), NODE)
        await process.in_sync(1)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_restart_with_unchanged_state_writes_nothing():
    """Also pain 43: nothing is removed at a start only to be made again."""

    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1), route("cart", 2))
        await (await started(kernel, router)).kill()
        writes = len(kernel.applied)
        process = await started(kernel, router)
        assert len(kernel.applied) == writes
        assert process.status.in_sync_since is not None
        await process.kill()

    run(main)


def test_proc_12_a_stopped_loop_leaves_everything_in_place():
    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        await (await started(kernel, router)).kill()
        assert kernel.world == router.world()

    run(main)


def test_leftovers_of_an_earlier_run_are_corrected_and_foreign_objects_are_not_touched():
    async def main():
        kernel, router = faultless(), Router()
        kernel.world = {Chain("shop/web"): "stale", Rule("bucket-0", "shop/old"): "", Chain("shop/old"): ""}
        router.change(route("web", 1))
        process = await started(kernel, router)
        assert kernel.world == router.world()
        assert kernel.foreign == {Foreign("docker"): "theirs"}
        await process.kill()

    run(main)


# --- pace --------------------------------------------------------------------------------------------------------------


def test_pain_10_what_an_earlier_run_left_stays_while_input_is_unread():
    """Only leftovers are spared: what this process programmed and nobody wants any more goes at once."""

    async def main():
        kernel, router = faultless(), Router()
        left = {Chain("left over"): "", Rule("root", "left over"): ""}
        kernel.world = dict(left)
        process = Process(kernel)
        process.loop.trust(complete=False)
        process.loop.offer(router.change(route("web", 1), route("db", 2)), NODE)
        await process.in_sync(1)
        assert kernel.world == {**router.world(), **left}
        process.loop.offer(router.change(gone=("db",)), NODE)
        await process.in_sync(2)
        assert kernel.world == {**router.world(), **left}
        process.loop.trust(complete=True)
        await asyncio.sleep(5)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_lone_change_on_an_idle_system_is_applied_at_once():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router)
        await asyncio.sleep(50.0)
        asked = asyncio.get_running_loop().time()
        process.loop.offer(router.change(route("web", 1)), NODE)
        await process.loop.applied(router.routing.revision)
        assert kernel.times[-1][0] == asked
        assert len(kernel.applied) == 2
        await process.kill()

    run(main)


def test_proc_20_a_storm_is_coalesced_and_soon_waits_for_min_sync_period():
    """A change every 10 ms for 20 s, a kernel that takes 400 ms: the runs wait 0.4 s, 0.8 s, and then the second that is the bound."""

    async def main():
        kernel, router = faultless(seconds=0.4), Router()
        process = await started(kernel, router)
        await asyncio.sleep(50.0)
        kernel.times.clear()
        for number in range(2000):
            process.loop.offer(router.change(route("web", number % 250)), NODE)
            await asyncio.sleep(0.01)
        await process.in_sync(router.routing.revision)
        gaps = [start - end for (_, end), (start, _) in zip(kernel.times, kernel.times[1:], strict=False)]
        assert [round(gap, 1) for gap in gaps[:4]] == [0.4, 0.8, 1.0, 1.0]
        assert min(gaps[2:]) >= 1.0 - 1e-6
        assert 14 <= len(kernel.times) <= 17
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_proc_20_min_sync_period_bounds_the_wait_of_a_slow_kernel():
    async def main():
        kernel, router = faultless(seconds=20.0), Router()
        process = await started(kernel, router, min_sync_period=1.0)
        for number in range(3000):
            process.loop.offer(router.change(route("web", number % 250)), NODE)
            await asyncio.sleep(0.1)
        gaps = [start - end for (_, end), (start, _) in zip(kernel.times[1:], kernel.times[2:], strict=False)]
        assert gaps
        assert all(abs(gap - 1.0) < 1e-6 for gap in gaps)
        await process.kill()

    run(main)


def test_a_change_during_a_write_is_not_lost():
    async def main():
        kernel, router = faultless(seconds=5.0), Router()
        process = Process(kernel)
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.sleep(7.0)
        process.loop.offer(router.change(route("web", 2), gone=["cart"]), NODE)
        assert process.status.revision_applied is None
        await process.in_sync(2)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_clock_that_jumps_ahead_stops_nothing():
    """After a suspend timers are overdue all at once."""

    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router)
        for number in range(1, 5):
            asyncio.get_running_loop().skip(10.0**number)
            process.loop.offer(router.change(route("web", number)), NODE)
            async with asyncio.timeout(5.0):
                await process.loop.applied(router.routing.revision)
            assert kernel.world == router.world()
        assert process.status.late_seconds <= 60.0
        await process.kill()

    run(main)


# --- what is compiled ----------------------------------------------------------------------------------------------------


def test_only_changed_routes_are_compiled_and_each_once_however_often_it_changed():
    async def main():
        kernel, router = faultless(), Router()
        router.change(*(route(f"s{number}", 1) for number in range(50)))
        process = await started(kernel, router)
        assert sorted(process.compiler.compiled) == sorted(["static", *(f"shop/s{number}" for number in range(50))])
        process.compiler.compiled.clear()
        for number in range(10):
            process.loop.offer(router.change(route("s7", number)), NODE)
        process.loop.offer(router.change(), NODE)
        await process.in_sync(router.routing.revision)
        assert process.compiler.compiled == ["shop/s7"]
        await process.kill()

    run(main)


def test_routes_of_the_other_family_are_not_ours():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router)
        writes = len(kernel.applied)
        process.loop.offer(router.change(route("web", 1, family=Family.IPV6)), NODE)
        await process.in_sync(router.routing.revision)
        assert len(kernel.applied) == writes
        await process.kill()

    run(main)


@pytest.mark.parametrize(
    ("static", "node", "compiled"),
    [
        ({"service_cidrs": {Family.IPV4: ("10.96.0.0/16",)}}, NODE, ["static"]),
        ({"cluster_ips": {Family.IPV4: frozenset({"10.96.0.1"})}}, NODE, ["static"]),
        ({"health_checks": (HealthCheck("shop", "web", 30000, 1),)}, NODE, ["static"]),
        ({"service_cidrs": {Family.IPV6: ("fd00::/112",)}}, NODE, []),
        ({}, NodeFacts("n1", masquerade_all=True), ["static", "shop/web"]),
        ({}, NodeFacts("n1", local_addresses={Family.IPV6: ("fe80::1",)}), []),
        ({}, NodeFacts("n1", all_node_addresses=frozenset({"192.0.2.7"})), []),
    ],
)
def test_the_static_part_and_all_routes_are_compiled_anew_only_for_what_they_depend_on(static, node, compiled):
    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        process = await started(kernel, router)
        process.compiler.compiled.clear()
        process.loop.offer(router.change(**static), node)
        await process.in_sync(router.routing.revision)
        assert process.compiler.compiled == compiled
        if Family.IPV6 not in static.get("service_cidrs", {}):
            assert kernel.world == router.world(node)
        await process.kill()

    run(main)


def test_other_tasks_get_their_turn_while_thousands_of_routes_are_compiled():
    async def main():
        kernel, router = faultless(), Router()
        process = Process(kernel)
        process.loop.offer(router.change(*(route(f"s{number}", 1) for number in range(2000))), NODE)
        turns = []

        async def other():
            while not turns or turns[-1] < 2000:
                turns.append(len(process.compiler.compiled))
                await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await other()
        assert len(set(turns)) >= 8
        await process.kill()

    run(main)


# --- failures ------------------------------------------------------------------------------------------------------------


def test_one_key_that_the_kernel_refuses_stops_nothing_and_waits_ever_longer():
    async def main():
        kernel, router = faultless(refuses=lambda key: key == Chain("shop/bad")), Router()
        router.change(route("bad", 1), route("web", 1))
        process = Process(kernel)
        process.loop.offer(router.change(), NODE)
        await process.loop.applied(router.routing.revision)
        await asyncio.sleep(EVER)
        wanted = router.world()
        del wanted[Chain("shop/bad")], wanted[Rule(f"bucket-{route('bad').port % 4}", "shop/bad")]
        assert kernel.world == wanted
        status = process.status
        assert status.failing_keys == 2
        assert {failing.kind for failing in status.failing} == {"invalid", "missing"}
        assert 120 <= max(failing.attempts for failing in status.failing) <= 130
        kernel.refuses = lambda key: False
        await process.in_sync(router.routing.revision)
        assert kernel.world == router.world()
        assert process.status.failing == ()
        await process.kill()

    run(main)


def test_what_failed_only_because_of_another_key_is_written_at_once_without_it():
    """A kernel that gives up a whole bucket for one bad rule, and names only that one."""

    async def main():
        kernel, router = faultless(), Router()
        write_bucket, bad = kernel.write_bucket, Rule("bucket-3", "shop/s0")

        def all_or_nothing(bucket, plan):
            return {bad: KernelError(ErrorKind.INVALID, "bad")} if bad in plan.groups[bucket] else write_bucket(bucket, plan)

        kernel.write_bucket = all_or_nothing
        process = Process(kernel)
        process.loop.offer(router.change(route("s0", 1), route("s4", 1)), NODE)
        await asyncio.sleep(0.09)  # the bad rule waits for 100 ms
        assert Rule("bucket-3", "shop/s4") in kernel.world
        assert [failing.subject for failing in process.status.failing] == [str(bad)]
        await process.kill()

    run(main)


def test_hlt_01_a_refused_key_is_listed_but_does_not_make_the_node_ill():
    """Every node would refuse it alike; draining them all for one Service would stop the others."""

    async def main():
        kernel, router = faultless(refuses=lambda key: key == Chain("shop/bad")), Router()
        kernel.write_bucket = lambda bucket, plan: kernel.world.update(plan.groups[bucket]) or {}  # rules need no chain here
        router.change(route("bad", 1), route("web", 1))
        process = Process(kernel)
        process.loop.offer(router.change(), NODE)
        await process.loop.applied(router.routing.revision)
        await asyncio.sleep(EVER)
        status = process.status
        assert status.late_seconds <= 60.0
        assert (status.failing_keys, status.pending_keys, status.in_sync_since) == (1, 1, None)
        await process.kill()

    run(main)


@pytest.mark.parametrize("rate", [1.0])
def test_hlt_01_pain_71_a_node_where_nothing_can_be_written_is_ill(rate):
    async def main():
        kernel, router = FaultyKernel(rate=0.0), Router()
        kernel.refuses = lambda key: True
        process = Process(kernel)
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.sleep(59.0)
        assert process.status.late_seconds <= 60.0
        await asyncio.sleep(2.0)
        assert process.status.late_seconds > 60.0
        assert process.status.revision_applied is None
        await process.kill()
        kernel.rate = rate
        process = Process(kernel)
        process.loop.offer(router.change(), NODE)
        await asyncio.sleep(61.0)
        assert process.status.late_seconds > 60.0
        await process.kill()

    run(main)


def test_a_key_that_failed_is_tried_at_once_when_something_else_is_wanted_of_it():
    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        process = await started(kernel, router)
        kernel.refuses = lambda key: key == Chain("shop/web")
        process.loop.offer(router.change(route("web", 2)), NODE)
        await asyncio.sleep(300.0)
        kernel.refuses = lambda key: False
        asked = asyncio.get_running_loop().time()
        process.loop.offer(router.change(route("web", 3)), NODE)
        await process.in_sync(router.routing.revision)
        assert kernel.times[-1][0] - asked < 0.1
        await process.kill()

    run(main)


def test_a_kernel_that_fails_as_a_whole_is_tried_again_ever_less_often():
    async def main():
        kernel, router = FaultyKernel(rate=1.0), Router()
        process = Process(kernel)
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.sleep(0.05)
        kernel.rate = 0.0
        kernel.refuses = lambda key: True
        await asyncio.sleep(100.0)
        assert len(kernel.applied) <= 40
        kernel.refuses = lambda key: False
        await process.in_sync(1)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_failing_key_that_was_written_away_with_its_group_is_not_tried_again():
    """A rule that could not be deleted goes when its bucket is rewritten for another one; then nothing is left to retry."""

    async def main():
        kernel, router = faultless(), Router()
        router.change(route("s0", 1), route("s4", 1), route("s8", 1))  # all in one bucket
        process = await started(kernel, router)
        write_bucket = kernel.write_bucket
        kernel.write_bucket = lambda bucket, plan: {change.key: KernelError(ErrorKind.OTHER, "no") for change in plan.changes}
        process.loop.offer(router.change(gone=["s0"]), NODE)
        await asyncio.sleep(0.08)
        assert process.status.failing_keys
        kernel.write_bucket = write_bucket
        process.loop.offer(router.change(gone=["s4"]), NODE)
        await process.in_sync(router.routing.revision)
        assert process.status.failing == ()
        writes = len(kernel.applied)
        await asyncio.sleep(EVER)
        assert len(kernel.applied) == writes
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_reading_that_fails_later_does_not_stop_writing():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router)

        async def broken():
            raise KernelError(ErrorKind.TIMEOUT, "no answer")

        kernel.observe = broken
        kernel.disturb()
        await asyncio.sleep(10.0)
        process.loop.offer(router.change(route("web", 1)), NODE)
        await process.in_sync(router.routing.revision)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_any_other_exception_ends_the_loop():
    """A defect must end the daemon, not hide in a task."""

    async def main():
        kernel, router = faultless(), Router()

        async def broken(plan):
            raise ZeroDivisionError("defect")

        kernel.apply = broken
        process = Process(kernel)
        process.loop.offer(router.change(), NODE)
        with pytest.raises(ExceptionGroup) as caught:
            await process.task
        assert caught.group_contains(ZeroDivisionError)

    run(main)


# --- others --------------------------------------------------------------------------------------------------------------


def test_pain_42_a_foreign_flush_is_repaired_at_once_and_the_culprit_is_named(caplog):
    caplog.set_level(logging.INFO, "pointsman")

    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        process = await started(kernel, router)
        await asyncio.sleep(50.0)
        kernel.tamper(dict.clear, "firewalld (pid 77)")
        await asyncio.sleep(0.1)
        assert kernel.world == router.world()
        status = process.status
        assert (status.foreign.noticed, status.foreign.repaired_keys) == (1, len(router.world()))
        assert status.pending_since is None
        await process.kill()

    run(main)
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (line.culprit, line.what, line.keys) == ("firewalld (pid 77)", "table nat", 6)


def test_an_enemy_that_breaks_our_rules_all_the_time_is_answered_about_once_a_second():
    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        process = await started(kernel, router)
        await asyncio.sleep(50.0)
        kernel.observed.clear()
        for _ in range(1000):
            kernel.tamper(dict.clear)
            await asyncio.sleep(0.1)
        assert 90 <= len(kernel.observed) <= 102
        await asyncio.sleep(2.0)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_busy_neighbour_that_touches_nothing_of_ours_costs_little():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router, drift_interval=1e6)
        await asyncio.sleep(50.0)
        kernel.observed.clear()
        for _ in range(6000):
            kernel.disturb()
            await asyncio.sleep(0.1)
        assert len(kernel.observed) <= 25
        assert process.status.foreign.noticed == 6000
        assert process.status.foreign.repaired_keys == 0
        await process.kill()

    run(main)


def test_drift_that_nobody_reported_is_found_and_repaired_and_nobody_is_blamed(caplog):
    caplog.set_level(logging.WARNING, "pointsman")

    async def main():
        kernel, router = faultless(), Router()
        router.change(route("web", 1))
        process = await started(kernel, router, drift_interval=300.0, drift_jitter=0.1)
        kernel.disturb()
        await asyncio.sleep(5.0)
        kernel.world[Chain("shop/web")] = "edited by hand"
        kernel.tampered = True
        await asyncio.sleep(320.0)
        assert kernel.world != router.world()
        await asyncio.sleep(10.0)
        assert kernel.world == router.world()
        await process.kill()

    run(main)
    (line,) = caplog.records
    assert (line.culprit, line.what, line.keys) == ("unknown", "nobody saw it", 1)


@pytest.mark.parametrize("breaks", [KernelError(ErrorKind.OTHER, "socket overrun"), None])
def test_a_watch_that_breaks_is_taken_up_again_and_what_was_missed_is_found(breaks):
    """With an error, or by ending: either way changes may have been missed, so the kernel is read at once."""

    async def main():
        kernel, router, lost = faultless(), Router(), asyncio.Event()
        watch, watches = kernel.watch, []

        async def breaking():
            watches.append(asyncio.get_running_loop().time())
            await lost.wait()
            if breaks:
                raise breaks
            return
            yield

        kernel.watch = breaking
        router.change(route("web", 1))
        process = await started(kernel, router)
        await asyncio.sleep(50.0)
        kernel.world.clear()
        kernel.tampered, kernel.watch = True, watch
        lost.set()
        await asyncio.sleep(0.05)
        assert kernel.world == router.world()
        await asyncio.sleep(1.0)
        assert len(watches) == 1
        kernel.tamper(dict.clear)
        await asyncio.sleep(1.0)
        assert kernel.world == router.world()
        await process.kill()

    run(main)


def test_a_watch_that_always_breaks_is_tried_ever_less_often():
    async def main():
        kernel, router, watches = faultless(), Router(), []

        async def broken():
            watches.append(asyncio.get_running_loop().time())
            raise KernelError(ErrorKind.DENIED, "no netlink here")
            yield

        kernel.watch = broken
        process = await started(kernel, router)
        await asyncio.sleep(EVER)
        assert 120 <= len(watches) <= 132
        assert len(kernel.observed) <= len(watches) + 13
        await process.kill()

    run(main)


# --- logs ------------------------------------------------------------------------------------------------------------------


def test_pain_68_a_write_is_one_line_with_numbers_and_never_a_rule_set(caplog):
    caplog.set_level(logging.DEBUG, "pointsman")

    async def main():
        kernel, router = faultless(), Router()
        router.change(*(route(f"s{number}", 1) for number in range(1000)))
        await (await started(kernel, router)).kill()

    run(main)
    (line,) = [record for record in caplog.records if record.getMessage() == "applied"]
    assert (line.added, line.updated, line.deleted, line.groups) == (2010, 0, 0, 6)
    assert line.named.endswith("and 2005 more")
    assert all(len(str(value)) < 500 for record in caplog.records for value in vars(record).values())


def test_a_failure_is_told_once_and_its_end_too(caplog):
    caplog.set_level(logging.INFO, "pointsman")

    async def main():
        kernel, router = faultless(refuses=lambda key: key == Chain("mark")), Router()
        router.change(route("web", 1))
        process = Process(kernel)
        process.loop.offer(router.change(), NODE)
        await asyncio.sleep(EVER)
        kernel.refuses = lambda key: False
        await process.in_sync(router.routing.revision)
        await process.kill()

    run(main)
    told = [record.getMessage() for record in caplog.records]
    assert told.count("the kernel did not take some keys; they are tried again, the others go on") == 1
    assert 1 <= told.count("succeeded after failures") <= 2


# --- everything at once ----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from([f"s{number}" for number in range(8)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.dictionaries(NAMES, st.lists(st.integers(1, 3), max_size=2, unique=True), min_size=1, max_size=4)),
        st.tuples(st.just("drop"), st.sets(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("again"), st.just(None)),
        st.tuples(st.just("node"), st.booleans()),
        st.tuples(st.just("tamper"), st.integers(0, 10_000)),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.3, 5.0, 400.0])),
        st.tuples(st.just("jump"), st.sampled_from([1.0, 1e5])),
        st.tuples(st.just("restart"), st.just(None)),
    ),
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 10_000), st.sampled_from([0.1, 0.1, 0.3, 0.0]))
def test_whatever_happens_the_kernel_ends_exactly_as_wanted(steps, seed, rate):
    """Any order, batching and duplication of changes, any faults, tampering and kills; then a restart that has nothing to do."""

    async def main():
        kernel, router, node = FaultyKernel(seed, rate), Router(), NODE
        process = Process(kernel)
        for what, value in steps:
            node = NodeFacts("n1", masquerade_all=value) if what == "node" else node
            process = await act(process, kernel, router, node, what, value)
        process.loop.offer(router.change(), node)
        await process.in_sync(router.routing.revision)
        await settle_foreign(process, kernel, router)
        assert kernel.world == router.world(node)
        assert kernel.foreign == {Foreign("docker"): "theirs"}
        await process.kill()
        kernel.rate, writes = 0.0, len(kernel.applied)
        process = Process(kernel)
        process.loop.offer(RoutingChange(router.routing, router.routes), node)
        await process.in_sync(router.routing.revision)
        assert len(kernel.applied) == writes
        await process.kill()

    run(main)


async def act(process, kernel, router, node, what, value):
    """Do one step; a restart throws the process away, also in the middle of a write, and keeps the kernel."""
    if what == "set":
        process.loop.offer(router.change(*(route(name, *backends) for name, backends in value.items())), node)
    elif what == "drop":
        process.loop.offer(router.change(gone=value), node)
    elif what in {"again", "node"}:
        process.loop.offer(RoutingChange(router.change().routing, dict(router.routes)), node)
    elif what == "tamper":
        kernel.tamper(lambda world: vandalise(world, random.Random(value)))
    elif what == "wait":
        await asyncio.sleep(value)
    elif what == "jump":
        asyncio.get_running_loop().skip(value)
    elif what == "restart":
        await process.kill()
        process = Process(kernel)
        process.loop.offer(RoutingChange(router.routing, router.routes), node)
    return process


def vandalise(world, dice):
    """Delete, edit and add what looks like ours."""
    for key in list(world):
        if dice.random() < 0.3:
            del world[key]
        elif isinstance(key, Chain) and dice.random() < 0.3:
            world[key] = "edited"
    world[Chain(f"stray {dice.randrange(3)}")] = "not wanted"
    world[Rule("root", f"stray {dice.randrange(3)}")] = ""


async def settle_foreign(process, kernel, router):
    """Wait until everything that was tampered with has been read and repaired."""
    async with asyncio.timeout(EVER):
        while kernel.events or kernel.tampered or process.status.pending_keys:  # noqa: ASYNC110
            await asyncio.sleep(1.0)


def test_verified_means_that_the_kernel_was_read_again_and_held_what_is_wanted():
    async def main():
        kernel, router = faultless(), Router()
        process = Process(kernel, drift_interval=EVER)
        waiting = asyncio.create_task(process.loop.verified())
        await asyncio.sleep(60)
        assert not waiting.done()
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.wait_for(waiting, 60)
        assert len(kernel.observed) == 2
        assert kernel.world == router.world()
        await process.kill()

    run(main)
