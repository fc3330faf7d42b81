"""Cleaning up both variants and families from any state; others' rules stay byte for byte (IPT-44, pains 62 and 63)."""

import re

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from pointsman.dataplane.errors import KernelError
from pointsman.iptables.cleanup import cleanup
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.variant import Variant, legacy_tables
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel

FOREIGN = (
    "{tool} -t nat -N CNI-HOSTPORT; {tool} -t nat -A CNI-HOSTPORT -j ACCEPT; {tool} -t nat -I PREROUTING -j CNI-HOSTPORT;"
    "{tool} -t filter -N KUBE-FIREWALL; {tool} -t filter -A KUBE-FIREWALL -j ACCEPT; {tool} -t filter -A INPUT -j KUBE-FIREWALL;"
    "{tool} -t mangle -N KUBE-KUBELET-CANARY; {tool} -t mangle -N KUBE-IPTABLES-HINT; {tool} -t filter -A FORWARD -j ACCEPT"
)


def tools():
    return [f"{ip}tables-{variant.value}" for variant in Variant for ip in ("ip", "ip6")]


def everything():
    """Return all rules without comments and counters."""
    text = "".join(shell(f"{tool}-save 2>/dev/null") for tool in tools())
    return re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", text) + shell("ipset save")


async def program():
    writer = Writer()
    for variant in Variant:
        for family in Family:
            routes = [make.route(family, backends=[make.backend(family, 1)], affinity_seconds=60, node_port=30000)]
            kernel = IptablesKernel(family, variant, writer)
            wanted = desired(family, make.routing(*routes), make.node(family))
            assert not (await kernel.apply(difference(family, wanted, await kernel.observe()))).failed
            kernel.close()


def foreign():
    for tool in tools():
        shell(FOREIGN.format(tool=tool))


async def test_all_of_ours_goes_and_all_of_others_stays(scratch):
    foreign()
    shell("ipset create OTHERS hash:ip")
    before = everything()
    await program()
    assert everything() != before
    planned = await cleanup(dry_run=True)
    done = await cleanup(dry_run=False)
    assert planned == done
    after = everything()
    # The hooks to KUBE-FIREWALL are kubelet's as well: they are made sure of, and stay.
    assert [line for line in after.split("\n") if "-j KUBE-FIREWALL" not in line and "localnet" not in line] == [
        line for line in before.split("\n") if "-j KUBE-FIREWALL" not in line
    ]
    assert await cleanup(dry_run=False) == ()
    assert everything() == after


async def test_a_dry_run_writes_nothing(scratch):
    await program()
    before = everything()
    words = await cleanup(dry_run=True)
    assert {"legacy IPv4 nat: chain KUBE-SERVICES", "nft IPv6 nat: jump in OUTPUT to KUBE-SERVICES"} <= set(words)
    assert everything() == before


async def test_an_untouched_machine_stays_untouched(scratch):
    """Looking creates no table in either variant."""
    assert await cleanup(dry_run=False) == ()
    assert legacy_tables(Family.IPV4) == ()
    assert shell("nft list ruleset") == ""


HALVES = {
    "only chains": "{tool} -t nat -N KUBE-SVC-A; {tool} -t nat -N KUBE-SEP-B; {tool} -t nat -A KUBE-SVC-A -j KUBE-SEP-B",
    "only a hook": "{tool} -t nat -N KUBE-SERVICES; {tool} -t nat -A PREROUTING -j KUBE-SERVICES",
    "a hook of another wording, twice": "{tool} -t nat -N KUBE-SERVICES; {tool} -t nat -A OUTPUT -m comment --comment x -j KUBE-SERVICES;"
    "{tool} -t nat -A OUTPUT -m comment --comment x -j KUBE-SERVICES",
    "empty buckets": "{tool} -t nat -N KUBE-DST-3A; {tool} -t filter -N KUBE-NP-TCP-0",
    "a circle": "{tool} -t nat -N KUBE-SVC-A; {tool} -t nat -N KUBE-EXT-A; {tool} -t nat -A KUBE-EXT-A -j KUBE-SVC-A",
}


@pytest.mark.parametrize("half", HALVES)
async def test_pain_63_from_any_half_written_state(scratch, half):
    for tool in tools():
        shell(HALVES[half].format(tool=tool))
    shell("ipset create POINTSMAN-CLUSTER-IP-NEW hash:ip; ipset create POINTSMAN-6-X hash:ip family inet6")
    assert await cleanup(dry_run=False)
    assert "KUBE-" not in everything()
    assert "POINTSMAN" not in everything()


async def test_only_the_wanted_variants(scratch):
    await program()
    await cleanup(dry_run=False, variants=(Variant.NFT,))
    assert "KUBE-SVC" not in shell("iptables-nft-save 2>/dev/null")
    assert "KUBE-SVC" in shell("iptables-legacy-save")


async def test_what_cannot_be_removed_is_told_and_the_rest_goes(scratch):
    """A rule of somebody else still jumps to a chain of ours."""
    await program()
    shell("iptables-legacy -t nat -N CUSTOM; iptables-legacy -t nat -A CUSTOM -j KUBE-MARK-MASQ")
    with pytest.raises(KernelError, match="could not be removed"):
        await cleanup(dry_run=False, variants=(Variant.LEGACY,))
    left = shell("iptables-legacy-save -t nat")
    assert "-A CUSTOM -j KUBE-MARK-MASQ" in left
    assert "KUBE-SVC" not in left
