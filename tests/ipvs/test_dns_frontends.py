"""The cluster's DNS addresses where this node has a resolver of its own: rules instead of virtual servers (NLD-42)."""

import pytest
from fakes import routes as make
from fakes.saved import rules_text, sets_text, wanted
from msgspec import structs
from pointsman.dataplane.delta import Delta
from pointsman.dataplane.fragment import Desired
from pointsman.dataplane.plan import make as plan
from pointsman.explain.agreement import doubts, mismatches
from pointsman.iptables.objects import RuleKey, SetKey
from pointsman.iptables.rule import parse
from pointsman.iptables.ruleset import ruleset
from pointsman.iptables.setlist import saved_sets
from pointsman.ipvs import names
from pointsman.ipvs.compile import IpvsCompiler
from pointsman.ipvs.dns_frontends import is_ruled, ruled
from pointsman.ipvs.frontends import Options, fragment
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.objects import RealKey, VirtualKey
from pointsman.ipvs.parse import observed
from pointsman.ipvs.tracer import IpvsTracer, ServerReading
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Packet
from pointsman.routing.route import Family, Protocol

VIP = {Family.IPV4: "10.96.0.10", Family.IPV6: "fd00:10:96::a"}
OWN = {Family.IPV4: "169.254.20.10", Family.IPV6: "fd53::20:10"}


def node(family):
    return structs.replace(make.node(family), local_dns={family: (OWN[family], VIP[family])})


def dns(family, protocol=Protocol.UDP, port=53, **changes):
    """Return the route of the cluster's DNS as it is offered: one endpoint here, one elsewhere."""
    changes = {"backends": [make.backend(family, 1, local=True), make.backend(family, 2)], "external_ips": (OWN[family],), **changes}
    return make.route(family, name="kube-dns", protocol=protocol, cluster_ip=VIP[family], port=port, **changes)


def led(found):
    """Return which chain each address leads to, and where the rules of each chain go."""
    rules = [parse(key.rule) for key in found if isinstance(key, RuleKey) and key.rule]
    bodies = {key.chain: value.split("\n") for key, value in found.items() if isinstance(key, RuleKey) and not key.rule}
    return {rule.destination.partition("/")[0]: rule.target for rule in rules}, {
        chain: [line.rpartition(" ")[2] for line in body] for chain, body in bodies.items()
    }


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("protocol", [Protocol.UDP, Protocol.TCP])
def test_nld_42_rules_lead_to_the_clusters_dns_and_no_virtual_server_is_in_the_resolvers_way(family, protocol):
    route = dns(family, protocol)
    found = fragment(route, node(family), Options())
    chain = names.dns_chain(route.port_name, local=False)
    assert chain.startswith(f"KUBE-IPVS-DNS-{protocol.value}-")
    assert led(found) == ({VIP[family]: chain, OWN[family]: chain}, {chain: [str(one) for one in route.cluster]})
    assert not any(isinstance(key, VirtualKey | RealKey) for key in found)
    sets = names.SETS[family]
    where = f"{protocol.lower}:53"
    assert {SetKey(sets.cluster_ip, f"{VIP[family]},{where}"), SetKey(sets.external_ip, f"{OWN[family]},{where}")} <= found.keys()
    here = route.cluster[0].address
    assert SetKey(sets.loop_back, f"{here},{protocol.lower}:8080,{here}") in found
    assert [key.address for key in found if isinstance(key, AddressKey)] == [VIP[family]], "others may use ports of the node's own address"


def test_other_ports_protocols_and_nodes_have_virtual_servers():
    family = Family.IPV4
    asked = (dns(family, port=9153), node(family)), (dns(family, Protocol.SCTP), node(family)), (dns(family), make.node(family))
    for route, where in asked:
        found = fragment(route, where, Options())
        assert {key.address for key in found if isinstance(key, VirtualKey)} == {VIP[family], OWN[family]}
        assert not any(isinstance(key, RuleKey) for key in found)


def test_sem_02_policies_are_kept_and_the_nodes_own_address_serves_its_own_sources():
    family = Family.IPV4
    route = dns(family, internal_local=True, external_local=True)
    found = fragment(route, node(family), Options())
    local, every = (names.dns_chain(route.port_name, local=one) for one in (True, False))
    places = ["10.244.0.1:8080", "10.244.0.2:8080"]
    assert led(found) == ({VIP[family]: local, OWN[family]: every}, {local: places[:1], every: places})
    assert SetKey("KUBE-EXTERNAL-IP", f"{OWN[family]},udp:53") in found, "its own sources need another address on the way"
    assert not any(isinstance(key, VirtualKey) for key in found)


def test_sem_01_without_endpoints_it_is_refused_like_others():
    found = fragment(dns(Family.IPV4, backends=[]), node(Family.IPV4), Options())
    assert led(found) == ({}, {})
    assert {key.element for key in found if isinstance(key, SetKey) and key.name == "KUBE-NO-ENDPOINTS"} == {
        f"{address},udp:53" for address in (VIP[Family.IPV4], OWN[Family.IPV4])
    }


