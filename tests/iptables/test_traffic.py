from pointsman.dataplane.traffic import Passed
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.traffic import passed

LINES = [
    "*nat", ":KUBE-SVC-A - [0:0]", ":OTHER - [0:0]",
    '[7:420] -A KUBE-SVC-A -p tcp -m comment --comment "shop/web:http" -m recent --set -j DNAT --to-destination 10.0.0.1:8080',
    "[9:540] -A KUBE-SVC-A -p tcp -j DNAT --to-destination [fd00::1]:8080",
    "[3:180] -A OTHER -p tcp -j DNAT --to-destination 10.0.0.3:80",
    "COMMIT",
]  # fmt: skip


def test_connections_are_counted_where_the_endpoint_is_picked():
    assert passed(ruleset(LINES)) == (
        Passed("TCP", "", 0, "10.0.0.1", 8080, 7, subject="shop/web:http"),
        Passed("TCP", "", 0, "fd00::1", 8080, 9, subject="shop/web:http"),
    )


def test_rules_without_counters_are_not_taken_for_zero():
    assert passed(ruleset([line.partition("] ")[2] if line.startswith("[") else line for line in LINES])) == ()
