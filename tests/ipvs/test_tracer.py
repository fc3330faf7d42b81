"""Virtual servers and companion rules as they were read, against the oracle: every case of the contract table, without a kernel."""

import sys
from pathlib import Path

import pytest
from fakes.saved import rules_text, sets_text, wanted
from pointsman.explain.agreement import doubts, mismatches
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.setlist import saved_sets
from pointsman.ipvs.answers import Real, Virtual
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.frontends import Options
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import Load, RealKey, Statistics, VirtualKey, VirtualServer
from pointsman.ipvs.tracer import IpvsTracer, ServerReading, is_ours
from pointsman.routing.packet import Packet
from pointsman.routing.route import Family, Protocol

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from table_cases import cases, routing_of
from table_modes import IPVS
from table_worlds import WORLDS


def reading(values, without=lambda key: False):
    servers = {key: (Virtual(key, value, Statistics()), []) for key, value in values.items() if isinstance(key, VirtualKey)}
    for key, value in values.items():
        if isinstance(key, RealKey) and not without(key):
            servers[key.virtual][1].append(Real(key, value, Load(), Statistics()))
    addresses = frozenset(key.address for key in values if isinstance(key, AddressKey))
    return ServerReading({key: (virtual, tuple(reals)) for key, (virtual, reals) in servers.items()}, addresses)


def tracer(world, family, without=lambda key: False):
    facts = world.facts()
    values = wanted(IpvsCompiler(family, Options()), family, routing_of(world), facts)
    rules = ruleset(rules_text(values), "iptables nft")
    return IpvsTracer((rules,), saved_sets(sets_text(values)), reading(values, without), facts.local_addresses[family])


def spread(world):
    """A case with several endpoints, and its outcome."""
    return next(one for one in cases(world).items() if len(one[1].shares) > 1 and one[0].family is Family.IPV4)


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_the_walk_ends_where_the_oracle_says(world):
    tracers = {family: tracer(world, family) for family in Family}
    expected = cases(world)
    departing = IPVS.departing(expected)
    wrong = []
    for case, outcome in expected.items():
        if case in departing:
            continue
        trace = tracers[case.family].trace(case.packet)
        wrong += [f"{case}: {one.text}" for one in mismatches(outcome, trace)]
        wrong += [f"{case}: doubt: {one}" for one in doubts(trace)]
    assert wrong == []


def test_a_missing_real_server_shows():
    world = WORLDS[0]
    case, outcome = spread(world)
    lost = outcome.shares[0].backend
    trace = tracer(world, Family.IPV4, lambda key: (key.address, key.port) == (lost.address, lost.port)).trace(case.packet)
    assert [one.text for one in mismatches(outcome, trace)] == [f"the kernel lacks endpoint {lost}"]


@pytest.mark.parametrize(("mark", "doubtful"), [(0x60000050, True), (0x60000051, False), (0x10000050, False)])
def test_a_mark_that_is_not_certain_is_a_doubt_where_a_virtual_server_goes_by_it(mark, doubtful):
    family = Family.IPV4
    server = next(value for value in wanted(IpvsCompiler(family, Options()), family, routing_of(WORLDS[0]), WORLDS[0].facts()).values()
                  if isinstance(value, VirtualServer))  # fmt: skip
    key = VirtualKey(family, mark=mark)
    said = "-A PREROUTING -m mac --mac-source 00:11:22:33:44:55 -j MARK --set-xmark 0x60000050/0xffffffff"
    rules = ruleset(["*mangle", ":PREROUTING ACCEPT [0:0]", "-A PREROUTING -j MARK --set-xmark 0x50/0xf", said, "COMMIT"])
    seen = ServerReading({key: (Virtual(key, server, Statistics()), ())}, frozenset({"10.96.0.1"}))
    packet = Packet("10.244.1.5", "10.96.0.1", Protocol.TCP, 80, "pod5")
    found = doubts(IpvsTracer((rules,), {}, seen, ()).trace(packet))
    assert [said.removeprefix("-A PREROUTING ") in one for one in found] == [True] * doubtful


def test_whose_rules():
    assert is_ours("nat", "KUBE-IPVS-SERVICES", "-j MARK")
    assert is_ours("filter", "INPUT", "-j KUBE-IPVS-INPUT")
    assert not is_ours("filter", "INPUT", "-j DROP")
