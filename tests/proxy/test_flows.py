"""The reconciler of flows, with a table of flows in the kernel's place: when it looks, what it makes sure of, what it leaves alone."""

import asyncio
import contextlib
import threading
from collections import Counter

import pytest
from fakes.flows import NODE, SCTP, TCP, UDP, V4, V6, backend, flow, judge, route, routing
from fakes.scratch import namespace
from msgspec.structs import replace
from pointsman.conntrack import reconcile
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.flow import NUMBERS
from pointsman.conntrack.kernel import ConntrackKernel, CpuCounters, Swept
from pointsman.conntrack.names import Known
from pointsman.conntrack.tombstones import Entry, Notebook
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.kube.errors import ApiError
from pointsman.kube.events import Batch, Replace
from pointsman.kube.objects import Kind, Labels, ObjectMeta, ObjectRef, Service
from pointsman.proxy import flows as module
from pointsman.proxy.flows import Flows
from pointsman.proxy.mode import Ended
from pointsman.proxy.notebook import Notes, write
from pointsman.routing.build import RoutingChange
from pointsman.routing.snapshot import EMPTY, advance

from .engines import FakeLoop

STALE = flow(at="10.2.0.5:53")
FINE = flow(client="10.5.0.2:1")
PATIENCE_SECONDS = 60.0


class FakeKernel:
    """A table of flows; `during` is called during a look."""

    def __init__(self, *flows):
        self.flows = {number: replace(one, identity=number) for number, one in enumerate(flows, 1)}
        self.sweeps = 0
        self.deleted = []
        self.batches = []
        self.error = None
        self.during = lambda: None

    async def sweep(self, prepare, family, wanted, only, limit):
        self.sweeps += 1
        if self.error:
            raise self.error
        swept = Counter(), []
        await asyncio.to_thread(self.judge, prepare, family, wanted, only, *swept)
        counts, taken = swept
        self.during()
        await asyncio.sleep(0)
        return Swept(counts, tuple(taken[:limit]), 0, True, max(len(taken) - limit, 0))

    def judge(self, prepare, family, wanted, only, counts, taken):
        judge = prepare()
        for one in self.flows.values():
            if one.family is family and one.protocol == only.protocol:
                judgement = judge.judge(one)
                counts[judgement.kind, judgement.service] += 1
                if judgement.kind in wanted:
                    taken.append((one, judgement))

    async def delete(self, flows):
        if flows:
            self.batches.append(len(flows))
        for one in flows:
            del self.flows[one.identity]
            self.deleted.append(one)
        return len(flows), {}

    async def counters(self):
        return (CpuCounters(0, drop=2), CpuCounters(1, drop=3))

    async def close(self):
        pass


