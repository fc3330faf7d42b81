"""The kernel's connection tracking: as `conntrack` sees it, filtered by the kernel, deleted one by one, followed as it happens."""

import asyncio
import contextlib
import re
import socket

import pytest
from fakes.flows import SCTP, TCP, UDP, V4, V6, flow, judge, route
from fakes.scratch import namespace, shell
from msgspec.structs import replace
from pointsman.conntrack.classify import WRONG, FlowClass
from pointsman.conntrack.flow import Status
from pointsman.conntrack.kernel import ConntrackKernel, What, events, summed
from pointsman.conntrack.wire import Filter

pytestmark = pytest.mark.kernel
SEEN = Status.SEEN_REPLY | Status.CONFIRMED
LATE = 3000
PATIENCE_SECONDS = 60.0


@pytest.fixture
def scratch():
    with namespace():
        yield


FLOWS = [
    flow(timeout=LATE),
    flow(at="10.2.0.5:53", client="10.5.0.2:40000", timeout=LATE),
    flow("10.96.0.11:80", "10.2.0.7:8080", protocol=TCP, timeout=LATE, state="ESTABLISHED", status=SEEN | Status.ASSURED),
    flow("10.96.0.12:9", "10.2.0.7:9", protocol=SCTP, timeout=LATE, state="ESTABLISHED"),
    flow("10.2.0.7:53", "10.2.0.7:53", client="10.5.0.3:1", timeout=LATE, zone=7),
    flow("[fd00:96::10]:53", "[fd00:2::7]:53", "[fd00:5::1]:40000", timeout=LATE),
]


def by_tool(*arguments):
    """Return the entries as `conntrack` prints them; times differ by when it was asked."""
    told = "".join(shell(f"conntrack -L -f {family} {' '.join(arguments)}") for family in ("ipv4", "ipv6"))
    return sorted(timeless(line.strip()) for line in told.splitlines() if "src=" in line)


def timeless(line):
    return re.sub(r"^(\S+ +\d+) \d+", r"\1 T", line)


async def test_entries_read_as_conntrack_prints_them(scratch):
    async with await ConntrackKernel.open() as kernel:
        assert await kernel.create(FLOWS) == {}
        found = await kernel.flows()
        assert sorted(timeless(one.line()) for one in found) == by_tool()
        assert len({one.identity for one in found}) == len(FLOWS)
        assert {replace(one, identity=0, use=0, timeout=LATE, status=0, zone=0) for one in found} == {
            replace(one, status=0, zone=0) for one in FLOWS
        }
        assert (await kernel.fill()).count == len(FLOWS)
        assert (await kernel.fill()).most > 0


async def test_the_kernel_leaves_out_what_is_not_asked_for(scratch):
    async with await ConntrackKernel.open() as kernel:
        await kernel.create(FLOWS)
        assert {one.protocol for one in await kernel.flows(V4, Filter(protocol=6))} == {6}
        assert len(await kernel.flows(V4, Filter(protocol=17))) == 3
        assert len(await kernel.flows(V6)) == 1
        assert {one.protocol for one in await kernel.flows(V4, Filter(status=(Status.ASSURED, Status.ASSURED)))} == {6}
        assert len(await kernel.flows(V4, keep=lambda one: one.backend == "10.2.0.5:53")) == 1


async def test_just_what_is_named_is_deleted(scratch):
    async with await ConntrackKernel.open() as kernel:
        await kernel.create(FLOWS)
        found = await kernel.flows()
        doomed = [one for one in found if one.backend in {"10.2.0.5:53", "[fd00:2::7]:53"}]
        assert await kernel.delete(doomed) == (2, {})
        assert await kernel.delete(doomed) == (0, {})
        left = {one.identity for one in await kernel.flows()}
        assert left == {one.identity for one in found} - {one.identity for one in doomed}


async def test_a_younger_entry_between_the_same_ends_stays(scratch):
    async with await ConntrackKernel.open() as kernel:
        await kernel.create(FLOWS[:1])
        [old] = await kernel.flows()
        await kernel.delete([old])
        await kernel.create(FLOWS[:1])
        [young] = await kernel.flows()
        assert await kernel.delete([replace(old, identity=old.identity ^ 1)]) == (0, {})
        assert [one.identity for one in await kernel.flows()] == [young.identity]


async def test_a_zone_is_part_of_the_name(scratch):
    async with await ConntrackKernel.open() as kernel:
        both = [replace(FLOWS[0], zone=zone) for zone in (0, 7)]
        await kernel.create(both)
        [other] = await kernel.flows(keep=lambda one: one.zone == 7)
        await kernel.delete([other])
        assert [one.zone for one in await kernel.flows()] == [0]


async def test_a_sweep_judges_what_is_there(scratch):
    async with await ConntrackKernel.open() as kernel:
        await kernel.create(FLOWS)
        found = await kernel.sweep(lambda: judge(route()), V4, WRONG)
        assert found.counts == {
            (FlowClass.OK, "shop/dns"): 1,
            (FlowClass.STALE_BACKEND, "shop/dns"): 1,
            (FlowClass.FOREIGN, ""): 3,
        }
        assert {one.line().split()[0] for one, _ in found.taken} == {"udp"}
        assert (found.complete, found.more, found.unreadable) == (True, 0, 0)
        only = await kernel.sweep(lambda: judge(route()), V4, WRONG, Filter(protocol=17), limit=0)
        assert (only.counts.total(), only.taken, only.more) == (3, (), 1)


async def test_events_name_what_happens(scratch):
    met = []

    async def follow():
        async for event in events():
            met.append(event)  # noqa: PERF401 - seen while it goes on

    task = asyncio.create_task(follow())
    try:
        async with await ConntrackKernel.open() as kernel, asyncio.timeout(PATIENCE_SECONDS):
            while not met:
                await kernel.create(FLOWS[:1])
                await kernel.delete(await kernel.flows())
                await asyncio.sleep(0.1)
            await kernel.create(FLOWS[5:])
            await kernel.delete(await kernel.flows(V6))
            while {event.what for event in met if event.flow.family is V6} < {What.NEW, What.DESTROY}:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert {event.flow.frontend for event in met if event.flow.family is V6} == {"[fd00:96::10]:53"}


async def test_cpus_count_what_failed(scratch):
    async with await ConntrackKernel.open() as kernel:
        await kernel.create(FLOWS)
        counters = await kernel.counters()
        assert len({one.cpu for one in counters}) == len(counters) > 0
        by_conntrack = shell("conntrack -S").splitlines()
        assert len(by_conntrack) == len(counters)
        assert summed(counters)["insert"] == sum(int(re.search(r" insert=(\d+)", line)[1]) for line in by_conntrack)
        assert set(summed(counters)) >= {"drop", "early_drop", "insert_failed", "clash_resolve", "invalid"}


async def test_a_real_flow_is_read(scratch):
    """A datagram through a translating rule: what the kernel itself writes, not what we wrote into it."""
    shell("iptables-legacy -t nat -A OUTPUT -p udp -d 127.0.0.9 --dport 53 -j DNAT --to 127.0.0.1:5353")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 5353))
        client.sendto(b"?", ("127.0.0.9", 53))
        server.sendto(b"!", server.recvfrom(10)[1])
        async with await ConntrackKernel.open() as kernel:
            [one] = await kernel.flows(V4, Filter(protocol=17))
    assert (one.frontend, one.backend, one.protocol_name) == ("127.0.0.9:53", "127.0.0.1:5353", UDP.lower)
    assert one.status & Status.DST_NAT
    assert one.status & Status.SEEN_REPLY
    assert one.identity
