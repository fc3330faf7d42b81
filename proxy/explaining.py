"""One explanation from beginning to end: the question understood, the oracle asked, the kernel read, the verdict.

What is pure is in `explain`; here the parts are fetched: the wanted side (`known`), rules and servers (`inspection`), flows of connection
tracking, settings of this machine (`machine`), and what this node's own resolver says to the name, where the agent runs one. Nothing is
written and no packet is sent.
"""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from pointsman.conntrack.classify import WRONG
from pointsman.conntrack.flow import NUMBERS
from pointsman.conntrack.kernel import ConntrackKernel
from pointsman.conntrack.wire import Filter
from pointsman.dataplane.errors import KernelError
from pointsman.dataplane.trace import Difference, Trace
from pointsman.explain import answered as named
from pointsman.explain import machine as judged
from pointsman.explain import question
from pointsman.explain.answer import Asked, Explanation, Failure, FlowFacts, RouteFacts, judge
from pointsman.explain.answered import Answered
from pointsman.explain.drift import NODE
from pointsman.explain.findings import Level
from pointsman.explain.question import PodPlace, QuestionError, Source, Target, family_of
from pointsman.explain.resolve import Named, Resolution, meant, resolve
from pointsman.kube.objects import Kind
from pointsman.netlink.lookup import leads
from pointsman.proxy.cli.dns_query import ask
from pointsman.proxy.cli.services import UnreachableError
from pointsman.proxy.dns import questions
from pointsman.proxy.inspection import Inspector, inspector
from pointsman.proxy.judging import judge_of
from pointsman.proxy.known import Known
from pointsman.proxy.machine import settings
from pointsman.proxy.picture import Picture
from pointsman.proxy.report import SCHEMA
from pointsman.routing.addresses import parse_address
from pointsman.routing.node import DNS_PORT
from pointsman.routing.oracle import Oracle
from pointsman.routing.packet import Outcome, Packet
from pointsman.routing.route import Family, Frontend, FrontendKind, Protocol

FLOWS = 20
"""So many flows of one pair are told."""


class Understood(Struct, frozen=True):
    """A question as a packet, with how its name was resolved."""

    source: Source
    target: Target
    packet: Packet
    family: Family
    name: Resolution | None


async def explain(known: Known, source: str, target: str, protocol: Protocol, family: Family | None = None) -> Explanation:
    """Answer one question; raises QuestionError and KernelError."""
    seen, routing = known.picture, known.picture.routing()
    asked = await understand(seen, source, target, protocol, family)
    outcome = Oracle(routing, seen.node).trace(asked.packet)
    looker = await inspector(seen.mode, seen.config, seen.variant)
    ends = [share.backend.address for share in outcome.shares]
    sight = await looker.sight(asked.family, [asked.packet.source, asked.packet.destination, *ends])
    trace = Trace(sight.tracer.trace(asked.packet).ways, sight.said)
    apart = await _differences(looker, known, outcome, asked)
    failures = reasons(seen, asked.family, apart)
    flows = await _flows(known, asked)
    resolver = await asyncio.to_thread(answered, known, asked)
    findings = judged.packet_settings(settings(), asked.family)
    unreadable = unread(seen, _owners(outcome, asked))
    verdict = judge(
        outcome, trace, weighted=seen.mode == "ipvs", differences=apart, failures=failures, findings=findings, flows=flows,
        elsewhere=_elsewhere(asked, seen), direct=asked.name is not None, resolver=resolver,
        unread=unreadable,
    )  # fmt: skip
    return Explanation(
        schema=SCHEMA,
        node=seen.node.name,
        mode=f"{seen.mode} ({looker.variant})",
        origin=known.origin,
        asked=Asked(asked.source.words, asked.target.words, asked.packet),
        name=asked.name,
        route=_route(known, outcome, asked.family),
        outcome=outcome,
        kernel=trace,
        differences=apart,
        failures=failures,
        findings=tuple(one for one in findings if one.level is not Level.OK),
        flows=flows,
        remarks=(*remarks(asked, seen), *(f"not all that is wanted is known: {one}" for one in unreadable)),
        status=verdict.status,
        verdict=verdict.sentence,
        because=verdict.because,
        resolver=resolver,
    )


