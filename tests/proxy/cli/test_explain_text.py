from pointsman.dataplane.trace import Evidence, Trace, Way
from pointsman.explain.answer import Asked, Explanation, FlowFacts, RouteFacts
from pointsman.explain.answered import Answered
from pointsman.explain.findings import Finding, Level
from pointsman.explain.resolve import Attempt, Resolution
from pointsman.proxy.cli.explain_text import text
from pointsman.routing.packet import Outcome, Packet, Share, SourcePlace, Verdict
from pointsman.routing.route import Backend, Excluded, Protocol, Topology

BACKENDS = [Backend(f"10.0.0.{number}", 8080, local=False, hairpin=False, pod=f"web-{number}", node="n2") for number in range(9)]
JUMP = Evidence("nat PREROUTING rule 1", "-j KUBE-SERVICES", packets=7)
FOREIGN = Evidence("filter FORWARD rule 1", "-j DROP", ours=False)


def explanation(ways, **more):
    shares = tuple(Share(one, 1 / 9, masquerade=False, reason="SEM-03: the source is a pod") for one in BACKENDS)
    facts = {
        "schema": "s", "node": "n1", "mode": "iptables (nft)", "origin": "x",
        "asked": Asked("pod a/b", "web:80", Packet("10.0.1.1", "10.96.0.1", Protocol.TCP, 80, "pod1")),
        "name": Resolution((Attempt("web.a.svc.cluster.local", "Service a/web: 10.96.0.1"),)),
        "route": RouteFacts("a/web tcp", "cluster IP 10.96.0.1:80", "Cluster", "Local", Topology(reason="nobody hints zone z"),
                            tuple(Excluded(f"10.0.0.{n}:8080", "not ready") for n in range(20, 28))),
        "outcome": Outcome(Verdict.FORWARD, "SEM-03: every endpoint", SourcePlace.POD, shares=shares, affinity_seconds=30),
        "kernel": Trace(ways, "12 rules"), "differences": (), "failures": (), "findings": (), "flows": (), "remarks": (),
        "status": "works", "verdict": "works, 1 of 9 endpoints", "because": (),
    }  # fmt: skip
    return text(Explanation(**{**facts, **more}))


def test_everything_is_said_in_order_and_long_lists_are_cut():
    ways = tuple(Way(1 / 9, Verdict.FORWARD, one.address, 8080, evidence=(JUMP, Evidence("x", str(one)))) for one in BACKENDS)
    said = explanation(ways)
    parts = ("packet: tcp", "name", "route", "hints are ignored because nobody hints zone z", "left out: 2 more", "should be",
             "and 3 more endpoints alike", "source kept", "keeps its endpoint for 30 s", "kernel  (12 rules)",
             "nat PREROUTING rule 1: -j KUBE-SERVICES  [7 packets]", "then 11%", "and 5 more ways alike", "verdict: works")  # fmt: skip
    places = [said.index(part) for part in parts]
    assert places == sorted(places)
    assert said.count("nat PREROUTING rule 1") == 1


def test_a_single_way_and_what_is_not_ours():
    way = Way(1.0, Verdict.DROP, "10.0.0.1", 8080, evidence=(FOREIGN,), doubts=("x may take it",))
    said = explanation((way,), because=("and this",), remarks=("note this",), flows=(FlowFacts("a → b", "stale-backend", "gone"),),
                       resolver=Answered("the resolver says 10.96.0.1"),
                       findings=(Finding(Level.BAD, "t", "t is 0", "why", "fix"),))  # fmt: skip
    for part in ("  the resolver says 10.96.0.1\n",
                 "-j DROP  (not pointsman's)", "cannot be judged: x may take it", "so it is dropped in silence",
                 "a → b  stale-backend: gone", "bad: t is 0: why; fix", "note: note this", "also: and this"):  # fmt: skip
        assert part in said
