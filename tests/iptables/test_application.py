"""One bad key never stops the others: refused parts are left out, what depends on them too, everything else is written."""

import fcntl

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import application
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.run import run
from pointsman.iptables.variant import Tools, Variant
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel

BAD = RuleKey("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA")
CALLER = RuleKey("nat", "KUBE-EXT-AAAAAAAAAAAAAAAA")
ENTRY = RuleKey("nat", "KUBE-DST-7F", f"-j {CALLER.chain}")
NEIGHBOUR = RuleKey("nat", "KUBE-DST-7F", "-p tcp -m tcp --dport 81 -j ACCEPT")

# What a chain may hold that is refused, and in which way: by its line, by a name, or by the kernel without any reason.
REFUSED = {
    "address": "-p tcp -j DNAT --to-destination 10.0.0.400:80",
    "match": "-m nosuchmatch -j ACCEPT",
    "target": "-j NOSUCHTARGET",
    "chain": "-j KUBE-SVL-NEVERMADE",
    "set": "-m set --match-set NOSUCHSET dst -j ACCEPT",
    "module": "-m ipvs --vport 80 -j ACCEPT",
    "kernel": "-j REJECT",
}


def web(family, count=4):
    routes = [
        make.route(family, name=f"web{number}", cluster_ip=make.vip(family, 96, number), backends=[make.backend(family, number)])
        for number in range(1, count + 1)
    ]
    return desired(family, make.routing(*routes), make.node(family))


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_bad_chain_fails_alone_with_what_depends_on_it(kernel, reason):
    good = web(kernel.family)
    wanted = {**good, BAD: REFUSED[reason], CALLER: f"-j {BAD.chain}", ENTRY: "", NEIGHBOUR: ""}
    outcome = await kernel.apply(difference(kernel.family, wanted, await kernel.observe()))
    assert set(outcome.failed) == {BAD, CALLER, ENTRY}, outcome.failed
    assert await kernel.observe() == {**good, NEIGHBOUR: ""}
    assert all(error.text for error in outcome.failed.values())
    if reason in {"match", "target", "module"}:
        assert outcome.failed[BAD].kind in {ErrorKind.UNSUPPORTED, ErrorKind.MISSING}


async def test_a_bad_rule_of_a_shared_chain_spares_its_neighbours(kernel):
    good = web(kernel.family)
    bad = RuleKey("nat", ENTRY.chain, "-p tcp -m tcp --dport 82 -j REJECT")
    others = {RuleKey("nat", ENTRY.chain, f"-p tcp -m tcp --dport {port} -j ACCEPT"): "" for port in range(90, 99)}
    outcome = await kernel.apply(difference(kernel.family, {**good, bad: "", **others}, await kernel.observe()))
    assert set(outcome.failed) == {bad}
    assert await kernel.observe() == {**good, **others}


async def test_a_bad_update_leaves_the_old_chain_in_place(kernel):
    good = {**web(kernel.family), BAD: "-j ACCEPT"}
    await kernel.apply(difference(kernel.family, good, await kernel.observe()))
    outcome = await kernel.apply(difference(kernel.family, {**good, BAD: "-j REJECT"}, good))
    assert set(outcome.failed) == {BAD}
    assert await kernel.observe() == good


async def test_several_bad_chains_at_once(kernel):
    good = web(kernel.family, 12)
    bad = {RuleKey("nat", f"KUBE-SVC-{letter * 16}"): rule for letter, rule in zip("BCDEFGH", REFUSED.values(), strict=True)}
    outcome = await kernel.apply(difference(kernel.family, {**good, **bad}, {}))
    assert set(outcome.failed) == set(bad)
    assert await kernel.observe() == good


async def test_a_bad_element_spares_the_set(kernel):
    good = web(kernel.family)
    name = next(key.name for key in good if isinstance(key, SetKey) and key.element)
    bad = SetKey(name, "no-address")
    outcome = await kernel.apply(difference(kernel.family, {**good, bad: ""}, {}))
    assert set(outcome.failed) == {bad}
    assert await kernel.observe() == good


async def test_a_set_that_cannot_be_made_takes_its_rules_along(kernel):
    lost = SetKey("POINTSMAN-6-X" if kernel.family is Family.IPV6 else "POINTSMAN-X")
    user = RuleKey("nat", BAD.chain)
    good = web(kernel.family)
    wanted = {**good, lost: "hash:nosuch family inet maxelem 10", user: f"-m set --match-set {lost.name} dst -j ACCEPT"}
    outcome = await kernel.apply(difference(kernel.family, wanted, {}))
    assert set(outcome.failed) == {lost, user}
    assert await kernel.observe() == good


async def test_without_permission_nothing_is_searched(scratch, variant, monkeypatch):
    """The failure of the whole tool is raised, at the first step, and says what to do."""
    calls = []

    async def as_nobody(command, text="", **limits):
        calls.append(command)
        return await run(("setpriv", "--reuid", "65534", "--clear-groups", *command), text, **limits)

    kernel = IptablesKernel(Family.IPV4, variant, Writer())
    monkeypatch.setattr(application, "run", as_nobody)
    with pytest.raises(KernelError) as caught:
        await kernel.apply(difference(Family.IPV4, {BAD: "-j ACCEPT"}, {}))
    assert caught.value.kind is ErrorKind.DENIED
    assert "CAP_NET_ADMIN" in caught.value.text
    assert len(calls) == 1


async def test_the_lock_fails_the_whole_plan_only_if_nothing_was_written(scratch, monkeypatch):
    """A set was written before the lock was asked for: then the rules have failed, and the set has not."""
    kernel = IptablesKernel(Family.IPV4, Variant.LEGACY, Writer())
    monkeypatch.setattr(Tools, "restore_command", lambda self, *extra: (self.restore, "--noflush", "-w", "1", *extra))
    wanted = {SetKey("POINTSMAN-X"): "hash:ip family inet maxelem 16", BAD: "-j ACCEPT"}
    with scratch.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = await kernel.apply(difference(Family.IPV4, wanted, {}))
        assert outcome.failed[BAD].kind is ErrorKind.BUSY
        assert set(outcome.failed) == {BAD}
        with pytest.raises(KernelError):
            await kernel.apply(difference(Family.IPV4, {BAD: "-j ACCEPT"}, {}))
