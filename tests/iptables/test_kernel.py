"""Observe, apply and clean up in a real kernel: both variants, both families."""

import asyncio
import errno
import socket
import time
from contextlib import closing
from itertools import pairwise

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from pointsman.dataplane.contract import ABSENT, Change, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import counters, names, sysctl
from pointsman.iptables.kernel import IptablesKernel, is_loopback_accepted, is_our_chain
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.routing.node import NodePortAddresses
from pointsman.routing.route import Family, Protocol

pytestmark = pytest.mark.kernel


def shop(family, *, count=3, backends=2, **changes):
    routes = [
        make.route(
            family,
            name=f"web{number}",
            protocol=list(Protocol)[number % 3],
            cluster_ip=make.vip(family, 96, number + 1),
            node_port=30000 + number,
            load_balancer_ips=(make.vip(family, 98, number + 1),),
            source_ranges=make.RANGES[family][:1],
            affinity_seconds=10800 if number % 2 else 0,
            backends=[make.backend(family, number * 16 + i + 1, local=True) for i in range(backends)],
            **changes,
        )
        for number in range(count)
    ]
    return desired(family, make.routing(*routes), make.node(family))


def save(family, variant):
    return shell(f"ip{'6' * (family is Family.IPV6)}tables-{variant.value}-save")


async def bring(kernel, wanted):
    outcome = await kernel.apply(difference(kernel.family, wanted, await kernel.observe()))
    assert not outcome.failed, outcome.failed
    assert await kernel.observe() == wanted


async def test_what_was_written_is_read_back_the_same(kernel):
    """IPT-02, IPT-20: the notation is the kernel's own, so equal means equal."""
    assert await kernel.observe() == {}
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    assert difference(kernel.family, wanted, await kernel.observe()).changes == ()


async def test_changes_add_and_remove(kernel):
    await bring(kernel, shop(kernel.family, count=3))
    await bring(kernel, shop(kernel.family, count=5, backends=3))
    await bring(kernel, shop(kernel.family, count=1, backends=0))


async def test_everything_can_go_and_come_back(kernel):
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    words = await kernel.cleanup(dry_run=False)
    assert any("KUBE-SERVICES" in word for word in words)
    assert {key for key in await kernel.observe() if not names.is_kept(key)} == set()
    await bring(kernel, wanted)


async def test_the_tools_are_named_when_they_are_missing(kernel, monkeypatch):
    monkeypatch.setattr("pointsman.iptables.variant.find_program", lambda _: None)
    with pytest.raises(KernelError, match="install the Debian package iptables") as caught:
        await kernel.observe()
    assert caught.value.kind is ErrorKind.UNSUPPORTED


async def test_a_table_that_iptables_cannot_show_is_named(scratch):
    """Pain 40: rules of another tool in our table are told of, not overwritten."""
    shell("iptables-nft -t nat -N KUBE-SVC-X")
    shell("nft 'add rule ip nat KUBE-SVC-X numgen random mod 3 vmap { 0 : accept }'")
    kernel = IptablesKernel(Family.IPV4, Variant.NFT, Writer())
    with closing(kernel), pytest.raises(KernelError, match="`nat' is incompatible") as caught:
        await kernel.observe()
    assert caught.value.kind is ErrorKind.UNSUPPORTED


async def test_reading_many_rules_leaves_the_loop_free(kernel):
    """While 20,000 rules are read, other tasks go on running all the time: between two turns of theirs lies little work."""
    lines = "".join(f"-A KUBE-SVC-BIG -p tcp -m tcp --dport {number + 1} -j ACCEPT\n" for number in range(20_000))
    tool = f"ip{'6' * (kernel.family is Family.IPV6)}tables-{kernel.variant.value}-restore"
    shell(f"{tool} --noflush", text=f"*nat\n:KUBE-SVC-BIG - [0:0]\n{lines}COMMIT\n")
    ticks = []

    async def tick():
        while True:
            ticks.append(time.thread_time())  # what others do on this machine does not count
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    seen = await kernel.observe()
    ticking.cancel()
    assert seen[RuleKey("nat", "KUBE-SVC-BIG")].count("\n") == 19_999
    gaps = sorted(later - earlier for earlier, later in pairwise(ticks))
    assert len(gaps) >= 10
    assert gaps[int(len(gaps) * 0.9)] < 0.05, gaps


async def test_a_set_of_another_type_is_replaced_while_rules_use_it(kernel):
    name = names.cluster_ip_set(kernel.family)
    inet = "inet" if kernel.family is Family.IPV4 else "inet6"
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    await kernel.cleanup(dry_run=False)
    shell(f"ipset create {name} hash:ip family {inet} maxelem 1024")
    await bring(kernel, wanted)
    assert f"create {name} hash:ip family {inet} hashsize 1024 maxelem 1048576" in shell(f"ipset save {name}")


