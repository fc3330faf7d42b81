"""Failures of a node's set-up for DNS are counted under the types of NodeLocal DNSCache."""

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.objects import RuleKey
from pointsman.proxy.dns import surroundings
from pointsman.proxy.dns.setup import METRIC, Setup, Step

OURS = (RuleKey("raw", "KUBE-LOCAL-DNS"), RuleKey("raw", "PREROUTING", "-m comment -j KUBE-LOCAL-DNS"), RuleKey("raw", "KUBE-IPVS-DNS"))
LOCKED = KernelError(ErrorKind.BUSY, "another program is holding the xtables lock", "iptables-restore")
REFUSED = KernelError(ErrorKind.UNSUPPORTED, "no such match: recent", "iptables-restore")


def counted(setup):
    return {sample.labels[0]: sample.values[0] for sample in setup.samples() if sample.values[0]}


def test_obs_23_every_type_is_told_from_the_start():
    samples = Setup().samples()
    assert {(one.metric, one.values) for one in samples} == {(METRIC, (0.0,))}
    assert [one.labels for one in samples] == [(step.value,) for step in Step]
    assert {step.value for step in Step} == {"iptables", "iptables_lock", "interface_add", "interface_check", "configmap"}


@pytest.mark.parametrize("key", OURS, ids=str)
def test_obs_23_rules_that_lead_queries_here_count_and_others_do_not(key):
    setup = Setup()
    setup.unwritten([RuleKey("nat", "KUBE-SVC-67NZLRHBNDSAWJRO")], REFUSED)
    assert counted(setup) == {}
    setup.unwritten([RuleKey("nat", "KUBE-SVC-67NZLRHBNDSAWJRO"), key], REFUSED)
    setup.unwritten([key], LOCKED)
    assert counted(setup) == {"iptables": 1, "iptables_lock": 1}


def test_obs_23_looking_at_routes_and_making_them_are_told_apart():
    setup = Setup()
    setup.unlocal(KernelError(ErrorKind.DENIED, "operation not permitted", surroundings.ROUTES))
    setup.unlocal(KernelError(ErrorKind.DENIED, "operation not permitted", "local route of 169.254.20.10"))
    assert counted(setup) == {"interface_check": 1, "interface_add": 1}
