"""The modes that the contract table is run against. A new mode, or a variant of one, plugs in by one more value."""

from dataclasses import dataclass, field

import msgspec
import pytest
from pointsman.routing.packet import Verdict
from pointsman.routing.route import Family


@dataclass(frozen=True)
class Departure:
    """Cases in which a mode cannot do what the oracle says: the targets of those cases, what becomes of them, and why.

    docs/modes.md tells the same to people.
    """

    targets: frozenset[str]
    verdict: Verdict
    reason: str

    def meets(self, case, outcome):
        """Return whether a case is one of these: nobody owns what it asks for, and the oracle lets it pass."""
        return case.target in self.targets and outcome.verdict is not self.verdict


@dataclass(frozen=True)
class ModeUnderTest:
    """A mode as the daemon is told to use it: its name for people, arguments of `pointsman run`, and further environment.

    `wipe` are command lines by which a careless operator destroys what the mode has programmed; `marks` say which kernel it needs.
    `on_loopback`: node ports answer on 127.0.0.1 (SEM-45). `affinity_ends`: it does with its time, however recently connections ended.
    `families`: in which situations are tried that are not the table's.
    """

    name: str
    arguments: tuple[str, ...]
    wipe: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    marks: tuple[pytest.MarkDecorator, ...] = ()
    departures: tuple[Departure, ...] = ()
    on_loopback: bool = True
    affinity_ends: bool = True
    families: tuple[Family, ...] = tuple(Family)

    def __str__(self):
        return self.name

    def param(self, *more, name="", marks=()):
        """Return this mode as a parameter of a test, marked by the kernel that it needs; `more` parameters may follow."""
        return pytest.param(self, *more, id=name or self.name, marks=(*self.marks, *marks))

    def departing(self, cases):
        """Return the cases that depart from the oracle here, each with what becomes of it."""
        found = {}
        for case, outcome in cases.items():
            for one in self.departures:
                if one.meets(case, outcome):
                    found[case] = msgspec.structs.replace(outcome, verdict=one.verdict, reason=one.reason, shares=(), affinity_seconds=0)
        return found


def _iptables(variant):
    return ModeUnderTest(
        f"iptables-{variant}",
        ("--proxy-mode", "iptables", "--iptables-variant", variant),
        tuple(f"{tool}-{variant} -t nat -F" for tool in ("iptables", "ip6tables")),
    )


IPVS = ModeUnderTest(
    "ipvs",
    ("--proxy-mode", "ipvs", "--iptables-variant", "legacy"),
    ("ipvsadm -C",),
    marks=(pytest.mark.ipvs,),
    on_loopback=False,
    affinity_ends=False,
    families=(Family.IPV6,),  # its own pains are tried in the other one
    departures=(
        Departure(
            frozenset({"unused port of an external IP", "unused port of a load-balancer IP"}),
            Verdict.REJECT,
            "SEM-66: addresses of Services are this node's, and no program of the node answers there",
        ),
        Departure(frozenset({"node port at loopback"}), Verdict.UNTOUCHED, "SEM-65: IPVS does not serve loopback"),
    ),
)
MODES = (_iptables("legacy"), _iptables("nft"), IPVS)
