"""What counters and settings mean."""

import pytest
from pointsman.conntrack.kernel import CpuCounters, Fill
from pointsman.proxy.cli import conntrack_advice as advice

P = "net/netfilter/nf_conntrack"


@pytest.mark.parametrize(("count", "level"), [(0, "ok"), (799, "ok"), (800, "warn"), (949, "warn"), (950, "bad"), (1000, "bad")])
def test_pain_13_a_table_is_told_of_before_it_is_full(count, level):
    [one] = advice.stats(Fill(count, 1000), (), 0).advice
    assert one.level == level
    assert bool(one.fix) is (level != "ok")
    if one.fix:
        assert "nf_conntrack_max=2000" in one.fix
        assert "pointsman conntrack top" in one.why


def test_the_limit_may_come_from_the_setting_and_may_be_missing():
    assert advice.stats(Fill(10, 0), (), 1000).limit == 1000
    assert "not limited" in advice.stats(Fill(10, 0), (), 0).advice[0].text


def test_pain_15_counters_are_summed_and_named_with_their_cause():
    found = advice.stats(Fill(1, 1000), (CpuCounters(0, insert_failed=2, clash_resolve=1), CpuCounters(1, insert_failed=3, drop=4)), 0)
    assert (found.sums["insert_failed"], found.sums["drop"]) == (5, 4)
    told = {one.text.partition(":")[0]: one for one in found.advice[1:]}
    assert told.keys() == {"drop", "insert_failed", "clash_resolve"}
    assert "one local port" in told["insert_failed"].why
    assert told["insert_failed"].level == "warn"
    assert told["clash_resolve"].level == "ok"


def test_a_setting_that_differs_from_the_configuration_has_drifted():
    values = {f"{P}_max": 1000, f"{P}_udp_timeout": 30}
    found = {one.name: one for one in advice.sysctls(values, {f"{P}_max": 2000, f"{P}_udp_timeout": 30}).settings}
    assert found["net.netfilter.nf_conntrack_max"].drifted
    assert found["net.netfilter.nf_conntrack_max"].fix == "sysctl -w net.netfilter.nf_conntrack_max=2000"
    assert not found["net.netfilter.nf_conntrack_udp_timeout"].drifted


def test_a_setting_that_is_absent_is_told_with_the_way_out():
    [one] = advice.sysctls({f"{P}_max": None}, {f"{P}_max": 2000}).settings
    assert not one.drifted
    assert one.fix == "modprobe nf_conntrack"


@pytest.mark.parametrize(
    ("name", "value", "remark", "fix"),
    [
        ("tcp_timeout_established", 432000, "five days", "=86400"),
        ("tcp_timeout_established", 86400, "", ""),
        ("tcp_be_liberal", 0, "SEM-70", ""),
        ("timestamp", 0, "list --since", "nf_conntrack_timestamp=1"),
        ("timestamp", 1, "", ""),
        ("events", 0, "watch", "=2"),
        ("acct", 0, "not counted", "=1"),
    ],
)
def test_values_are_explained(name, value, remark, fix):
    [one] = advice.sysctls({f"{P}_{name}": value}, {}).settings
    assert remark in one.remark
    assert bool(one.remark) is bool(remark)
    assert fix in one.fix
    assert bool(one.fix) is bool(fix)


def test_a_hash_table_that_is_too_small_is_told():
    found = advice.sysctls({f"{P}_max": 262144, f"{P}_buckets": 1024}, {}).settings[1]
    assert "CT-21" in found.remark
    assert "65536" in found.fix