async def understand(seen: Picture, source: str, target: str, protocol: Protocol, family: Family | None) -> Understood:
    """Return the packet that a question means; raises QuestionError."""
    routing = seen.routing()
    pods = [PodPlace(one.namespace, one.name, one.addresses, one.node) for one in seen.pods]
    sender = question.source(source, seen.node, pods, seen.nodes)
    aim = question.target(target, seen.node)
    name, addresses, services = None, [aim.address] if aim.address else [], [aim.service] if aim.service else []
    if aim.name or aim.service:
        asked = f"{aim.service[1]}.{aim.service[0]}" if aim.service else aim.name
        name = resolve(asked, sender.namespace or "default", _named(seen), seen.config.dns_domain)
        addresses, services = [parse_address(one) or one for one in name.addresses], [(name.namespace, name.name)] if name.name else []
        if not addresses:
            lost = unread(seen, meant(asked, sender.namespace or "default", seen.config.dns_domain))
            more = f"; but not all could be read: {lost[0]}" if lost else ""
            raise QuestionError(f"{aim.words}: {name.remark or 'resolves to nothing'}{more}")
    owners = services or [
        (one.port_name.namespace, one.port_name.name)
        for one in routing.routes.values()
        if any(frontend.address in addresses for frontend in one.frontends() if frontend.address)
    ]
    port, chosen = question.port_of(aim, routing, owners, protocol)
    fitting = [one for one in addresses if family_of(one) in sender.addresses and family in {None, family_of(one)}]
    if not fitting:
        raise QuestionError(f"{sender.words} has no address of the family of {', '.join(addresses)}")
    found = family_of(fitting[0])
    own = sender.addresses[found]
    interface = "" if sender.here else (await leads([own])).get(own, "eth0")
    return Understood(sender, aim, Packet(own, fitting[0], chosen, port, interface), found, name)


