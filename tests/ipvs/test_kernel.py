"""Observe, apply and clean up the ipvs mode in a real kernel."""

import asyncio
import logging

import pytest
from fakes import routes as make
from fakes.ipvs import desired, difference
from fakes.scratch import lock_file, namespace, shell
from msgspec import structs
from pointsman.dataplane.contract import ABSENT, UNKNOWN, Change, Plan
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.variant import Variant
from pointsman.iptables.writer import Writer
from pointsman.ipvs import names
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.kernel import IpvsKernel, Settings
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, Timeouts, VirtualKey
from pointsman.proxy.config import Config
from pointsman.proxy.modes import MODES
from pointsman.routing.route import Family, Protocol

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs]

PROTOCOLS = (Protocol.UDP, Protocol.TCP)


@pytest.fixture(params=Family, ids=lambda family: family.value)
async def kernel(request, monkeypatch, tmp_path):
    with lock_file(monkeypatch, tmp_path), namespace():
        made = IpvsKernel(request.param, Variant.LEGACY, Writer(), Settings(timeouts=Timeouts(udp=30)))
        yield made
        await made.close()


def shop(family, count=3, backends=2):
    routes = [
        make.route(
            family,
            name=f"web{number}",
            protocol=list(Protocol)[number % 3],
            cluster_ip=make.vip(family, 96, number + 1),
            node_port=30000 + number,
            load_balancer_ips=(make.vip(family, 98, number + 1),),
            source_ranges=make.RANGES[family][:1],
            external_local=number % 2 == 1,
            affinity_seconds=10800 if number % 2 else 0,
            backends=[make.backend(family, number * 16 + i + 1, local=True) for i in range(backends)],
        )
        for number in range(count)
    ]
    return desired(family, *routes)


async def bring(kernel, wanted):
    outcome = await kernel.apply(difference(kernel.family, wanted, await kernel.observe()))
    assert not outcome.failed, outcome.failed
    assert await kernel.observe() == wanted


async def test_what_was_written_is_read_back_the_same(kernel):
    assert await kernel.observe() == {}
    await bring(kernel, shop(kernel.family))
    assert shell("ipvsadm -L --timeout").split()[-1] == "30"


async def test_changes_add_and_remove(kernel):
    await bring(kernel, shop(kernel.family, count=3))
    await bring(kernel, shop(kernel.family, count=5, backends=3))
    await bring(kernel, shop(kernel.family, count=1, backends=0))


async def test_nld_42_dns_goes_from_servers_to_rules_and_back(kernel):
    """As where this node is given a resolver of its own, and where it is taken away; affinity comes and goes in between."""
    family = kernel.family
    vip, ends = make.vip(family, 96, 10), [make.backend(family, number + 1) for number in range(2)]
    made = [make.route(family, name="kube-dns", protocol=one, cluster_ip=vip, port=53, backends=ends) for one in PROTOCOLS]
    node = structs.replace(make.node(family), local_dns={family: (vip,)})
    await bring(kernel, desired(family, *made))
    assert kernel.servers.ruled == frozenset()
    await bring(kernel, desired(family, *made, node=node))
    assert kernel.servers.ruled == {("udp", vip), ("tcp", vip)}
    assert shell("ipvsadm -Sn") == ""
    await bring(kernel, desired(family, *(structs.replace(one, affinity_seconds=60) for one in made), node=node))
    await bring(kernel, desired(family, *made))
    assert kernel.servers.ruled == frozenset()


