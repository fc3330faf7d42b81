"""Foreign changes are noticed in both variants, our own are not, and what cannot be ours wakes nobody (pain 42)."""

import asyncio
import ctypes
import errno
import socket
from contextlib import asynccontextmanager, closing

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from pointsman.dataplane.contract import ForeignChange
from pointsman.dataplane.errors import KernelError
from pointsman.iptables import watch
from pointsman.iptables.kernel import IptablesKernel, is_our_chain
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.variant import Variant
from pointsman.iptables.watch import LegacyWatch, NftWatch, Reports
from pointsman.iptables.writer import Writer
from pointsman.netlink import nftables
from pointsman.routing.route import Family

OURS = RuleKey("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA")


@asynccontextmanager
async def watching(kernel):
    """Watch a kernel; the value is a queue of what was noticed."""
    found = asyncio.Queue()

    async def follow():
        async for change in kernel.watch():
            await found.put(change)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def closed_after(kernel):
    try:
        yield
    finally:
        kernel.close()


async def soon(found):
    async with asyncio.timeout(60):
        return await found.get()


async def nothing(found, seconds=0.8):
    await asyncio.sleep(seconds)
    assert found.empty(), found.get_nowait()


def tool(kernel):
    return f"ip{'6' * (kernel.family is Family.IPV6)}tables-{kernel.variant.value}"


async def prepared(kernel):
    family = kernel.family
    wanted = desired(family, make.routing(make.route(family, backends=[make.backend(family, 1)])), make.node(family))
    await kernel.apply(difference(kernel.family, wanted, await kernel.observe()))
    return wanted


@pytest.mark.kernel
async def test_a_foreign_flush_is_noticed(kernel):
    await prepared(kernel)
    async with watching(kernel) as found:
        shell(f"{tool(kernel)} -t nat -F")
        change = await soon(found)
    assert "nat" in change.what
    if kernel.variant is Variant.NFT:
        assert "tables-nft" in change.culprit


@pytest.mark.kernel
async def test_a_hook_that_is_taken_away_is_noticed(kernel):
    await prepared(kernel)
    async with watching(kernel) as found:
        shell(f"{tool(kernel)} -t nat -D POSTROUTING 1")
        assert "nat" in (await soon(found)).what


@pytest.mark.kernel
async def test_our_own_writes_are_not_foreign(kernel):
    wanted = await prepared(kernel)
    async with watching(kernel) as found:
        await kernel.apply(difference(kernel.family, {**wanted, OURS: "-j ACCEPT"}, wanted))
        await kernel.apply(difference(kernel.family, wanted, {**wanted, OURS: "-j ACCEPT"}))
        await nothing(found)


@pytest.mark.kernel
async def test_a_long_write_of_ours_is_not_foreign(scratch, family, variant):
    """A poll, or an event, may come between two tables of one turn."""
    writer = Writer()
    kernel = IptablesKernel(family, variant, writer)
    await kernel.observe()
    async with closed_after(kernel), watching(kernel) as found:
        async with writer.turn() as turn:
            for table in ("filter", "nat"):
                shell(f"{tool(kernel)} -t {table} -N KUBE-SVC-X")
                turn.commits.append((family, table))
                await asyncio.sleep(0.6)
        await nothing(found)


@pytest.mark.kernel
async def test_the_other_familys_writes_are_not_foreign(scratch, variant):
    writer = Writer()
    kernels = [IptablesKernel(family, variant, writer) for family in Family]
    for kernel in kernels:
        await prepared(kernel)
    async with watching(kernels[0]) as first, watching(kernels[1]) as second:
        await asyncio.gather(*(kernel.apply(difference(kernel.family, {OURS: "-j ACCEPT"}, {})) for kernel in kernels))
        await nothing(first)
        await nothing(second, 0)
    for kernel in kernels:
        kernel.close()


@pytest.mark.kernel
async def test_what_others_did_while_we_write_is_reported(scratch, family, variant):
    writer = Writer()
    kernel = IptablesKernel(family, variant, writer)
    await prepared(kernel)
    async with closed_after(kernel), watching(kernel) as found:
        async with writer.turn():
            shell(f"{tool(kernel)} -t nat -F KUBE-MARK-MASQ")
        assert (await soon(found)).what


