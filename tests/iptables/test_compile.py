"""The whole mode on paper: rules walked as the kernel walks them, held against the oracle (docs/services.md section 3)."""

from fractions import Fraction
from ipaddress import ip_address

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
from pointsman.routing.route import Backend, Family, Protocol

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


def test_sem_20_a_connection_past_the_service_is_no_hairpin():
    """A backend in the node's own namespace may reach itself directly; that is nobody's business."""
    own = make.NODE_ADDRESS[V4]
    route = make.route(backends=[Backend(own, 6443, local=True, hairpin=True)])
    node = holding(make.node(), V4, ())
    kernel = tables(make.routing(route), node, V4)
    assert kernel.trace(Packet(own, own, Protocol.TCP, 6443)) == {("ACCEPT", None, False): 1}


@pytest.mark.parametrize("family", list(Family))
def test_the_first_packet_looks_at_few_rules_among_ten_thousand_services(family):
    """Dispatch is by bucket; kube-proxy's list would be walked for 5,000 rules on average."""
    network = int(ip_address(make.vip(family, 96, 0)))
    routes = [
        make.route(family, name=f"s{i}", backends=[make.backend(family, 1)], cluster_ip=str(ip_address(network + i)), node_port=20000 + i)
        for i in range(10_000)
    ]
    node = make.node(family)
    kernel = tables(make.routing(*routes), node, family)
    for route in routes[::997]:
        kernel.hits = 0
        kernel.trace(Packet(make.CLIENT[family], route.cluster_ip, Protocol.TCP, 80, "eth0"))
        assert kernel.hits < 130
        kernel.hits = 0
        kernel.trace(Packet(make.CLIENT[family], make.NODE_ADDRESS[family], Protocol.TCP, route.node_port, "eth0"))
        assert kernel.hits < 300


def test_a_route_is_compiled_within_its_budget_of_memory():
    routes = [make.route(name=f"s{i}", backends=[make.backend(V4, n) for n in range(1, 11)]) for i in range(100)]
    compiler, node = IptablesCompiler(V4), make.node()
    size = sum(len(value) for route in routes for value in compiler.compile(route, node).values())
    assert size / len(routes) < 2000  # 20 MB for 10,000 Services of 10 endpoints


def test_fragments_depend_on_nothing_but_their_arguments():
    route, node = make.route(backends=[make.backend(V4, 1)], node_port=30000), make.node()
    assert IptablesCompiler(V4).compile(route, node) == IptablesCompiler(V4).compile(route, node)


def test_keys_are_ranked_sets_before_rules_and_hooks_after_what_they_lead_to():
    compiler = IptablesCompiler(V4)
    keys = list(compiler.static(make.node(), make.routing(make.route())))
    keys += list(compiler.compile(make.route(backends=[make.backend(V4, 1)], node_port=30000), make.node()))
    for table in ("filter", "nat"):
        hooks = [h.key for h in names.HOOKS if h.table == table]
        assert [compiler.rank(key) for key in hooks] == sorted({compiler.rank(key) for key in hooks})
        rules = [key for key in keys if isinstance(key, RuleKey) and key.table == table and key not in hooks]
        assert max(map(compiler.rank, rules)) < min(map(compiler.rank, hooks))
    sets = [key for key in keys if isinstance(key, SetKey)]
    assert max(map(compiler.rank, sets)) < min(compiler.rank(key) for key in keys if isinstance(key, RuleKey))


def test_the_offline_text_names_each_call():
    routing = make.routing(make.route(backends=[make.backend(V4, 1)]))
    text = IptablesCompiler(V4).render(plan.from_scratch(IptablesCompiler(V4), V4, routing, make.node()))
    calls = [line for line in text.splitlines() if line.startswith("#")]
    assert calls == ["# ipset restore", *["# iptables-restore --noflush"] * 3]
    assert "-A KUBE-SVC-67NZLRHBNDSAWJRO -p tcp " in text


def test_the_census_counts_rules_by_table_and_elements_of_sets():
    route = make.route(backends=[make.backend(V4, 1), make.backend(V4, 2)])
    compiler = IptablesCompiler(V4)
    found = compiler.census(compiler.compile(route, make.node()).items())
    text = compiler.render(plan.from_scratch(compiler, V4, make.routing(route), make.node()))
    everything = compiler.census(entries(make.routing(route), make.node(), V4).items())
    assert found["nat"] >= 3
    rules = sum(line.startswith(("-A ", "-I ")) for line in text.splitlines())
    assert everything["nat"] + everything["filter"] + everything["mangle"] == rules
    assert everything["set elements"] == sum(line.startswith("add ") for line in text.splitlines())