async def test_pain_29_what_a_killed_process_left_is_found_and_removed(kernel):
    """Killed between any two stages: whatever is there is completed, or removed, by one that remembers nothing."""
    wanted = shop(kernel.family, count=2)
    whole = difference(kernel.family, wanted, await kernel.observe())
    servers = [place for place, change in enumerate(whole.changes) if isinstance(change.key, VirtualKey | RealKey)]
    for cut in (2, servers[0] - 1, servers[0] + 1, servers[len(servers) // 2], servers[-1] + 2):
        part = Plan(whole.changes[:cut], whole.groups)
        assert not (await kernel.apply(part)).failed
        fresh = IpvsKernel(kernel.family, Variant.LEGACY, Writer(), Settings())
        try:
            seen = await fresh.observe()
            assert {change.key for change in part.changes} <= set(seen)
            gone = difference(kernel.family, {}, seen)
            assert not (await fresh.apply(gone)).failed
            assert await fresh.observe() == {}
        finally:
            await fresh.close()


async def test_pain_30_others_servers_survive_everything(kernel):
    family = kernel.family
    address = "203.0.113.77" if family is Family.IPV4 else "[2001:db8::77]"
    shell(f"ipvsadm -A -t {address}:443 -s wlc; ipvsadm -A -f 7 {'-6' if family is Family.IPV6 else ''} -s rr")
    foreign = shell("ipvsadm -Sn")
    await bring(kernel, shop(family))
    await bring(kernel, shop(family, count=1))
    await kernel.cleanup(dry_run=False)
    assert shell("ipvsadm -Sn") == foreign


async def test_pain_29_what_is_excluded_is_left_to_others_even_on_our_device(kernel):
    """Their virtual server, and their address beside ours; neither is reported as one of ours, and nothing of it is ever changed."""
    cidr, address, shown = {
        Family.IPV4: ("10.97.0.0/16", "10.97.0.1", "10.97.0.1:443"), Family.IPV6: ("fd97::/64", "fd97::1", "[fd97::1]:443"),
    }[kernel.family]
    careful = IpvsKernel(kernel.family, Variant.LEGACY, Writer(), Settings(options=Options(exclude_cidrs=(cidr,))))
    wanted = shop(kernel.family)
    try:
        await bring(careful, wanted)
        shell(f"ip addr add {address} dev kube-ipvs0; ipvsadm -A -t {shown} -s wlc")
        assert await careful.observe() == wanted
        await bring(careful, shop(kernel.family, count=1))
        assert f"-A -t {shown} -s wlc" in shell("ipvsadm -Sn")
        assert address in shell("ip -o addr show dev kube-ipvs0")
    finally:
        await careful.close()


async def test_everything_can_go_and_come_back(kernel):
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    told = await kernel.cleanup(dry_run=True)
    assert await kernel.observe() == wanted
    assert await kernel.cleanup(dry_run=False) == told
    assert any("KUBE-IPVS-SERVICES" in word for word in told)
    assert await kernel.observe() == {}
    assert shell("ipset list -name") == ""
    await bring(kernel, wanted)


async def test_pain_34_a_set_of_kube_proxys_size_is_taken_over(kernel):
    sets = names.SETS[kernel.family]
    inet = "inet" if kernel.family is Family.IPV4 else "inet6"
    shell(f"ipset create {sets.cluster_ip} hash:ip,port family {inet}; ipset create {sets.addresses} list:set")
    await bring(kernel, shop(kernel.family))


async def test_an_element_that_cannot_be_is_the_only_one_that_fails(kernel):
    wanted = shop(kernel.family)
    wrong = AddressKey("10.1.2.3" if kernel.family is Family.IPV4 else "fd00::7")
    await bring(kernel, {**wanted, wrong: ""})
    stranger = Change(RuleKey("nat", "KUBE-IPVS-BROKEN"), ABSENT, "-j NOWHERE")
    outcome = await kernel.apply(Plan((stranger, *difference(kernel.family, shop(kernel.family, count=4), wanted).changes), {}))
    assert set(outcome.failed) == {stranger.key}


async def test_pain_42_what_others_remove_is_reported(kernel):
    await bring(kernel, shop(kernel.family))
    changes = kernel.watch()
    first = asyncio.create_task(anext(changes))
    await asyncio.sleep(0)
    shell("ipvsadm -C")
    async with asyncio.timeout(60):
        assert "virtual servers" in (await first).what
    await changes.aclose()
    await bring(kernel, shop(kernel.family))


async def test_a_set_that_nobody_can_say_anything_about_is_written_again(kernel):
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    compiler = IpvsCompiler(kernel.family, Options())
    doubtful = sorted((key for key in wanted if not isinstance(key, RuleKey)), key=lambda key: (compiler.rank(key), repr(key)))
    outcome = await kernel.apply(Plan(tuple(Change(key, UNKNOWN, wanted[key]) for key in doubtful), {}))
    assert not outcome.failed
    assert await kernel.observe() == wanted


async def test_settings_are_made_and_kept(kernel):
    await bring(kernel, shop(kernel.family, count=1))
    assert shell("sysctl -n net.ipv4.vs.conntrack net.ipv4.vs.expire_nodest_conn net.ipv4.vs.expire_quiescent_template") == "1\n1\n1\n"
    shell("sysctl -qw net.ipv4.vs.conntrack=0")
    assert kernel._keep_settings("") == ""
    assert shell("sysctl -n net.ipv4.vs.conntrack") == "1\n"


async def test_a_setting_that_cannot_be_put_right_is_told_once_and_hides_nothing_else(kernel, monkeypatch, caplog):
    await bring(kernel, shop(kernel.family, count=1))

    def refuse(**_):
        raise KernelError(ErrorKind.DENIED, "cannot be set", "sysctl net.ipv4.vs.conntrack")

    monkeypatch.setattr("pointsman.ipvs.sysctl.ensure", refuse)
    told = kernel._keep_settings("")
    assert kernel._keep_settings(told) == told
    assert [record.message for record in caplog.records] == ["a kernel setting that was changed stays so"]
    shell("ipvsadm -C")
    assert "vanished" in await kernel._look()


async def test_pain_28_an_interface_that_came_after_the_privileged_start_stops_nothing(kernel, monkeypatch, tmp_path, caplog):
    """PROC-05: settings are made by a run with all rights, then an interface comes, then an agent starts that may write no setting."""
    caplog.set_level(logging.DEBUG)
    MODES["ipvs"].privileged(Config(mode="ipvs", ipvs_strict_arp=True))
    shell("ip link add late0 type dummy")
    (tmp_path / "proc").mkdir()
    shell(f"mount -t proc -o ro proc {tmp_path}/proc")
    bound = IpvsKernel(kernel.family, Variant.LEGACY, Writer(), Settings(strict_arp=True))
    try:
        monkeypatch.setattr("pointsman.iptables.sysctl.ROOT", tmp_path / "proc/sys")
        wanted = shop(kernel.family)
        await bring(bound, wanted)
        shell("ip link add late1 type dummy")
        assert [bound._keep_settings(""), bound._keep_settings("")] == ["", ""]
        told = [(one.levelname, vars(one)["interfaces"]) for one in caplog.records if "strict ARP" in one.message]
        assert told == ([("WARNING", "late0"), ("DEBUG", "late1")] if kernel.family is Family.IPV4 else [])
        assert await bound.observe() == wanted
    finally:
        await bound.close()
        shell(f"umount {tmp_path}/proc")


async def test_preflight_finds_nothing_wrong_and_writes_nothing(kernel):
    assert await kernel.preflight() == ()
    assert shell("ipvsadm -Sn; ipset list -name; ip -o link").count("\n") == 1


async def test_sets_of_others_are_neither_read_nor_touched(kernel):
    wanted = shop(kernel.family)
    await bring(kernel, wanted)
    shell("ipset create theirs hash:ip; ipset add theirs 192.0.2.1")
    before = shell("ipset save theirs")
    assert await kernel.observe() == wanted
    await kernel.cleanup(dry_run=False)
    assert shell("ipset save") == before
