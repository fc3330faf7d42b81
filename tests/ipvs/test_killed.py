"""Killed between any two messages (pains 29 and 30): whoever starts next puts everything right, and nothing of others is touched.

A child process applies a plan and kills itself (SIGKILL) before its first message, the next time before its second, and so on until it
comes to the end. A message is one request to IPVS or about an address, one line to ipset, or one restore; a tool that is being fed when we
die acts on what it has got, which may end within a line. After each kill a kernel that remembers nothing observes and applies, as a start
does; then all that the mode leaves in the system must be what it leaves without any kill.
"""

import asyncio
import os
import signal
import traceback
from contextlib import asynccontextmanager

import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from fakes.scratch import lock_file, namespace, shell
from pointsman.iptables import application
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs import channel, device
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.netlink import channel as netlink
from pointsman.routing.route import Family

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]
MOST = 100
"""Messages that no plan here has."""


class Fuse:
    """Kills this process before message number `left` (from 0); a line to ipset is one of them if `fine`, else all that it is given."""

    def __init__(self, left, *, fine):
        self.left = left
        self.fine = fine

    def burn(self):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def light(self):
        """Have every message burn the fuse; for a process that does nothing else."""
        apply, some, request = channel._Talk.apply, netlink.Channel._send_some, netlink.Channel.request

        def to_ipvs(talk, requests):
            self.burn()
            return apply(talk, requests)

        async def about_address(opened, requests, *rest):
            self.burn()
            await some(opened, requests, *rest)

        async def about_device(opened, kind, *rest, **options):
            if kind in {device.route.NEW_LINK, device.route.DELETE_LINK}:
                self.burn()
            return await request(opened, kind, *rest, **options)

        channel.MESSAGES = netlink._AT_ONCE = 1
        channel._Talk.apply = to_ipvs
        netlink.Channel._send_some, netlink.Channel.request = about_address, about_device
        application.run = self.tool

    async def tool(self, arguments, text="", **options):
        """Run a tool; if the fuse ends while it is fed, it gets a part of the text and we are gone."""
        whole = text if isinstance(text, str) else "".join(text)
        lines = whole.splitlines(keepends=True) if self.fine and "ipset" in arguments[0] else [whole]
        for number, line in enumerate(lines):
            if not self.left:
                await RUN(arguments, "".join(lines[:number]) + line[: len(line) // 2])
            self.burn()
        return await RUN(arguments, whole, **options)


RUN = application.run


@asynccontextmanager
async def fresh(family):
    """Give a kernel that remembers nothing."""
    kernel = IpvsKernel(family, Variant.LEGACY, Writer(), Settings())
    try:
        yield kernel
    finally:
        await kernel.close()


async def plan(family, wanted):
    """Return what there is to do."""
    async with fresh(family) as kernel:
        return difference(family, wanted, await kernel.observe())


async def apply(family, changes):
    """Do it."""
    async with fresh(family) as kernel:
        outcome = await kernel.apply(changes)
        assert not outcome.failed, outcome.failed


async def start(family, wanted):
    """Do what the start of a daemon does."""
    async with fresh(family) as kernel:
        outcome = await kernel.apply(difference(family, wanted, await kernel.observe()))
        assert not outcome.failed, outcome.failed


async def remove(family):
    """Do what `pointsman cleanup` does."""
    async with fresh(family) as kernel:
        await kernel.cleanup(dry_run=False)


def killed(fuse, work):
    """Do something in a child until the fuse ends; return whether it came to that."""
    child = os.fork()
    if not child:
        status = 1
        try:
            fuse.light()
            asyncio.run(work)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    work.close()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself; its words are above"
    return False


def everything(family):
    """Return all that the mode can leave, as the usual tools tell it: without counters, and sorted."""
    tool = "iptables" if family is Family.IPV4 else "ip6tables"
    text = shell(f"{tool}-legacy-save; ipset save; ip -oneline addr show dev kube-ipvs0 2>/dev/null; ipvsadm -Sn")
    lines = [line.partition(" [")[0] if line[:1] == ":" else line for line in text.splitlines() if line[:1] != "#"]
    return sorted(" ".join(word for word in line.split() if not word.startswith("0x")) for line in lines)


def others():
    """Make what is not ours: virtual servers by address and by mark, a chain with a hook, a set."""
    shell(
        "ipvsadm -A -t 198.51.100.7:99 -s wlc; ipvsadm -a -t 198.51.100.7:99 -r 192.0.2.99:99 -m -w 7; ipvsadm -A -f 77 -s rr;"
        "ipvsadm -A -t [2001:db8::7]:99 -s rr; iptables-legacy -t nat -N THEIRS; iptables-legacy -t nat -A PREROUTING -j THEIRS;"
        "ipset create THEIRS hash:ip; ipset add THEIRS 192.0.2.1"
    )


def service(family, number, backend):
    node_port = {"node_port": 30000 + number} if number % 2 else {}
    backends = [make.backend(family, backend, local=True)]
    return make.route(family, name=f"web{number}", cluster_ip=make.vip(family, 96, number), backends=backends, **node_port)


@pytest.fixture
def scratch(monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        others()
        yield


def test_pain_29_and_30_a_change_that_is_killed_anywhere_is_completed_by_the_next_start(scratch):
    """There and back: one Service comes and goes, and one changes its endpoint."""
    family = Family.IPV4
    states = [desired(family, service(family, 2, 2)), desired(family, service(family, 2, 3), service(family, 4, 4))]
    plans, expected = [], []
    for wanted in (*states, *states):
        plans.append(asyncio.run(plan(family, wanted)))
        asyncio.run(start(family, wanted))
        expected.append(everything(family))
    assert expected[:2] == expected[2:]
    for messages in range(MOST):
        came = 0
        for place, wanted in enumerate(states):
            came += killed(Fuse(messages, fine=True), apply(family, plans[2 + place]))
            asyncio.run(start(family, wanted))
            assert everything(family) == expected[place], f"killed before message {messages}"
        if not came:
            break
    assert max(len(one.changes) for one in plans[2:]) <= messages < MOST - 1


def test_pain_29_and_30_a_first_start_and_a_removal_that_are_killed_anywhere_are_completed_by_the_next(scratch):
    family = Family.IPV6
    wanted = desired(family, service(family, 1, 1))
    first = asyncio.run(plan(family, wanted))
    asyncio.run(start(family, wanted))
    expected = everything(family)
    asyncio.run(remove(family))
    without = everything(family)
    assert not [line for line in without if "KUBE" in line]
    assert "-A -t [2001:db8::7]:99 -s rr" in without
    for messages in range(MOST):
        came = killed(Fuse(messages, fine=False), apply(family, first))
        asyncio.run(start(family, wanted))
        assert everything(family) == expected, f"killed before message {messages}"
        came += killed(Fuse(messages, fine=False), remove(family))
        asyncio.run(remove(family))
        assert everything(family) == without, f"killed before message {messages} of the removal"
        if not came:
            break
    assert 5 < messages < MOST - 1
