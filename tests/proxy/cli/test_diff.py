from pointsman.explain.machine import ForeignTable
from pointsman.proxy.cli.diff import text
from pointsman.proxy.comparison import DiffReport, Entry


def report(*entries, **more):
    return DiffReport("s", "n1", "iptables", "the agent at /s", entries, **more)


def entry(subject="shop/web:http tcp", **more):
    return Entry("IPv4", subject, "endpoint 10.0.0.1:80 is missing", "nat KUBE-SVC-A", "x", "", **more)


def test_all_well_is_one_line():
    assert text(report()) == "node n1, mode iptables: the kernel holds exactly what is wanted\n"


def test_differences_stand_below_their_subject_with_since_and_because():
    said = text(report(entry(), entry(since="2026-01-01T00:00:00Z", because="refused")))
    assert said.splitlines() == [
        "shop/web:http tcp (IPv4)",
        "  endpoint 10.0.0.1:80 is missing  [nat KUBE-SVC-A]",
        "  endpoint 10.0.0.1:80 is missing  [nat KUBE-SVC-A]",
        "      since 2026-01-01T00:00:00Z: refused",
        "2 differences between what the agent at /s wants and what the kernel holds",
    ]


def test_what_cannot_be_read_is_no_all_clear_and_others_rules_are_beside():
    said = text(report(unread=("IPv4: no",), beside=(ForeignTable("Calico", "x: -j DROP", refuses=True),)))
    assert "cannot be read: IPv4: no" in said
    assert "exactly" not in said
    assert "beside it, a rule of Calico can refuse packets: x: -j DROP" in said


def test_long_reports_are_cut():
    assert "and 50 more; -o json has all" in text(report(*[entry() for _ in range(250)]))