async def test_preflight_finds_nothing_wrong_here(kernel):
    assert await kernel.preflight() == ()


def test_which_chains_are_ours():
    assert is_our_chain("nat", "KUBE-SVC-X")
    assert is_our_chain("filter", names.KUBELET_FIREWALL)
    assert not is_our_chain("nat", "PREROUTING")
    assert not is_our_chain("nat", "CNI-HOSTPORT")


async def test_nothing_is_raised_or_written_for_an_empty_plan(kernel):
    before = save(kernel.family, kernel.variant)
    assert (await kernel.apply(Plan((), {}))).failed == {}
    assert save(kernel.family, kernel.variant) == before


async def test_deleting_what_is_gone_is_success(kernel):
    key = SetKey(names.hairpin_set(kernel.family))
    rule = RuleKey("nat", "KUBE-SVC-GONE")
    hook = names.HOOKS[-3].key
    plan = Plan(tuple(Change(each, "", ABSENT) for each in (key, rule, hook)), {("nat", rule.chain): {}, ("nat", hook.chain): {}})
    assert (await kernel.apply(plan)).failed == {}


@pytest.mark.parametrize(("accepted", "expected"), [
    (NodePortAddresses(loopback=True), 1),
    (NodePortAddresses(), 0),
    (NodePortAddresses(match_all=False, addresses=("127.0.0.1", "192.168.7.1"), loopback=True), 1),
    (NodePortAddresses(match_all=False, addresses=("192.168.7.1",)), 0),
])  # fmt: skip
async def test_sem_45_loopback_is_routed_only_if_node_ports_are_accepted_there(scratch, variant, accepted, expected):
    kernel = IptablesKernel(Family.IPV4, variant, Writer())
    wanted = desired(Family.IPV4, make.routing(make.route(node_port=30000)), make.node(node_ports=accepted))
    await kernel.apply(difference(Family.IPV4, wanted, {}))
    assert sysctl.read_sysctl(sysctl.ROUTE_LOCALNET) == expected


async def test_sem_45_loopback_is_routed_although_the_one_who_wrote_the_rules_was_killed_before(scratch, variant):
    kernel = IptablesKernel(Family.IPV4, variant, Writer())
    wanted = desired(Family.IPV4, make.routing(make.route(node_port=30000)), make.node(node_ports=NodePortAddresses(loopback=True)))
    await kernel.apply(difference(Family.IPV4, wanted, {}))
    for shielded, expected in ((True, 1), (False, 0)):
        if not shielded:
            shell(f"iptables-{variant.value} -F KUBE-FIREWALL")
        sysctl.write_sysctl(sysctl.ROUTE_LOCALNET, 0)
        assert is_loopback_accepted(await kernel.observe()) is shielded
        assert sysctl.read_sysctl(sysctl.ROUTE_LOCALNET) == expected
    kernel.close()


async def test_sem_45_a_read_only_setting_stops_nothing(scratch, variant, monkeypatch, caplog):
    def refuse():
        raise KernelError(ErrorKind.DENIED, "read-only", "sysctl")

    monkeypatch.setattr(sysctl, "allow_loopback_node_ports", refuse)
    kernel = IptablesKernel(Family.IPV4, variant, Writer())
    wanted = desired(Family.IPV4, make.routing(), make.node(node_ports=NodePortAddresses(loopback=True)))
    assert not (await kernel.apply(difference(Family.IPV4, wanted, {}))).failed
    await kernel.observe()
    assert caplog.text.count("loopback") == 1
    kernel.close()


async def test_met_12_the_kernel_counts_connections_to_node_ports_on_loopback(scratch, variant):
    """The rule is read back as it was written, counts, and keeps counting over writes to other chains."""
    with closing(IptablesKernel(Family.IPV4, variant, Writer())) as kernel:
        assert await kernel.counted() == {}
        accepted = NodePortAddresses(loopback=True)
        route = make.route(name="web", node_port=30000, backends=[make.backend(Family.IPV4, 1)])
        wanted = desired(Family.IPV4, make.routing(route), make.node(node_ports=accepted))
        await bring(kernel, wanted)
        assert await kernel.counted() == {counters.INVALID_DROPPED: 0, counters.LOOPBACK_ACCEPTED: 0}
        shell("ip link set lo up; ip route add default dev lo")
        with socket.socket() as client:
            client.setblocking(False)
            assert client.connect_ex(("127.0.0.1", 30000)) == errno.EINPROGRESS
            assert (await kernel.counted())[counters.LOOPBACK_ACCEPTED] >= 1
            other = make.route(name="web", node_port=30000, backends=[make.backend(Family.IPV4, 2)])
            await bring(kernel, desired(Family.IPV4, make.routing(other), make.node(node_ports=accepted)))
            assert (await kernel.counted())[counters.LOOPBACK_ACCEPTED] >= 1
