"""Traps that real clusters fell into with iptables, each by its number, on real kernels."""

import asyncio
import fcntl
import os
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import application, names
from pointsman.iptables import variant as variants
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.run import run
from pointsman.iptables.variant import Variant, choose, legacy_tables
from pointsman.iptables.writer import Writer
from pointsman.proxy.loop import FamilyLoop, LoopSettings
from pointsman.proxy.status import FamilyProgress
from pointsman.routing.build import RoutingChange
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel


def shop(family, count=3, endpoints=2):
    """Return a routing of some Services, each with endpoints on this node."""
    return make.routing(*(
        make.route(
            family, name=f"web{number}", cluster_ip=make.vip(family, 96, number + 1), node_port=30000 + number,
            backends=[make.backend(family, number * 8 + i + 1, local=True) for i in range(endpoints)],
        )
        for number in range(count)
    ))  # fmt: skip


def wanted(family, count=3, endpoints=2):
    return desired(family, shop(family, count, endpoints), make.node(family))


def tool(family, variant):
    return f"ip{'6' * (family is Family.IPV6)}tables-{variant.value}"


def save(family, variant):
    """Return all rules of a variant without comments and counters."""
    return re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", shell(f"{tool(family, variant)}-save 2>/dev/null"))


@pytest.fixture
def commands(monkeypatch):
    """Record the tools that write, with their input."""
    calls = []

    async def recorded(command, text="", **limits):
        whole = "".join(text)
        calls.append((command, whole))
        return await run(command, whole, **limits)

    monkeypatch.setattr(application, "run", recorded)
    return calls


@asynccontextmanager
async def looping(kernel, routing):
    """Run a reconcile loop until the routing is applied, and on."""
    family = kernel.family
    loop = FamilyLoop(IptablesCompiler(family), kernel, FamilyProgress(family), LoopSettings(min_sync_period=0.05))
    task = asyncio.create_task(loop.run())
    routes = {route.key: route for route in routing.routes.values() if route.family is family}
    loop.offer(RoutingChange(routing, routes), make.node(family))
    try:
        async with asyncio.timeout(60):
            await loop.applied(routing.revision)
        yield loop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_pain_37_the_lock_holder_is_named_and_then_we_write(scratch, family, monkeypatch):
    """Another process holds the lock: the error says which, and after it let go the same plan is written."""
    kernel = IptablesKernel(family, Variant.LEGACY, Writer())
    monkeypatch.setattr(variants.Tools, "restore_command", lambda self, *extra: (self.restore, "--noflush", "-w", "1", *extra))
    rules = {key: value for key, value in wanted(family).items() if getattr(key, "table", "") == "mangle"}
    plan = difference(family, rules, await kernel.observe())
    with scratch.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(KernelError, match=f"is held by process {os.getpid()}") as caught:
            await kernel.apply(plan)
    assert caught.value.kind is ErrorKind.BUSY
    assert caught.value.transient
    assert (await kernel.apply(plan)).failed == {}
    assert await kernel.observe() == rules
    kernel.close()


async def test_pain_37_our_own_restores_never_overlap(scratch, variant, monkeypatch):
    """Two families, one writer."""
    writer, running, most = Writer(), 0, 0

    async def counted(command, text="", **limits):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await run(command, text, **limits)
        finally:
            running -= 1

    monkeypatch.setattr(application, "run", counted)
    kernels = [IptablesKernel(family, variant, writer) for family in Family]
    await asyncio.gather(*(kernel.apply(difference(kernel.family, wanted(kernel.family), {})) for kernel in kernels))
    assert most == 1
    for kernel in kernels:
        kernel.close()


async def test_pain_38_a_changed_endpoint_is_one_small_restore(kernel, commands):
    family = kernel.family
    await kernel.apply(difference(family, wanted(family, 20), {}))
    before = await kernel.observe()
    commands.clear()
    routing = shop(family, 20)
    (key, old) = next(iter(routing.routes.items()))
    (changed,) = make.routing(
        make.route(family, name=old.port_name.name, cluster_ip=old.cluster_ip, node_port=old.node_port, backends=old.cluster[:1])
    ).routes.values()
    after = desired(family, make.routing(*({**routing.routes, key: changed}).values()), make.node(family))
    assert not (await kernel.apply(difference(family, after, before))).failed
    restores = [text for command, text in commands if "ipset" not in command[0]]
    assert len(restores) == 1
    assert restores[0].startswith("*nat\n")
    assert restores[0].count("\n") < 10
    assert await kernel.observe() == after


async def test_pain_40_the_hosts_variant_is_used_and_the_other_stays_untouched(scratch, variant):
    """No duplicate rules, and no table that makes the other variant's tools warn."""
    other = Variant.NFT if variant is Variant.LEGACY else Variant.LEGACY
    shell(f"iptables-{variant.value} -t mangle -N KUBE-KUBELET-CANARY")
    choice = await choose()
    assert choice.variant is variant
    writer = Writer()
    for family in Family:
        kernel = IptablesKernel(family, choice.variant, writer)
        assert not (await kernel.apply(difference(family, wanted(family), await kernel.observe()))).failed
        kernel.close()
    if other is Variant.LEGACY:
        assert legacy_tables(Family.IPV4) == legacy_tables(Family.IPV6) == ()
    else:
        assert shell("nft list ruleset") == ""


async def test_pain_41_missing_tools_are_one_clear_error(scratch, variant, monkeypatch):
    monkeypatch.setattr(variants, "find_program", lambda _: None)
    kernel = IptablesKernel(Family.IPV4, variant, Writer())
    (error,) = await kernel.preflight()
    assert "install the Debian package iptables" in str(error)


