"""The companion rules: what IPVS does not decide itself. Pure, the same for ten Services as for ten thousand.

What belongs to a Service is an element of a set, so there is no rule per Service (but for the cluster's DNS, where this node has a resolver
of its own) and no order to get wrong. A packet's way:

    raw PREROUTING, OUTPUT      take DNS queries aside, where this node has a resolver of its own (`iptables.local_dns`)
    mangle PREROUTING, OUTPUT   drop what source ranges keep out (IPVS takes this node's packets before filter OUTPUT could);
                                give packets of pods and of this node to `short_circuit` frontends the mark of their virtual server
    nat PREROUTING, OUTPUT      mark for masquerade; lead DNS queries that were not taken aside to the cluster's DNS (`dns_frontends`)
    filter INPUT, OUTPUT        drop or reject what has no endpoint, reject what else goes to an address of our device (SEM-66: no
                                program of the host answers there)
    IPVS                        (behind filter INPUT; in OUTPUT between nat and filter)
    nat POSTROUTING             masquerade

Forwarding packets go through FORWARD only on their way back. `names` says what the sets hold, `frontends` fills them.

When another mode has taken over and connections through IPVS are let end, two things are left to decide (`retired`): nothing new may go
to an address that is still this node's, and what this node sends from such an address needs another source.
"""

from msgspec import structs
from pointsman.iptables import local_dns
from pointsman.iptables.objects import RuleKey
from pointsman.iptables.rule import (
    Match,
    Rule,
    address_type,
    everything,
    in_set,
    marked,
    network,
    noted,
    pods,
    state,
    unreachable,
)
from pointsman.ipvs import names
from pointsman.ipvs.names import SETS
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Routing

_OPENS = state("NEW")
_OURS = Match("mark", ("--mark", f"{names.MARK_PREFIX:#x}/{names.MARK_MASK:#x}"))
_BY_IPVS = Match("ipvs", ("--ipvs",))
_RETIRED_HOOKS = {("mangle", "OUTPUT"), ("filter", "INPUT"), ("filter", "OUTPUT")}


def rules(family: Family, node: NodeFacts, routing: Routing) -> dict[RuleKey, str]:
    """Return all chains, each with its whole body, and the hooks."""
    addresses = node.local_dns.get(family, ())
    dns = [Rule(target=names.LOCAL_DNS)] if addresses else []
    bodies = {
        ("mangle", names.SOURCES): _sources(family, node),
        ("mangle", names.FIREWALL): _firewall(family),
        ("nat", names.SERVICES): [*_services(family, node), *dns],
        ("nat", names.POSTROUTING): _postrouting(family, node),
        ("filter", names.INPUT): [*dns, *_input(family)],
        ("filter", names.OUTPUT): [*dns, Rule(target=names.FILTER), *_unallocated(family, routing)],
        ("filter", names.FILTER): _filter(family),
        ("filter", names.FORWARD): _forward(family, node, routing),
    }
    found = {RuleKey(table, chain): "\n".join(map(str, body)) for (table, chain), body in bodies.items()}
    if addresses:
        found |= {RuleKey(table, names.LOCAL_DNS): "\n".join(lines) for table, lines in local_dns.rules(addresses).items()}
        found |= dict.fromkeys((*names.DNS_HOOKS, RuleKey("nat", names.LOCAL_DNS)), "")
    return found | dict.fromkeys(names.HOOKS, "")


def retired(family: Family, masquerade_bit: int) -> dict[RuleKey, str]:
    """Return what stays while connections end that another mode would not have: no rule of it touches a packet of theirs.

    Whoever connects from this node to an address of our device sends from that very address, and only the mark in mangle comes before the
    other mode's translation.
    """
    sets = SETS[family]
    bit = f"{1 << masquerade_bit:#x}"
    own_source = Rule(matches=(in_set(sets.addresses, "src"), _OPENS), target="MARK", target_options=("--set-xmark", f"{bit}/{bit}"))
    bodies = {
        ("mangle", names.SOURCES): [own_source],
        ("filter", names.INPUT): [Rule(target=names.FILTER)],
        ("filter", names.OUTPUT): [Rule(target=names.FILTER)],
        ("filter", names.FILTER): [Rule(matches=(Match("conntrack", ("!", "--ctstate", "NEW")),), target="RETURN"), _unserved(family)],
    }
    found = {RuleKey(table, chain): "\n".join(map(str, body)) for (table, chain), body in bodies.items()}
    return found | {hook: "" for hook in names.HOOKS if (hook.table, hook.chain) in _RETIRED_HOOKS}


# --- mangle ----------------------------------------------------------------------------------------------------------


def _sources(family: Family, node: NodeFacts) -> list[Rule]:
    sets = SETS[family]
    short = in_set(sets.short_circuit, "dst,dst")
    give = ("--map-set", sets.short_circuit, "dst,dst", "--map-mark")
    found = [Rule(matches=(in_set(sets.restricted, "dst,dst"), _OPENS), target=names.FIREWALL)]
    detector = node.detector(family)
    if detector:
        found.append(_with_options(pods(detector, (short,), "SET"), give))
    found.append(Rule(matches=(address_type("src", "LOCAL"), short), target="SET", target_options=give))
    return found