@pytest.mark.kernel
async def test_other_programs_own_tables_and_chains_wake_nobody(scratch, family):
    """A firewall with tables of its own, or a network plug-in with chains of its own, changes them all the time."""
    kernel = IptablesKernel(family, Variant.NFT, Writer())
    await prepared(kernel)
    async with watching(kernel) as found:
        shell("nft add table inet wall; nft add chain inet wall x; nft add rule inet wall x accept; nft delete table inet wall")
        nat = f"{tool(kernel)} -t nat"
        shell(f"{nat} -N CNI-X; {nat} -A CNI-X -j ACCEPT; {nat} -I PREROUTING -j CNI-X")
        await nothing(found, 0.5)
    kernel.close()


@pytest.mark.kernel
async def test_lost_events_are_a_foreign_change(scratch):
    """ENOBUFS: nobody knows what was lost, so everything must be looked at."""
    lines = "".join(f"-A KUBE-SVC-X -p tcp -m tcp --dport {n + 1} -m comment --comment x{n} -j ACCEPT\n" for n in range(60_000))
    seen = NftWatch(Family.IPV4, is_our_chain)
    await seen.start()
    shell("iptables-nft-restore", text=f"*nat\n:KUBE-SVC-X - [0:0]\n{lines}COMMIT\n")
    async for change in seen.changes():
        assert change.what == "more changes than the kernel could report"
        break
    seen.close()


@pytest.mark.kernel
def test_a_fingerprint_knows_size_and_order(scratch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        empty = watch.table_fingerprint(asking, socket.IPPROTO_IP, "nat")
        assert len(empty) == 84
        assert empty.startswith(b"nat\0")
        shell("iptables-legacy -t nat -A OUTPUT -j ACCEPT")
        one = watch.table_fingerprint(asking, socket.IPPROTO_IP, "nat")
        assert one != empty
        shell("iptables-legacy -t nat -F")
        assert watch.table_fingerprint(asking, socket.IPPROTO_IP, "nat") == empty
        assert watch.table_fingerprint(asking, socket.IPPROTO_IP, "nosuch") == b""


class Doubtful:
    """A C library whose kernel cannot copy its answer for some times."""

    def __init__(self, times):
        self.times = times

    def getsockopt(self, _descriptor, _level, _option, buffer, _length):
        self.times -= 1
        if self.times >= 0:
            ctypes.set_errno(errno.EFAULT)
            return -1
        buffer.raw = b"nat".ljust(84, b"\0")
        return 0


def test_an_answer_that_could_not_be_copied_is_asked_for_again(monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        monkeypatch.setattr(watch, "_LIBC", Doubtful(3))
        assert watch.table_fingerprint(asking, socket.IPPROTO_IP, "nat").startswith(b"nat\0")
        monkeypatch.setattr(watch, "_LIBC", Doubtful(1000))
        with pytest.raises(KernelError, match=r"table nat: cannot ask for the size of the table: Bad address"):
            watch.table_fingerprint(asking, socket.IPPROTO_IP, "nat")


async def test_many_reports_become_one_and_a_culprit_wins():
    reports = Reports()
    reports.add(ForeignChange("first"))
    reports.add(ForeignChange("second", "firewalld"))
    reports.add(ForeignChange("third"))
    assert await reports.take() == ForeignChange("second", "firewalld")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await reports.take()


def test_the_legacy_variant_is_looked_at_twice_a_second():
    with closing(LegacyWatch(Family.IPV4)) as seen:
        assert seen._interval == 0.5


@pytest.mark.kernel
async def test_both_watches_start_only_once(scratch):
    for made in (LegacyWatch(Family.IPV4), NftWatch(Family.IPV6, is_our_chain)):
        await made.start()
        await made.start()
        await made.before_write()
        await made.after_write([])
        made.close()


def test_the_groups_number_is_the_kernels():
    assert (nftables.PROTOCOL, nftables.GROUP) == (12, 7)
