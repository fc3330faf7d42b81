"""What a loop tells about its own work: how long runs took, how long changes waited, and that it is stuck where it is."""

import asyncio

from fakes.faulty import Chain
from fakes.virtual import run
from pointsman.routing.route import Family

from .test_loop import NODE, WALL, Process, Router, faultless, route, started


class Stuck:
    """Lets an operation of a kernel hang until it is freed."""

    def __init__(self, kernel, name):
        self.free = asyncio.Event()
        self._real = getattr(kernel, name)
        setattr(kernel, name, self)

    async def __call__(self, *arguments):
        await self.free.wait()
        return await self._real(*arguments)


def test_met_02_the_first_run_reads_the_kernel_and_a_change_only_writes():
    async def main():
        router = Router()
        process = await started(faultless(), router)
        meters = process.loop.progress.meters
        assert (meters.full.total, meters.partial.total) == (1, 0)
        process.loop.offer(router.change(route("web", 1)), NODE)
        await process.in_sync(2)
        assert (meters.full.total, meters.partial.total) == (1, 1)
        assert meters.partial.sum > 0
        assert process.status.synced_at >= process.status.queued_at
        assert meters.written == {"Chain": 2, "Rule": 2}
        assert process.loop.census()() == {"Chain": 3, "Rule": 3}
        await process.kill()

    run(main)


def test_met_04_a_change_is_measured_from_its_decision_to_the_kernel():
    async def main():
        router = Router()
        process = await started(faultless(), router)
        now = asyncio.get_running_loop().time()
        process.loop.progress.meters.triggered([now - 5.0])
        process.loop.offer(router.change(route("web", 1)), NODE)
        await process.in_sync(2)
        programming = process.loop.progress.meters.programming
        assert programming.total == 1
        assert 5.0 < programming.sum < 5.1
        await process.kill()

    run(main)


def test_pain_31_a_write_that_hangs_makes_the_family_ill_though_all_changes_are_taken():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router)
        stuck = Stuck(kernel, "apply")
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.sleep(59)
        assert process.status.late_seconds <= 60.0
        await asyncio.sleep(2)
        assert process.status.late_seconds > 60.0
        stuck.free.set()
        await process.in_sync(2)
        assert process.status.late_seconds <= 60.0
        await process.kill()

    run(main)


def test_pains_31_and_71_a_reading_that_hangs_makes_an_idle_family_ill():
    """Nothing waits to be applied; but nobody knows what is in the kernel, and nothing would ever be applied."""

    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router, drift_interval=300.0)
        Stuck(kernel, "observe")
        await asyncio.sleep(350)
        assert process.status.pending_since is None
        assert process.status.late_seconds <= 60.0
        await asyncio.sleep(20)
        assert process.status.stalled_seconds > 60
        assert process.status.late_seconds > 60.0
        await process.kill()

    run(main)


def test_pain_71_a_kernel_that_cannot_be_read_any_more_makes_an_idle_family_ill():
    async def main():
        kernel, router = faultless(), Router()
        process = await started(kernel, router, drift_interval=300.0)
        kernel.rate = 1.0
        await asyncio.sleep(355)
        assert process.status.late_seconds <= 60.0
        await asyncio.sleep(20)
        assert process.status.late_seconds > 60.0
        assert (WALL - process.status.read_at).total_seconds() > 374
        kernel.rate = 0.0
        await asyncio.sleep(60)
        assert process.status.late_seconds <= 60.0
        await process.kill()

    run(main)


def test_an_idle_loop_owes_nothing_for_hours():
    async def main():
        process = await started(faultless(), Router())
        for _ in range(100):
            await asyncio.sleep(97)
            assert process.status.late_seconds == 0.0
        await process.kill()

    run(main)


def test_a_loop_that_was_offered_nothing_owes_nothing():
    async def main():
        kernel = faultless()

        process = Process(kernel)
        await asyncio.sleep(1000)
        assert process.status.late_seconds == 0.0
        assert process.loop.progress.family is Family.IPV4
        await process.kill()

    run(main)


def test_settled_waits_for_the_next_run_that_leaves_nothing_to_do():
    async def main():
        router = Router()
        process = await started(faultless(), router)
        waiting = asyncio.create_task(process.loop.settled())
        await asyncio.sleep(1)
        assert not waiting.done()
        process.loop.offer(router.change(route("web", 1)), NODE)
        await asyncio.wait_for(waiting, 60)
        assert process.loop.progress.revision_applied == 2
        await process.kill()

    run(main)


def test_a_service_that_the_kernel_refuses_is_named_and_its_neighbours_are_not():
    async def main():
        web, cart = route("web", 1), route("cart", 2)
        kernel, router = faultless(refuses=lambda key: key == Chain("shop/web")), Router()
        process = await started(kernel, router)
        process.loop.offer(router.change(web, cart), NODE)
        await asyncio.sleep(0.2)
        assert process.loop.refused() == {}  # it may pass
        await asyncio.sleep(60)
        ((name, text),) = process.loop.refused().items()
        assert name == web.port_name
        assert text.startswith("the kernel does not take ")
        assert "is refused" in text or "no such chain" in text
        process.loop.offer(router.change(gone=["web"]), NODE)
        await process.in_sync(router.routing.revision)
        assert process.loop.refused() == {}
        await process.kill()

    run(main)
