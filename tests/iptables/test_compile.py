"""The whole mode on paper: rules walked as the kernel walks them, held against the oracle (SERVICES.md section 3)."""

from fractions import Fraction

import pytest
from fakes import routes as make
from fakes.tables import Tables
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pointsman.dataplane import plan
from pointsman.iptables import names
from pointsman.iptables.compile import IptablesCompiler
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet, Verdict
from pointsman.routing.route import Family, Protocol

V4, V6 = Family.IPV4, Family.IPV6
VERDICTS = {Verdict.REJECT: "REJECT", Verdict.DROP: "DROP", Verdict.UNTOUCHED: "ACCEPT"}


def entries(routing, node, family):
    compiler = IptablesCompiler(family)
    found = dict(compiler.static(node, routing))
    for route in routing.routes.values():
        for key, value in compiler.compile(route, node).items():
            assert found.setdefault(key, value) == value, key
    return found


def tables(routing, node, family):
    return Tables(entries(routing, node, family), node.local_addresses[family])


def expected(outcome):
    """Return the oracle's answer in the tables' words."""
    if outcome.verdict is not Verdict.FORWARD:
        return {(VERDICTS[outcome.verdict], None, False): Fraction(1)}
    found = {}
    for share in outcome.shares:
        key = ("ACCEPT", f"{share.backend.address} {share.backend.port}", share.masquerade)
        found[key] = found.get(key, 0) + Fraction(share.probability).limit_denominator(1000)
    return found


def packets(routing, family):
    """Return packets from everywhere to everything near a frontend."""
    backends = [b.address for r in routing.routes.values() for b in r.reachable][:3]
    places = [(make.CLIENT[family], "eth0"), (make.pod(family, 250), "cbr0"), (make.NODE_ADDRESS[family], "")]
    places += [(address, "cbr0") for address in backends]
    places += [(vip, "") for r in routing.routes.values() for vip in r.load_balancer_ips[:1]]
    targets = set()
    for route in routing.routes.values():
        for frontend in route.frontends():
            addresses = [frontend.address] if frontend.address else [make.NODE_ADDRESS[family], make.OTHER_NODE_ADDRESS[family]]
            targets |= {(address, port) for address in addresses for port in (frontend.port, frontend.port + 1)}
            if not frontend.address:
                targets.add((make.LOOPBACK[family], frontend.port))
    targets |= {(make.vip(family, 96, 200), 80), (make.CLIENT[family], 80)}
    for source, interface in places:
        for target, port in sorted(targets):
            loopback = target == make.LOOPBACK[family]
            if loopback and interface:
                continue
            for protocol in Protocol:
                yield Packet(target if loopback else source, target, protocol, port, interface)


def holding(node, family, addresses):
    """Return the node as the holder of further addresses."""
    return structs.replace(node, local_addresses={family: (*node.local_addresses[family], *addresses)})


@pytest.mark.parametrize("family", list(Family))
def test_every_packet_meets_the_outcome_that_the_oracle_tells(family):
    @settings(max_examples=100, deadline=None)
    @given(make.some_routes(family), make.nodes(family), st.booleans(), st.randoms(use_true_random=False))
    def check(routes, node, holds_vips, random):
        vips = [vip for r in routes for vip in r.load_balancer_ips]
        node = holding(node, family, vips) if holds_vips else node
        routing = make.routing(*routes)
        oracle, kernel = Oracle(routing, node), tables(routing, node, family)
        found = [p for p in packets(routing, family) if p.source not in vips or holds_vips]
        for packet in random.sample(found, min(40, len(found))):
            assert kernel.trace(packet) == expected(oracle.trace(packet)), packet

    check()
