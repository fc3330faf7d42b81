"""On the way back our rules get names of their own, so that kube-proxy can delete what it knows; packets do not notice."""

import pytest
from fakes import routes as make
from fakes.scratch import desired, difference, shell
from pointsman.iptables import names
from pointsman.iptables.kernel import IptablesKernel
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.release import release, renamed, stuck
from pointsman.iptables.whose import Owner, owner
from pointsman.iptables.writer import Writer
from pointsman.routing.route import Family

OURS = {
    RuleKey("nat", names.SERVICES): "-j KUBE-DST",
    RuleKey("nat", names.DESTINATIONS): "",
    RuleKey("nat", names.DESTINATIONS, "-d 0.0.0.1/0.0.0.15 -j KUBE-DST-1"): "",
    RuleKey("nat", "KUBE-DST-1", "-d 10.96.0.1/32 -j KUBE-EXT-AAAA"): "",
    RuleKey("nat", "KUBE-EXT-AAAA"): "-j KUBE-MARK-MASQ\n-j KUBE-SVC-AAAA",
    RuleKey("nat", "KUBE-SVC-AAAA"): "-m recent --rcheck --name KUBE-SEP-BBBB --rsource -j KUBE-SEP-BBBB\n-j KUBE-SEP-BBBB",
    RuleKey("nat", "KUBE-SEP-BBBB"): "-j DNAT --to-destination 10.0.0.1:80",
}
PROXYS_FILTER = {RuleKey("filter", names.SERVICES): "", RuleKey("filter", names.FORWARD): "-j ACCEPT"}


def test_kube_proxy_is_stuck_where_it_did_not_write_nat():
    """Filter comes first, and then nat may be refused; or it wrote both, and an agent that still ran put its own back."""
    assert stuck(OURS | PROXYS_FILTER)
    assert stuck(OURS)
    assert not stuck(PROXYS_FILTER)
    assert not stuck({})


def test_every_jump_leads_to_a_copy_and_lists_of_clients_keep_their_names():
    lines = renamed(OURS).splitlines()
    assert "-A KUBE-DST -d 0.0.0.1/0.0.0.15 -j KUBE-DST-1" in lines
    assert "-A KUBE-DST-1 -d 10.96.0.1/32 -j KUBE-DSTE-AAAA" in lines
    assert lines[lines.index("-A KUBE-DSTE-AAAA -j KUBE-MARK-MASQ") + 1] == "-A KUBE-DSTE-AAAA -j KUBE-DSTV-AAAA"
    assert "-A KUBE-DSTV-AAAA -m recent --rcheck --name KUBE-SEP-BBBB --rsource -j KUBE-DSTP-BBBB" in lines
    assert "-A KUBE-DSTP-BBBB -j DNAT --to-destination 10.0.0.1:80" in lines
    assert not [line for line in lines if line.startswith((":KUBE-SVC", ":KUBE-SERVICES"))]
    assert (lines[0], lines[-1]) == ("*nat", "COMMIT")


def test_ipt_40_the_canaries_that_are_there_go():
    lines = renamed(OURS | {RuleKey("mangle", names.CANARY): ""}).splitlines()
    assert lines[lines.index("*mangle") :] == ["*mangle", ":KUBE-PROXY-CANARY - [0:0]", "-X KUBE-PROXY-CANARY", "COMMIT"]
    assert lines.count("-X KUBE-PROXY-CANARY") == 1


def test_copies_are_ours_and_their_names_fit():
    copy = names.copy_of("KUBE-SVC-67NZLRHBNDSAWJRO")
    assert copy == "KUBE-DSTV-67NZLRHBNDSAWJRO"
    assert len(copy) <= 28
    assert names.is_bucket(copy)
    assert names.is_copy(copy)
    assert names.copy_of("KUBE-SERVICES") == ""
    assert not names.is_copy("KUBE-DST-1")


@pytest.mark.kernel
async def test_kube_proxy_can_delete_its_chains_then(scratch, family, variant):
    kernel = IptablesKernel(family, variant, Writer())
    routes = [make.route(family, backends=[make.backend(family, 1)], affinity_seconds=60, node_port=30000)]
    wanted = desired(family, make.routing(*routes), make.node(family))
    assert not (await kernel.apply(difference(family, wanted, await kernel.observe()))).failed
    tool = "ip6tables" if family is Family.IPV6 else "iptables"
    chains = [key.chain for key in wanted if isinstance(key, RuleKey) and not key.rule and names.copy_of(key.chain)]
    assert len(chains) >= 3
    delete = "*nat\n" + "".join(f":{chain} - [0:0]\n" for chain in chains) + "".join(f"-X {chain}\n" for chain in chains) + "COMMIT\n"
    restore = f"{tool}-{variant.value}-restore --noflush"
    assert "yes" not in shell(f"{restore} && echo yes", text=delete, check=False), "there was nothing in its way"
    for _ in range(2):  # a second time changes nothing
        await release(await kernel.tools(), await kernel.standing())
    assert "yes" in shell(f"{restore} && echo yes", text=delete)
    assert owner("nat", await kernel.standing()) is Owner.OURS
    await kernel.cleanup(dry_run=False)
    assert "KUBE-DST" not in shell(f"{tool}-{variant.value}-save")
    kernel.close()
