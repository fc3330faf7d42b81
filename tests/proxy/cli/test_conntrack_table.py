"""Tables as plain text."""

from fakes.flows import flow, judge, route
from pointsman.conntrack.classify import FlowClass
from pointsman.conntrack.kernel import CpuCounters, Fill
from pointsman.conntrack.names import NOBODY
from pointsman.proxy.cli import conntrack_advice, conntrack_rows, conntrack_table
from pointsman.proxy.cli.conntrack_rows import TopReport, TopRow

JUDGE = judge(route())


def row(one):
    return conntrack_rows.row(one, JUDGE.judge(one), NOBODY.of)


FLOWS = [flow(), flow(at="10.2.0.5:53", client="10.5.0.2:7")]
REPORT = conntrack_rows.report(map(row, FLOWS), {FlowClass.OK: 1, FlowClass.STALE_BACKEND: 1}, 3)


def test_columns_stand_below_each_other():
    assert conntrack_table.table(("A", "NUMBER"), [("long one", "7"), ("b", "1,234")], {1}) == (
        "A         NUMBER\nlong one       7\nb          1,234\n"
    )
    assert conntrack_table.table(("A", "B"), []) == "A  B\n"


def test_flows_short_and_wide():
    short = conntrack_table.flows(REPORT, wide=False).splitlines()
    assert short[0].split() == ["PROTO", "STATE", "CLIENT", "SERVICE", "FRONTEND", "BACKEND", "CLASS"]
    assert short[1].split() == ["udp", "10.5.0.1:40000", "shop/dns", "10.96.0.10:53", "10.2.0.7:53", "ok"]
    assert short[-1] == "2 shown; of all: 1 ok, 1 stale-backend; 3 could not be read"
    wide = conntrack_table.flows(REPORT, wide=True)
    assert "which is none of its endpoints" in wide
    assert "pod shop/dns-1" in wide


def test_what_is_wrong_stands_with_its_reason():
    lines = conntrack_table.wrong(REPORT).splitlines()
    assert lines[2] == "stale-backend   udp 10.5.0.2:7 -> 10.96.0.10:53 -> 10.2.0.5:53"
    assert lines[3].strip().startswith("from cluster IP 10.96.0.10:53 of shop/dns to 10.2.0.5:53")


def test_entries_are_exact():
    assert conntrack_table.entries(REPORT.flows).splitlines()[0] == flow().line()


def test_events_are_one_line_each():
    assert conntrack_table.event("new", REPORT.flows[0]) == (
        "[NEW] udp 10.5.0.1:40000 -> 10.96.0.10:53 of shop/dns -> 10.2.0.7:53 (pod shop/dns-1) ok"
    )
    plain = row(flow("10.2.0.7:53", "10.2.0.7:53"))
    assert conntrack_table.event("destroy", plain) == "[DESTROY] udp 10.5.0.1:40000 -> 10.2.0.7:53 not-a-service"


def test_top_says_who_has_most():
    service, pod = TopRow("shop/dns", 1200, 3.25, {"ok": 1200}), TopRow("shop/a", 5, None, {"ok": 5})
    text = conntrack_table.top(TopReport("v1", (service,), (pod,), 9000, 2.0))
    assert text.splitlines()[0] == "9,000 entries, rates over 2.0 s"
    assert "shop/dns        1,200    3.2  1,200 ok" in text


def test_stats_end_with_what_to_do():
    text = conntrack_table.stats(conntrack_advice.stats(Fill(900, 1000), (CpuCounters(0, drop=1), CpuCounters(1)), 0))
    assert "all" in text
    assert "warn  900 of 1,000 entries (90%)" in text
    assert "sysctl -w net.netfilter.nf_conntrack_max=2000" in text


def test_settings_end_with_the_commands_that_change_them():
    values = {"net/netfilter/nf_conntrack_max": 5, "net/netfilter/nf_conntrack_acct": None}
    text = conntrack_table.sysctls(conntrack_advice.sysctls(values, {"net/netfilter/nf_conntrack_max": 7}))
    assert "DRIFTED" in text
    assert "absent" in text
    assert text.endswith("To change that:\n  sysctl -w net.netfilter.nf_conntrack_max=7\n  modprobe nf_conntrack\n")
