"""The walk through rules as they were read, against the oracle: every case of the contract table, without a kernel."""

import sys
from pathlib import Path

import pytest
from fakes.saved import rules_text, sets_text, wanted
from pointsman.explain.agreement import doubts, mismatches
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.setlist import saved_sets
from pointsman.iptables.tracer import IptablesTracer, is_ours
from pointsman.routing.packet import Verdict
from pointsman.routing.route import Family

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from table_cases import cases, routing_of
from table_worlds import WORLDS


def tracer(world, family, spoil=lambda lines: lines):
    facts = world.facts()
    values = wanted(IptablesCompiler(family), family, routing_of(world), facts)
    rules = ruleset(spoil(rules_text(values)), "iptables nft")
    return IptablesTracer((rules,), saved_sets(sets_text(values)), facts.local_addresses[family])


def spread(world):
    """A case with several endpoints, and its outcome."""
    return next(one for one in cases(world).items() if len(one[1].shares) > 1 and one[0].family is Family.IPV4)


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_the_walk_ends_where_the_oracle_says(world):
    tracers = {family: tracer(world, family) for family in Family}
    wrong = []
    for case, outcome in cases(world).items():
        trace = tracers[case.family].trace(case.packet)
        wrong += [f"{case}: {one.text}" for one in mismatches(outcome, trace)]
        wrong += [f"{case}: doubt: {one}" for one in doubts(trace)]
        assert sum(way.probability for way in trace.ways) == pytest.approx(1), case
    assert wrong == []


def test_evidence_quotes_the_rules_that_decide():
    world = WORLDS[0]
    found = tracer(world, Family.IPV4)
    case, outcome = spread(world)
    trace = found.trace(case.packet)
    assert len(trace.ways) == len(outcome.shares)
    for way in trace.ways:
        assert way.verdict is Verdict.FORWARD
        assert any(f"--to-destination {way.address}:{way.port}" in one.text and one.ours for one in way.evidence)
        assert all(one.packets == 1 and one.octets == 60 for one in way.evidence)


def test_whose_rules():
    assert is_ours("nat", "KUBE-SERVICES", "-j DROP")
    assert is_ours("nat", "PREROUTING", "-j KUBE-SERVICES")
    assert not is_ours("filter", "FORWARD", "-j DROP")
    assert not is_ours("filter", "DOCKER", "-j DROP")