def unread(seen: Picture, services: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """Return what could not be read and may matter to these Services, by namespace and name; to any Service where none is named.

    A slice that cannot be read does not say whose it is, so all of the namespace may matter; and what has no name may hold anything, but
    comes last.
    """
    found: list[tuple[bool, str]] = []
    for problem in seen.problems:
        kind, _, name = problem.subject.partition(" ")
        namespace, slash, own = name.partition("/")
        if not slash:
            matters = not name or (kind == Kind.NODE.value and name == seen.node.name)
        elif kind == Kind.SERVICE.value:
            matters = not services or (namespace, own) in services
        else:
            matters = kind == Kind.ENDPOINT_SLICE.value and (not services or namespace in {space for space, _ in services})
        if matters:
            found.append((not slash, str(problem)))
    return tuple(text for _, text in sorted(found, key=lambda one: one[0]))


def _owners(outcome: Outcome, asked: Understood) -> list[tuple[str, str]]:
    """Return the Services that an answer is about."""
    if outcome.port_name is not None:
        return [(outcome.port_name.namespace, outcome.port_name.name)]
    return [(asked.name.namespace, asked.name.name)] if asked.name is not None and asked.name.name else []


def _named(seen: Picture) -> Iterable[Named]:
    for one in seen.services:
        yield Named(one.namespace, one.name, one.kind, one.cluster_ips, one.external_name, one.endpoints)


def answered(known: Known, asked: Understood) -> Answered | None:
    """Ask this node's own resolver for the name, as the sender would; None where there is none, or where another node's is asked."""
    seen = known.picture
    if not (known.live and seen.config.dns and asked.name is not None) or asked.source.here or _elsewhere(asked, seen):
        return None
    qtype = "A" if asked.family is Family.IPV4 else "AAAA"
    wanted = [one for one in asked.name.addresses if family_of(one) is asked.family]
    path, name = questions.default_path(known.socket), ""
    rows: named.Rows = ()
    for name in named.questions(asked.name):
        body = msgspec.json.encode(questions.Question("explain", f"{name}.", qtype, asked.packet.source))
        try:
            found = msgspec.json.decode(ask(path, body), type=questions.Explanation)
        except (UnreachableError, msgspec.DecodeError) as error:
            text = error.format_message() if isinstance(error, UnreachableError) else f"{path}: {error}"
            return Answered(f"this node's resolver cannot be asked: {text}", agrees=False)
        if found.error:
            return Answered(f"this node's resolver cannot be asked: {found.error}", agrees=False)
        rows = found.steps[-1].rows if found.steps else ()
        if not named.goes_on(rows):
            break
    return named.compare(asked.name, wanted, qtype, name, rows) if name else None


def _elsewhere(asked: Understood, seen: Picture) -> str:
    """Return why another node decides, empty if this one does."""
    if not asked.source.node or asked.source.node == seen.node.name:
        return ""
    if asked.packet.destination in seen.node.local_addresses.get(asked.family, ()):
        return ""
    return f"{asked.source.words} is on node {asked.source.node}, and its packets are decided there; ask the agent of that node"


def remarks(asked: Understood, seen: Picture) -> Iterable[str]:
    """Yield what else there is to know about a question."""
    if asked.name is not None and asked.name.remark:
        yield asked.name.remark
    if asked.source.here and asked.name is not None:
        yield "a program of the node itself resolves names by the node's own resolv.conf, which may not ask the cluster's DNS"
    packet = asked.packet
    if packet.port == DNS_PORT and packet.destination in seen.node.local_dns.get(asked.family, ()):
        alive = "this node's own resolver answers here while it is alive (`pointsman dns query`)"
        yield f"{alive}; told is the way that queries take when it is not"
    if seen.waiting_for:
        yield f"the agent waits for {', '.join(seen.waiting_for)}: nothing is programmed before"


async def _differences(looker: Inspector, known: Known, outcome: Outcome, asked: Understood) -> tuple[Difference, ...]:
    """Return what differs and may matter: what belongs to the Service port, or to none; what this packet meets first comes first."""
    found = await looker.differences(asked.family, known.picture.routing(), known.picture.node)
    name = str(outcome.port_name) if outcome.port_name else NODE
    subjects = {NODE, name, f"{name} {asked.packet.protocol.lower}"}
    hook = f"packets in {'PREROUTING' if asked.packet.interface else 'OUTPUT'} "
    place = f" {asked.packet.destination}"

    def rank(one: Difference) -> tuple[bool, bool, bool]:
        return not one.text.startswith(hook), place not in one.text and place not in f" {one.where}", one.subject == NODE

    return tuple(sorted((one for one in found if one.subject in subjects), key=rank))


def reasons(seen: Picture, family: Family, apart: tuple[Difference, ...]) -> tuple[Failure, ...]:
    """Return what the agent says about why it is not done: refused keys, of those that differ here, or changes that wait."""
    now, found, keys = datetime.now(UTC), [], {one.key for one in apart}
    for status in seen.families:
        if status.family != family.value:
            continue
        for key in (one for one in status.failing if one.subject in keys):
            since = (now - key.since).total_seconds()
            found.append(Failure(key.subject, f"wanted since {since:.0f} s, refused {key.attempts} times, last error: {key.text}"))
        if status.apply.last_error:
            found.append(Failure(f"{status.family}", f"nothing could be written: {status.apply.last_error}"))
        if apart and status.in_sync_since and not status.failing:
            text = f"the agent holds all of {status.family} to be as wanted since {status.in_sync_since.astimezone():%H:%M:%S}"
            found.append(Failure("agent", f"{text}: this changed since it last looked"))
        elif apart and status.pending_since:
            found.append(Failure("agent", f"{status.pending_keys} changes wait since {status.pending_seconds:.0f} s"))
    return tuple(found)


def _route(known: Known, outcome: Outcome, family: Family) -> RouteFacts | None:
    if outcome.port_name is None or outcome.frontend is None:
        return None
    name = outcome.port_name
    for one in known.ports(name.namespace, name.name):
        if (one.port_name, one.protocol, one.family) == (name.port, name.protocol.value, family.value):
            return RouteFacts(
                f"{name} {name.protocol.lower}", _frontend(outcome.frontend), one.internal_traffic_policy, one.external_traffic_policy,
                one.topology, one.excluded,
            )  # fmt: skip
    return None


def _frontend(frontend: Frontend) -> str:
    if frontend.kind is FrontendKind.NODE_PORT:
        return f"node port {frontend.port}"
    address = f"[{frontend.address}]" if ":" in frontend.address else frontend.address
    return f"{frontend.kind.value} {address}:{frontend.port}"


async def _flows(known: Known, asked: Understood) -> tuple[FlowFacts, ...]:
    """Return the flows of this very pair that connection tracking holds; none where it cannot be read, or the agent has not read all."""
    packet = asked.packet
    if known.picture.waiting_for:
        return ()

    def of_pair(flow: object) -> bool:
        first = getattr(flow, "original", None)
        ends = (packet.source, packet.destination, packet.port)
        return first is not None and (first.source, first.destination, first.destination_port) == ends

    try:
        async with await ConntrackKernel.open() as kernel:
            found = await kernel.flows(asked.family, Filter(protocol=NUMBERS[packet.protocol]), of_pair)
    except KernelError:
        return ()
    judge = judge_of(known) if found else None
    judgements = [(flow, judge.judge(flow)) for flow in found] if judge else []
    ranked = sorted(judgements, key=lambda one: one[1].kind not in WRONG)
    kept = packet.protocol is Protocol.UDP  # a sender keeps its flow with its socket; a connection ends with its peers
    return tuple(
        FlowFacts(f"{flow.client} → {flow.frontend} → {flow.backend}", one.kind.value, one.reason, harms=kept and one.kind in WRONG)
        for flow, one in ranked[:FLOWS]
    )
