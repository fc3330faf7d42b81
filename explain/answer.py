"""The answer to "why does this connection go there?": what should happen, what the kernel does, and the verdict. Pure.

Nothing is decided here that `routing` decides: the oracle's outcome and its number are quoted, the route's reasons too. The verdict joins
them with what was read: a mismatch makes it *broken*, with the cause in this order: another program's object that refuses the packet, a
setting that stops it, what differs from what is wanted, an old flow that conntrack still sends elsewhere. What could not be judged makes it
*unknown*. A refusal that the specification wants is no fault of the kernel, but the connection does not work all the same; where something
could not be read, the refusal may be for that.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from pointsman.dataplane.trace import Difference, Trace, Way
from pointsman.explain import agreement
from pointsman.explain.answered import Answered
from pointsman.explain.findings import Finding
from pointsman.explain.resolve import Resolution
from pointsman.routing.packet import Outcome, Packet, Verdict
from pointsman.routing.route import Excluded, Topology

WORKS, BROKEN, REFUSED, UNKNOWN = "works", "broken", "refused", "unknown"
STATUS = {WORKS: 0, BROKEN: 1, REFUSED: 1, UNKNOWN: 2}
"""Exit status of each verdict."""


class Asked(Struct, frozen=True, rename="camel"):
    """The question as it was understood: in words, and as a packet."""

    source: str
    target: str
    packet: Packet


class RouteFacts(Struct, frozen=True, rename="camel"):
    """What is known about the Service port: its frontend, policies, hints, and the endpoints that take no new connection here."""

    service_port: str
    frontend: str
    internal_traffic_policy: str
    external_traffic_policy: str
    topology: Topology
    excluded: tuple[Excluded, ...]


class FlowFacts(Struct, frozen=True):
    """A flow of this pair that connection tracking holds: in words, what it is classed as, and why.

    `harms` tells that whoever keeps the socket goes on to where a new flow would not go.
    """

    text: str
    state: str
    reason: str = ""
    harms: bool = False


class Failure(Struct, frozen=True):
    """A key that the kernel does not take: what, since when and why, in words."""

    subject: str
    text: str


class Explanation(Struct, frozen=True, rename="camel"):
    """Everything, as `-o json` prints it."""

    schema: str
    node: str
    mode: str
    origin: str
    asked: Asked
    name: Resolution | None
    route: RouteFacts | None
    outcome: Outcome
    kernel: Trace
    differences: tuple[Difference, ...]
    failures: tuple[Failure, ...]
    findings: tuple[Finding, ...]
    flows: tuple[FlowFacts, ...]
    remarks: tuple[str, ...]
    status: str
    verdict: str
    because: tuple[str, ...]
    resolver: Answered | None = None


class Judgement(Struct, frozen=True):
    """The verdict: status, one sentence, and what else there is to say about it."""

    status: str
    sentence: str
    because: tuple[str, ...] = ()


def judge(
    outcome: Outcome,
    trace: Trace,
    *,
    weighted: bool = False,
    differences: Iterable[Difference] = (),
    failures: Iterable[Failure] = (),
    findings: Iterable[Finding] = (),
    flows: Iterable[FlowFacts] = (),
    elsewhere: str = "",
    direct: bool = False,
    resolver: Answered | None = None,
    unread: Sequence[str] = (),
) -> Judgement:
    """Return the verdict; `elsewhere` says why another node decides, if one does; `direct`: a name led to endpoints themselves.

    `unread` are inputs that could not be used and may have made the outcome another.
    """
    wrong = agreement.mismatches(outcome, trace, weighted=weighted)
    apart, refused = tuple(differences), [one.text if one.subject == "agent" else f"{one.subject}: {one.text}" for one in failures]
    because = [one.text for one in wrong[1:]] + [f"{one.subject}: {one.text}" for one in apart] + refused
    doubts = agreement.doubts(trace)
    if elsewhere:
        return Judgement(UNKNOWN, f"unknown here: {elsewhere}", tuple(because))
    stopping = [one for one in findings if _stops(one, outcome, trace)]
    if wrong:
        foreign = next((one for one in wrong if one.foreign), None)
        first = foreign or wrong[0]
        cause = _cause(first.text, apart) if foreign is None else ""
        cause += f" ({refused[0]})" if refused and foreign is None else ""
        return Judgement(BROKEN, f"broken: {first.text}{cause}", tuple(one for one in because if one != first.text))
    if stopping:
        return Judgement(BROKEN, f"broken: {stopping[0].text}: {stopping[0].why}", (f"mend it: {stopping[0].fix}", *because))
    if doubts:
        return Judgement(UNKNOWN, f"unknown: {doubts[0]}", (*doubts[1:], *because))
    bad = [one for one in flows if one.harms]
    if bad and outcome.verdict is Verdict.FORWARD:
        sentence = f"new flows work, but one that exists does not: {bad[0].reason} ({bad[0].state}, {bad[0].text})"
        return Judgement(BROKEN, f"broken: {sentence}", tuple(because))
    if resolver is not None and resolver.broken:
        return Judgement(BROKEN, f"broken: {resolver.text}", tuple(because))
    if outcome.verdict is Verdict.FORWARD:
        return Judgement(WORKS, f"works, {_forwarded(outcome)}", tuple(because))
    if outcome.verdict is Verdict.UNTOUCHED and direct:
        text = "works as far as this node goes: the name gives the endpoints themselves, and no rule here refuses the packet"
        return Judgement(WORKS, text, tuple(because))
    if outcome.verdict is Verdict.UNTOUCHED:
        part = f"; it may be a Service's that could not be read: {unread[0]}" if unread else "; Services have no part in it"
        return Judgement(UNKNOWN, f"unknown: {outcome.reason}{part}", tuple(because))
    word = "rejected" if outcome.verdict is Verdict.REJECT else "dropped"
    if unread:
        sentence = f"does not connect: {word}, {outcome.reason}; it may be for what could not be read: {unread[0]}"
        return Judgement(REFUSED, sentence, tuple(because))
    return Judgement(REFUSED, f"does not connect, as specified: {word}, {outcome.reason}", tuple(because))


def _cause(said: str, apart: tuple[Difference, ...]) -> str:
    """Return why, where the desired state tells it: the first difference, or where the one is that says the same."""
    same = next((one for one in apart if any(_is_socket(word) and word in said for word in one.text.replace(",", "").split())), None)
    if same is not None:
        return f" ({same.where})"
    return f", because {apart[0].text} ({apart[0].where})" if apart else ""


def _is_socket(word: str) -> bool:
    return (word[:1].isdigit() and ":" in word) or word.startswith("[")


def _forwarded(outcome: Outcome) -> str:
    shares = outcome.shares
    count = "1 endpoint" if len(shares) == 1 else f"1 of {len(shares)} endpoints"
    masked = [share for share in shares if share.masquerade]
    if not masked:
        return f"{count}, source kept because {_plain(shares[0].reason)}"
    if len(masked) < len(shares):
        return f"{count}, source masqueraded for {len(masked)} of them because {_plain(masked[0].reason)}"
    return f"{count}, source masqueraded because {_plain(masked[0].reason)}"


def _plain(reason: str) -> str:
    """Return a reason with its number behind it: `the source is a pod (SEM-03)`."""
    number, colon, text = reason.partition(": ")
    return f"{text} ({number})" if colon and "-" in number and " " not in number else reason


def _stops(finding: Finding, outcome: Outcome, trace: Trace) -> bool:
    """Return whether a setting keeps this packet from where it should go."""
    if outcome.verdict is not Verdict.FORWARD or not finding.stops:
        return False
    if finding.stops == "forwarded":
        return outcome.place.value != "node" and any(_goes_on(way) for way in trace.ways)
    return finding.stops == "all"


def _goes_on(way: Way) -> bool:
    return way.verdict is Verdict.FORWARD and not way.local