class AppliedLoop(FakeLoop):
    """A loop whose kernel follows when the test says so."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def applied(self, revision):
        await self.gate.wait()


class Bench:
    """The reconciler under test."""

    def __init__(self, kernel, folder, family=V4):
        self.kernel = kernel
        self.loop = AppliedLoop()
        self.wall = 1000.0
        self.ended = []
        end = lambda _family, connections: self.ended.extend(connections)  # noqa: E731
        self.flows = Flows({family: self.loop}, Notes(folder / "n1.flows.json", "n1"), wall=lambda: self.wall, end=end)
        self.flows._kernel = kernel
        self.routes = {}
        self.revision = 0

    def offer(self, *routes, snapshot=EMPTY):
        self.revision += 1
        after = {one.key: one for one in routes}
        changed = {key: after.get(key) for key in self.routes.keys() | after.keys() if self.routes.get(key) != after.get(key)}
        self.flows.offer(self.routes, RoutingChange(routing(*routes, revision=self.revision), changed), NODE, snapshot)
        self.routes = after

    async def until(self, holds):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(reconcile, "PAUSE", 0.01)
    monkeypatch.setattr(reconcile, "PORTION_SECONDS", 0.0)

    @contextlib.asynccontextmanager
    async def made(*flows, applied=True, family=V4):
        one = Bench(FakeKernel(*flows), tmp_path, family)
        if applied:
            one.loop.gate.set()
        task = asyncio.create_task(one.flows.run())
        try:
            yield one
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return made


async def test_what_is_wrong_goes_and_the_rest_stays(bench):
    async with bench(STALE, FINE, flow("10.9.0.1:1", "10.9.0.2:2")) as one:
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
        assert [gone.backend for gone in one.kernel.deleted] == ["10.2.0.5:53"]
        assert len(one.kernel.flows) == 2
        meters = one.flows.meters[V4]
        await one.until(lambda: meters.looks.total == 1)
        assert meters.deleted == {(UDP, FlowClass.STALE_BACKEND): 1}
        assert meters.seen[UDP][FlowClass.OK] == 1


async def test_pain_10_nothing_happens_before_everything_has_been_read(bench):
    async with bench(STALE) as one:
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.kernel.sweeps == 0


async def test_pain_4_rules_first_then_flows(bench):
    async with bench(STALE, applied=False) as one:
        one.offer(route())
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.kernel.sweeps == 0
        one.loop.gate.set()
        await one.until(lambda: one.kernel.deleted)


async def test_pain_10_nothing_is_deleted_while_some_input_cannot_be_read(bench):
    async with bench(STALE) as one:
        one.flows.trust(complete=False)
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        assert one.kernel.deleted == []
        one.flows.trust(complete=True)
        await one.until(lambda: one.kernel.deleted)


async def test_an_endpoint_that_comes_during_the_look_keeps_its_flows(bench):
    """By the routing of the look the flow is wrong; by the time of the deletion it is right."""
    async with bench(STALE) as one:
        one.kernel.during = lambda: (
            setattr(one.kernel, "during", lambda: None),
            one.offer(route(ends=(*route().reachable, backend("10.2.0.5")))),
        )
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total >= 2)
        assert one.kernel.deleted == []


async def test_a_change_while_the_rules_are_awaited_leads_to_another_look(bench):
    """The look judges by what the kernel followed when it began; an endpoint that left meanwhile is for the next, at once."""
    both, later = route(), route(ends=(backend("10.2.0.9"),))
    async with bench(flow(), flow(at="10.2.0.8:53", client="10.5.0.9:1"), applied=False) as one:
        one.offer(both)
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.kernel.sweeps == 0
        one.offer(later)
        one.loop.gate.set()
        await one.until(lambda: len(one.kernel.deleted) == 2)


async def test_a_change_without_a_revision_of_its_own_is_looked_at_twice(bench, monkeypatch):
    """Nobody tells when the kernel follows it; what was made wrong again in between is found by the second look, and that is the last."""
    monkeypatch.setattr(module, "SETTLED", 0.05)

    async def delete(flows):
        done = await FakeKernel.delete(one.kernel, flows)
        if len(one.kernel.deleted) == 1:
            one.kernel.flows[9] = replace(STALE, identity=9)
        return done

    async with bench(STALE) as one:
        one.kernel.delete = delete
        one.offer(route(ends=(backend("10.2.0.5"),)))
        await one.until(lambda: one.flows.meters[V4].looks.total == 1)
        one.revision -= 1
        one.offer(route())
        await one.until(lambda: len(one.kernel.deleted) == 2 and one.flows.meters[V4].looks.total == 3)
        assert one.flows._pulses[V4].rhythm.next_time() > one.flows._clock() + reconcile.PERIOD / 2


async def test_flows_of_what_the_kernel_refuses_stay(bench):
    """They would be made again as they were."""
    async with bench(STALE, applied=True) as one:
        one.loop.refusals = {route().port_name: "no"}
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        assert one.kernel.deleted == []


async def test_pain_6_a_service_without_endpoints_is_looked_at(bench):
    async with bench(FINE) as one:
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        assert one.kernel.deleted == []
        one.offer(route(ends=()))
        await one.until(lambda: one.kernel.deleted)


async def test_pain_7_flows_of_a_deleted_service_go(bench):
    async with bench(flow("192.0.2.1:53"), flow("172.20.0.1:30053", client="10.5.0.4:1")) as one:
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        one.offer()
        await one.until(lambda: len(one.kernel.deleted) == 2)
        assert one.flows.meters[V4].deleted == {(UDP, FlowClass.STALE_FRONTEND): 2}


async def test_pain_7_also_of_one_that_was_deleted_while_no_agent_ran(bench, tmp_path):
    entries = (Entry(V4, UDP, "192.0.2.1", 53, "shop/dns"), Entry(V4, UDP, "192.0.2.50", 53, "shop/kept"))
    write(tmp_path / "n1.flows.json", Notebook("n1", entries))
    async with bench(flow("192.0.2.1:53"), flow("192.0.2.50:53", client="10.5.0.9:1")) as one:
        one.offer(route("kept", cluster_ip="10.96.0.50", external_ips=("192.0.2.50",)))
        await one.until(lambda: one.kernel.deleted)
        assert [gone.frontend for gone in one.kernel.deleted] == ["192.0.2.1:53"]


GIVEN = flow("192.0.2.1:53"), flow("172.20.0.1:30053", client="10.5.0.4:1")
"""Through an external address and a node port of shop/dns."""


def asking(one, *answers):
    """Have the API answer so, one after the other; what it was asked is counted."""
    left, asked = list(answers), []

    async def elsewhere():
        asked.append(one.kernel.sweeps)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, ApiError):
            raise answer
        return frozenset(ObjectRef(Kind.SERVICE, *name.split("/")) for name in answer)

    one.flows._elsewhere = elsewhere
    return asked


async def test_in_01_flows_of_a_service_that_another_proxy_was_given_stay(bench):
    async with bench(*GIVEN) as one:
        asked = asking(one, ["shop/dns"])
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        assert asked == []
        one.offer()
        await one.until(lambda: one.flows.meters[V4].looks.total == 2)
        assert len(asked) == 1
        assert len(one.flows.tombstones) == 0
        assert one.kernel.deleted == []
        one.flows._ask(V4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(asked) == 1


async def test_in_01_flows_of_a_deleted_service_go_when_the_api_knows_no_other_proxy_of_it(bench):
    async with bench(*GIVEN) as one:
        asked = asking(one, ["shop/other"])
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        one.offer()
        await one.until(lambda: len(one.kernel.deleted) == 2)
        assert len(asked) == 1


async def test_in_01_flows_stay_until_it_can_be_asked(bench, caplog, monkeypatch):
    monkeypatch.setattr(module, "AGAIN", 0.0)
    async with bench(*GIVEN, STALE) as one:
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
        asked = asking(one, ApiError(0, "connection refused"), ApiError(0, "connection refused"), [])
        one.offer()
        await one.until(lambda: len(asked) == 2)
        assert len(one.kernel.deleted) == 1
        await one.until(lambda: len(one.kernel.deleted) == 3)
    assert "its flows stay" in caplog.text


async def test_in_01_a_service_of_another_proxy_that_is_seen_needs_no_question(bench):
    meta = ObjectMeta(name="dns", namespace="shop", labels=Labels(service_proxy_name="other"))
    snapshot, _ = advance(EMPTY, Batch((Replace(Kind.SERVICE, (Service(metadata=meta),)),)))
    async with bench(*GIVEN) as one:
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].looks.total)
        one.offer(snapshot=snapshot)
        await one.until(lambda: one.flows.meters[V4].looks.total == 2)
        assert len(one.flows.tombstones) == 0
        assert one.kernel.deleted == []


async def test_in_01_what_goes_while_flows_are_judged_waits_for_the_next_question(bench):
    """Its flows were looked at as those of a Service that is served."""
    async with bench(replace(STALE, identity=1)) as one:
        asked = asking(one, [])
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
        one.kernel.flows = {1: replace(GIVEN[0], identity=1)}
        judged = judge(route(ends=())).judge(one.kernel.flows[1])
        assert judged.kind is FlowClass.STALE_BACKEND
        one.offer()
        taken = Swept(Counter(), ((one.kernel.flows[1], judged),), 0, True, 0)
        left = await one.flows._delete(one.kernel, V4, UDP, taken, sure=True)
        assert [judgement.kind for _, judgement in left] == [FlowClass.STALE_FRONTEND]
        await one.until(lambda: not one.kernel.flows)
        assert len(asked) == 1


async def test_a_change_of_tcp_is_no_reason_to_look(bench):
    async with bench(flow(protocol=TCP, at="10.2.0.5:53")) as one:
        one.offer(route(protocol=TCP))
        await one.until(lambda: one.flows.meters[V4].looks.total == 1)
        one.offer(route(protocol=TCP, ends=()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.kernel.sweeps == 0
        assert len(one.kernel.flows) == 1


async def test_pain_85_connections_are_ended_when_their_time_has_come(bench):
    held = flow(protocol=TCP, at="10.2.0.8:53", state="ESTABLISHED")
    async with bench(held) as one:
        before = route(protocol=TCP, reset_after=30.0, node_port=30053)
        one.offer(before)
        await one.until(lambda: one.flows.meters[V4].looks.total == 1)
        one.offer(replace(before, reachable=before.reachable[:1], cluster=before.reachable[:1]))
        await one.until(lambda: one.flows.meters[V4].looks.total == 2)
        assert one.kernel.deleted == []
        one.wall += 31.0
        one.flows._ask(V4)
        await one.until(lambda: one.kernel.deleted)
        assert one.flows.meters[V4].deleted == {(TCP, FlowClass.STALE_BACKEND): 1}
        frontend = (held.original.destination, held.original.destination_port)
        assert one.ended == [Ended(TCP, before.port_name, 30053, *frontend, "10.2.0.8", 53)]


async def test_udp_has_no_connections_to_end(bench):
    async with bench(STALE) as one:
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
        assert one.ended == []


async def test_a_flap_of_many_endpoints_is_worked_off_in_portions(bench, monkeypatch):
    monkeypatch.setattr(reconcile, "MOST", 2000)
    many = [flow(at=f"10.3.{number >> 8}.{number & 255}:53", client=f"10.5.{number >> 8}.{number & 255}:1") for number in range(5000)]
    async with bench(*many, FINE) as one:
        one.offer(route())
        await one.until(lambda: len(one.kernel.deleted) == 5000)
        assert max(one.kernel.batches) <= reconcile.PORTION
        assert one.kernel.sweeps >= 3
        assert [left.client for left in one.kernel.flows.values()] == ["10.5.0.2:1"]


async def test_what_cannot_be_read_is_told_once_and_fails_nothing(bench, caplog, monkeypatch):
    """CT-05."""
    monkeypatch.setattr(module, "AGAIN", 0.0)
    async with bench(STALE) as one:
        one.kernel.error = KernelError(ErrorKind.BUSY, "not now", "connection tracking")
        one.offer(route())
        await one.until(lambda: one.flows.meters[V4].failures >= 2)
        one.kernel.error = None
        await one.until(lambda: one.kernel.deleted)
    assert caplog.text.count("cannot be read") == 1


async def test_families_and_protocols_are_looked_at_for_themselves(bench):
    six = flow("[fd00:96::10]:53", "[fd00:2::5]:53", "[fd00:5::1]:1", protocol=SCTP)
    unmade = flow("[fd00:96::10]:53", "[fd00:96::10]:53", "[fd00:5::2]:1", protocol=SCTP)
    async with bench(six, unmade, STALE, family=V6) as one:
        one.offer(route(cluster_ip="fd00:96::10", ends=(backend("fd00:2::7"),), protocol=SCTP, external_ips=()))
        await one.until(lambda: one.kernel.deleted)
        assert [(gone.protocol, gone.client) for gone in one.kernel.deleted] == [(NUMBERS[SCTP], "[fd00:5::2]:1")]


async def test_a_look_deletes_nothing_of_another_protocol(bench):
    """An older kernel tells all protocols, and the judge knows the routes of one."""
    async with bench(flow("192.0.2.1:53"), applied=False) as one:
        one.offer(route())
        one.offer()
        [found] = one.kernel.flows.values()
        taken = Swept(Counter(), ((found, judge(tombstones=one.flows.tombstones).judge(found)),), 0)
        assert await one.flows._delete(one.kernel, V4, SCTP, taken) == []
        assert one.kernel.deleted == []
        await one.flows._delete(one.kernel, V4, UDP, taken)
        assert one.kernel.deleted == [found]


async def test_tombstones_are_forgotten_when_nothing_is_left(bench):
    async with bench(flow("192.0.2.1:53")) as one:
        one.offer(route())
        one.offer()
        await one.until(lambda: one.kernel.deleted)
        assert len(one.flows.tombstones) == 3
        one.wall += 40.0
        one.flows._ask(V4)
        await one.until(lambda: len(one.flows.tombstones) == 0)


async def test_who_comes_after_a_deleted_service_is_left_alone(bench):
    """Somebody else translates the same address to the same pod; its flows go for as long as ours may come, and never after that."""
    async with bench() as one:
        one.offer(route())
        one.offer()
        await one.until(lambda: one.flows.meters[V4].looks.total)
        one.wall += 40.0
        one.kernel.flows = {1: replace(flow("192.0.2.1:53"), identity=1)}
        one.flows._ask(V4)
        await one.until(lambda: one.kernel.deleted)
        await one.until(lambda: len(one.flows.tombstones) == 0)
        one.kernel.flows = {2: replace(flow("192.0.2.1:53"), identity=2)}
        looks = one.flows.meters[V4].looks.total
        one.flows._ask(V4)
        await one.until(lambda: one.flows.meters[V4].looks.total > looks)
        assert [gone.identity for gone in one.kernel.deleted] == [1]


async def test_a_tombstone_whose_flows_stay_is_no_reason_to_look_without_end(bench):
    """An association through a frontend that is no more is kept; its tombstone, long due, waits for the next look that comes anyway."""
    async with bench(flow("192.0.2.1:53", protocol=SCTP)) as one:
        one.offer(route(protocol=SCTP))
        one.offer()
        await one.until(lambda: one.flows.meters[V4].looks.total)
        one.wall += 3600.0
        one.flows._ask(V4)
        await one.until(lambda: one.flows.meters[V4].looks.total >= 2 and len(one.flows.tombstones) == 1)
        rhythm = one.flows._pulses[V4].rhythm
        assert rhythm.asked is None
        assert rhythm.due > one.flows._clock() + reconcile.PERIOD / 2


async def test_a_tombstone_stays_while_nothing_may_be_deleted(bench):
    async with bench(flow("192.0.2.1:53")) as one:
        one.offer(route())
        one.flows.trust(complete=False)
        one.offer()
        one.wall += 40.0
        one.flows._ask(V4)
        await one.until(lambda: one.flows.meters[V4].looks.total and len(one.flows.tombstones) == 1)
        one.flows.trust(complete=True)
        await one.until(lambda: one.kernel.deleted)


async def test_names_are_never_collected_where_everything_else_waits(bench, monkeypatch):
    """Going through a hundred thousand endpoints takes longer than the loop may stand still."""
    threads = []
    monkeypatch.setattr(module, "collected", lambda *_: (threads.append(threading.current_thread()), Known())[1])
    async with bench(STALE) as one:
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
    assert threads
    assert threading.main_thread() not in threads


async def test_the_picture_has_everything_that_metrics_tell(bench):
    async with bench(STALE, FINE) as one:
        one.offer(route())
        await one.until(lambda: one.kernel.deleted)
        found = await one.flows.picture()
        assert found.counted["drop"] == 5
        assert found.families[V4].deleted.total() == 1
        assert found.families[V4] is not one.flows.meters[V4]


@pytest.mark.kernel
async def test_a_hundred_changed_endpoints_in_a_real_table_and_every_deletion_named(tmp_path):
    """20,000 entries; what must go is computed from the addresses alone, and nothing else goes (pain 9)."""

    def made(number, left=0):
        ends = tuple(backend(f"10.2.{number}.{one}") for one in range(1, 6) if one != left)
        return route(f"s{number}", cluster_ip=f"10.96.{number}.1", ends=ends, node_port=0, external_ips=())

    services = [made(number) for number in range(200)]

    def entry(number):
        service, end = number % 200, number // 200 % 5 + 1
        return flow(f"10.96.{service}.1:53", f"10.2.{service}.{end}:53", f"10.5.{number >> 8}.{number & 255}:7", timeout=3000)

    table = [entry(number) for number in range(20_000)]
    direct = [flow(f"10.2.{number}.1:53", f"10.2.{number}.1:53", f"10.6.0.{number}:9", timeout=3000) for number in range(200)]
    with namespace():
        kernel = await ConntrackKernel.open()
    async with kernel:
        assert await kernel.create([*table, *direct]) == {}
        one = Bench(FakeKernel(), tmp_path)
        one.flows._kernel = Kept(kernel)
        one.loop.gate.set()
        task = asyncio.create_task(one.flows.run())
        try:
            one.offer(*services)
            await one.until(lambda: one.flows.meters[V4].looks.total == 1)
            assert len(await kernel.flows()) == 20_200
            one.offer(*(made(number, 1 if number < 100 else 0) for number in range(200)))
            await one.until(lambda: one.flows.meters[V4].looks.total == 2)
        finally:
            task.cancel()
            await asyncio.wait({task})
        left = {found.client for found in await kernel.flows()}
    gone = {found.client for found in table if int(found.reply.source.split(".")[2]) < 100 and found.reply.source.endswith(".1")}
    assert len(gone) == 2000
    assert left == {found.client for found in (*table, *direct)} - gone
    assert one.flows.meters[V4].deleted == {(UDP, FlowClass.STALE_BACKEND): 2000}


class Kept:
    """A kernel that stays open when its user is done."""

    def __init__(self, kernel):
        self.sweep, self.delete, self.counters = kernel.sweep, kernel.delete, kernel.counters

    async def close(self):
        pass