def test_sem_25_affinity_has_chains_of_its_own():
    both = [fragment(dns(Family.IPV4, one, affinity_seconds=60), node(Family.IPV4), Options()) for one in (Protocol.UDP, Protocol.TCP)]
    chains = {key.chain for found in both for key in found if isinstance(key, RuleKey) and not key.rule}
    assert len(chains) == 6, "a chain for each protocol, and one for each endpoint of each"
    assert all(names.is_our_chain("nat", chain) and len(chain) <= 28 for chain in chains)


@pytest.mark.parametrize("family", list(Family))
def test_nld_42_two_services_at_addresses_of_dns_do_not_share_a_chain(family):
    """Such as two that have one of them each as cluster IP: neither may keep the other out of the rules."""
    compiler, wanted = IpvsCompiler(family, Options()), Desired()
    other = make.route(family, name="names", protocol=Protocol.UDP, cluster_ip=OWN[family], port=53, backends=[make.backend(family, 9)])
    for route in (other, dns(family, external_ips=())):
        wanted.update({str(route.port_name): compiler.compile(route, node(family))})
    chains = {names.dns_chain(route.port_name, local=local) for route in (other, dns(family)) for local in (True, False)}
    assert len(chains) == 4
    assert all(names.is_our_chain("nat", chain) and len(chain) <= 28 for chain in chains)


@pytest.mark.parametrize("family", list(Family))
def test_what_is_written_is_what_is_read_back(family):
    """Whole tables as the tools would have them, from the first write and after one more protocol came and went."""
    compiler, facts = IpvsCompiler(family, Options()), node(family)
    static = dict(compiler.static(facts, make.routing()))
    udp, tcp = (dict(compiler.compile(dns(family, protocol), facts)) for protocol in (Protocol.UDP, Protocol.TCP))
    tables = {}
    held = {}
    for target in (static | udp, static | udp | tcp, static | tcp, static):
        delta = Delta(target, compiler.group)
        delta.observe(held)
        written(tables, compiler.render(plan(delta, compiler.rank, compiler.group)))
        held = {key: value for key, value in target.items() if not isinstance(key, RuleKey)} | dict(observed(saved(tables)))
        assert held == target


def written(tables, text):
    """Do what iptables-restore does with declarations, rules and hooks."""
    table = None
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            table[line[1:].split()[0]] = []
        elif line.startswith(("-A ", "-I ")):
            _, chain, rule = line.split(" ", 2)
            table.setdefault(chain, []).append(rule)
        elif line.startswith("-D "):
            _, chain, rule = line.split(" ", 2)
            table[chain].remove(rule)
        elif line.startswith("-X "):
            assert table.pop(line[3:]) == []


def saved(tables):
    """Return what iptables-save prints of it."""
    for name, chains in tables.items():
        yield f"*{name}"
        yield from (f":{chain} - [0:0]" for chain in chains)
        yield from (f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules)
        yield "COMMIT"


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("protocol", [Protocol.UDP, Protocol.TCP])
def test_nld_42_rules_alone_do_what_the_oracle_says_while_the_resolver_is_silent(family, protocol):
    facts, routing = node(family), make.routing(dns(family, protocol))
    values = wanted(IpvsCompiler(family, Options()), family, routing, facts)
    bound = frozenset(key.address for key in values if isinstance(key, AddressKey))
    rules = (ruleset(rules_text(values), "iptables nft"),)
    tracer = IpvsTracer(rules, saved_sets(sets_text(values)), ServerReading({}, bound), facts.local_addresses[family])
    oracle = Oracle(routing, facts)
    pod, elsewhere, here = make.backend(family, 9).address, make.vip(family, 99, 1), make.NODE_ADDRESS[family]
    for address in (VIP[family], OWN[family]):
        for source, interface in ((pod, "cbr0"), (elsewhere, "eth0"), (here, "")):
            packet = Packet(source, address, protocol, 53, interface)
            trace = tracer.trace(packet)
            assert not mismatches(oracle.trace(packet), trace), packet
            assert not doubts(trace), packet


def test_a_virtual_server_at_a_frontend_that_rules_lead_is_known():
    family = Family.IPV6
    foreign = RuleKey(*names.DNS_GROUP, "-p udp -f --somebody else")  # nobody knows where that leads
    found = ruled([*fragment(dns(family), node(family), Options()), foreign])
    assert is_ruled(VirtualKey(family, Protocol.UDP, VIP[family], 53), found)
    for other in (
        VirtualKey(family, Protocol.TCP, VIP[family], 53), VirtualKey(family, Protocol.UDP, VIP[family], 9153),
        VirtualKey(family, Protocol.UDP, "fd00::1", 53), VirtualKey(family, mark=0x60000035),
    ):  # fmt: skip
        assert not is_ruled(other, found)