FLUSHES = {
    "-F": "{tool} -t nat -F; {tool} -t filter -F",
    "-F and -X": "{tool} -t nat -F; {tool} -t nat -X; {tool} -t filter -F; {tool} -t filter -X; {tool} -t mangle -X",
    "firewall reload": "printf '*nat\\nCOMMIT\\n*filter\\n:INPUT ACCEPT [0:0]\\n-A INPUT -j ACCEPT\\nCOMMIT\\n' | {tool}-restore",
    "one hook": "{tool} -t nat -D PREROUTING 1",
    "one chain": "{tool} -t nat -F KUBE-POSTROUTING",
    "sets": "ipset flush",
}


@pytest.mark.parametrize("flush", FLUSHES)
async def test_pain_42_a_foreign_flush_is_repaired(kernel, flush):
    family = kernel.family
    async with looping(kernel, shop(family)) as loop:
        await asyncio.sleep(0.2)
        target = wanted(family)
        before = save(family, kernel.variant)
        shell(FLUSHES[flush].format(tool=tool(family, kernel.variant)))
        began = asyncio.get_running_loop().time()
        while not (status := loop.status(datetime.now(UTC))).foreign.repaired_keys or status.pending_keys or not status.in_sync_since:
            assert asyncio.get_running_loop().time() - began < 60, "not repaired"
            await asyncio.sleep(0.01)
        seen = await kernel.observe()
        assert {key: value for key, value in seen.items() if not names.is_kept(key)} == {
            key: value for key, value in target.items() if not names.is_kept(key)
        }
        if flush == "one chain":
            assert save(family, kernel.variant) == before
        foreign = loop.status(datetime.now(UTC)).foreign
        assert foreign.noticed
        assert foreign.repaired_keys
        if kernel.variant is Variant.NFT and flush != "sets":
            assert "tables-nft" in foreign.last_culprit


async def test_pain_43_a_restart_writes_nothing(kernel, commands):
    """What is there is adopted if it is right."""
    family = kernel.family
    async with looping(kernel, shop(family)):
        pass
    commands.clear()
    before = save(family, kernel.variant) + shell("ipset save")
    again = IptablesKernel(family, kernel.variant, Writer())
    async with looping(again, shop(family)):
        await asyncio.sleep(0.2)
    again.close()
    assert commands == []
    assert save(family, kernel.variant) + shell("ipset save") == before


LEFTOVERS = (
    "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-OLDOLDOLDOLDOLDO - [0:0]\n:KUBE-SEP-OLDOLDOLDOLDOLDO - [0:0]\n:KUBE-NODEPORTS - [0:0]\n"
    ":KUBE-MARK-MASQ - [0:0]\n-A KUBE-MARK-MASQ -j MARK --or-mark 0x8000\n"
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n'
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n'
    "-A KUBE-SERVICES -p tcp -m tcp --dport 80 -j KUBE-SVC-OLDOLDOLDOLDOLDO\n"
    "-A KUBE-SVC-OLDOLDOLDOLDOLDO -j KUBE-SEP-OLDOLDOLDOLDOLDO\n-A KUBE-SEP-OLDOLDOLDOLDOLDO -j KUBE-MARK-MASQ\n"
    "-A KUBE-NODEPORTS -p tcp -m tcp --dport 30000 -j KUBE-SVC-OLDOLDOLDOLDOLDO\nCOMMIT\n"
    "*filter\n:KUBE-SERVICES - [0:0]\n:KUBE-FORWARD - [0:0]\n-A KUBE-FORWARD -j ACCEPT\n-A FORWARD -j KUBE-FORWARD\nCOMMIT\n"
)  # fmt: skip


async def test_pain_62_leftovers_of_an_earlier_kube_proxy_are_put_right(kernel):
    """Its chains carry the names that we use: wrong ones are corrected, old ones go, doubled hooks become single."""
    family = kernel.family
    shell(f"{tool(family, kernel.variant)}-restore", text=LEFTOVERS)
    async with looping(kernel, shop(family)):
        assert await kernel.observe() == wanted(family)
    assert "OLDOLD" not in save(family, kernel.variant)
    assert save(family, kernel.variant).count("-A PREROUTING ") == 1


FOREIGN = (
    "*nat\n:CNI-HOSTPORT - [0:0]\n-A CNI-HOSTPORT -p tcp -m tcp --dport 8080 -j ACCEPT\n-A PREROUTING -j CNI-HOSTPORT\nCOMMIT\n"
    "*filter\n:KUBE-FIREWALL - [0:0]\n:cali-INPUT - [0:0]\n-A INPUT -j cali-INPUT\n-A cali-INPUT -j ACCEPT\n"
    "-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\nCOMMIT\n"
    "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-IPTABLES-HINT - [0:0]\n-A PREROUTING -j MARK --set-xmark 0x1/0x1\nCOMMIT\n"
)


async def test_foreign_rules_stay_byte_for_byte(kernel):
    """Whatever we do: program, change, clean up."""
    family = kernel.family
    shell(f"{tool(family, kernel.variant)}-restore", text=FOREIGN)

    def foreign():
        chains = "SERVICES|EXTERNAL|NODEPORTS|FORWARD|PROXY|POSTROUTING|MARK|DST|NP|SV|EXT|FW|SEP"
        ours = re.compile(rf"(?m)^.*(?:KUBE-(?:{chains})|localnet).*\n")
        return re.sub(r"(?m)^-A (?:INPUT|OUTPUT) -j KUBE-FIREWALL\n", "", ours.sub("", save(family, kernel.variant)))

    before = foreign()
    async with looping(kernel, shop(family)):
        assert foreign() == before
    await kernel.apply(difference(family, wanted(family, 5), await kernel.observe()))
    assert foreign() == before
    await kernel.cleanup(dry_run=False)
    assert foreign() == before