def _with_options(rule: Rule, options: tuple[str, ...]) -> Rule:
    return structs.replace(rule, target_options=options)


def _firewall(family: Family) -> list[Rule]:
    """Return what lets sources in that are in the ranges (IPVS-25)."""
    sets = SETS[family]
    admitted = [Rule(matches=(in_set(name, "dst,dst,src"),), target="RETURN") for name in (sets.source_cidr, sets.source_ip)]
    return [*admitted, Rule(target="DROP")]


# --- nat -------------------------------------------------------------------------------------------------------------


def _services(family: Family, node: NodeFacts) -> list[Rule]:
    """Return what marks for masquerade (SEM-04 to SEM-06, SEM-11)."""
    sets = SETS[family]
    cluster_ips = in_set(sets.cluster_ip, "dst,dst")
    bit = 1 << node.masquerade_bit
    options = ("--set-xmark", f"{bit:#x}/{bit:#x}")
    found: list[Rule] = []
    detector = node.detector(family)
    if node.masquerade_all:
        found.append(Rule(matches=(cluster_ips,), target="MARK", target_options=options))
    elif detector is None:
        # Without a source of its own choice a program on this node sends from the virtual address, to which no answer would come back.
        found.append(Rule(matches=(cluster_ips, in_set(sets.addresses, "src")), target="MARK", target_options=options))
    elif not everything(detector):
        found.append(_with_options(pods(detector, (cluster_ips,), "MARK", negated=True), options))
    external = (sets.external_ip, sets.load_balancer, sets.node_port)
    return [*found, *(Rule(matches=(in_set(name, "dst,dst"),), target="MARK", target_options=options) for name in external)]


def _postrouting(family: Family, node: NodeFacts) -> list[Rule]:
    bit = 1 << node.masquerade_bit
    masquerade = ("--random-fully",)
    found = [Rule(matches=(in_set(SETS[family].loop_back, "dst,dst,src"),), target="MASQUERADE", target_options=masquerade)]
    detector = node.detector(family)
    if detector and detector.by_source:
        found.append(Rule(source=network(detector.value), matches=(_OURS, _BY_IPVS), target="RETURN"))
    from_here = (_OURS, _BY_IPVS, address_type("src", "LOCAL"))
    return [
        *found,
        Rule(matches=from_here, target="MASQUERADE", target_options=masquerade),
        Rule(matches=(_OURS, _BY_IPVS), target="RETURN"),
        Rule(matches=(marked(bit, negated=True),), target="RETURN"),
        Rule(target="MARK", target_options=("--set-xmark", f"{bit:#x}/0x0")),
        Rule(matches=(noted("kubernetes service traffic requiring SNAT"),), target="MASQUERADE", target_options=masquerade),
    ]


# --- filter ----------------------------------------------------------------------------------------------------------


def _input(family: Family) -> list[Rule]:
    """Admit load balancers' health checks (SEM-72), judge the rest."""
    checks = Rule(protocol="tcp", matches=(in_set(SETS[family].health_checks, "dst"),), target="ACCEPT")
    return [checks, Rule(target=names.FILTER)]


def _filter(family: Family) -> list[Rule]:
    sets = SETS[family]
    rejected = ("--reject-with", unreachable(family))

    def to(name: str, target: str, options: tuple[str, ...] = ()) -> Rule:
        return Rule(matches=(in_set(name, "dst,dst"),), target=target, target_options=options)

    return [
        Rule(matches=(Match("conntrack", ("!", "--ctstate", "NEW")),), target="RETURN"),
        Rule(matches=(_OURS,), target="RETURN"),
        to(sets.no_local_endpoints, "DROP"),
        to(sets.no_endpoints, "REJECT", rejected),
        *(to(name, "RETURN") for name in sets.forwarded),
        _unserved(family),
    ]


def _unserved(family: Family) -> Rule:
    """Return what keeps programs of the host from answering at addresses of Services (SEM-66)."""
    options = ("--reject-with", unreachable(family))
    return Rule(matches=(in_set(SETS[family].addresses, "dst"),), target="REJECT", target_options=options)


def _forward(family: Family, node: NodeFacts, routing: Routing) -> list[Rule]:
    """Return what is forwarded whatever other rules say (SEM-71), and what is not forwarded at all (SEM-28)."""
    return [
        *_unallocated(family, routing),
        Rule(matches=(noted("kubernetes forwarding rules"), marked(1 << node.masquerade_bit)), target="ACCEPT"),
        Rule(matches=(noted("kubernetes forwarding conntrack rule"), state("RELATED,ESTABLISHED")), target="ACCEPT"),
    ]


def _unallocated(family: Family, routing: Routing) -> list[Rule]:
    ranges = map(network, routing.service_cidrs.get(family, ()))
    return [Rule(destination=cidr, matches=(_OPENS, noted("unallocated service address")), target="DROP") for cidr in ranges]
