"""What is removed and what stays (IPT-44, IPT-45), on paper."""

from pointsman.dataplane.contract import ABSENT
from pointsman.iptables import names, render
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.removal import describe, removal
from pointsman.routing.route import Family

KUBELET = {hook.key: "" for hook in names.HOOKS if names.is_kept(hook.key)}
GUEST = {RuleKey("filter", names.KUBELET_FIREWALL): "", RuleKey("filter", names.KUBELET_FIREWALL, names.LOCALNET_RULE): ""}
OURS = {
    **{hook.key: "" for hook in names.HOOKS if not names.is_kept(hook.key)},
    RuleKey("nat", names.SERVICES): "-j KUBE-DST",
    RuleKey("nat", names.DESTINATIONS): "",
    RuleKey("nat", names.DESTINATIONS, "-d 0.0.0.1/0.0.0.15 -j KUBE-DST-1"): "",
    RuleKey("nat", "KUBE-DST-1"): "",
    RuleKey("nat", "KUBE-SEP-AAAA"): "-j MARK",
    SetKey("POINTSMAN-CLUSTER-IP"): "hash:ip",
    SetKey("POINTSMAN-CLUSTER-IP", "10.0.0.1"): "",
}


def test_ipt_44_everything_of_ours_goes_kubelets_stays():
    plan = removal({**OURS, **KUBELET, **GUEST})
    assert {change.key for change in plan.changes} == set(OURS)
    assert all(change.after is ABSENT for change in plan.changes)
    assert plan.groups["filter", "INPUT"] == {key: "" for key in KUBELET if key.chain == "INPUT"}


def test_what_is_written_names_nothing_else():
    lines = [line for step in render.script(removal({**OURS, **KUBELET, **GUEST}), Family.IPV4) for line in step.text.split("\n")]
    assert not [line for line in lines if names.KUBELET_FIREWALL in line]
    assert [line for line in lines if line.startswith("-X ")] == ["-X KUBE-DST", "-X KUBE-DST-1", "-X KUBE-SEP-AAAA", "-X KUBE-SERVICES"]
    assert lines.count("destroy POINTSMAN-CLUSTER-IP") == 1


def test_nothing_seen_nothing_to_do():
    assert removal({}).changes == ()
    assert removal({**KUBELET, **GUEST}).changes == ()


def test_words_name_chains_once_and_count_elements():
    words = describe(OURS, Family.IPV4, "nft")
    assert words.count("nft IPv4 nat: chain KUBE-DST") == 1
    assert "nft IPv4 nat: jump in PREROUTING to KUBE-SERVICES" in words
    assert words[-1] == "ipset POINTSMAN-CLUSTER-IP (1 elements)"
