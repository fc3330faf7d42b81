"""Connections per endpoint, from the counters of the rules that pick it. Pure.

Each new connection passes exactly one DNAT rule, with its first packet, so the packets counted there are connections. They begin anew when
a chain is written. The Service port is told by the comment of the chain's first rule.
"""

from re import compile as pattern

from pointsman.dataplane.traffic import Passed
from pointsman.iptables.ruleset import Ruleset, saved
from pointsman.iptables.words import NODE, subject_of

_PICKING = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-")
_PICKS = pattern(r"-p (\S+) .*--to-destination (?:\[([^\]]+)\]|([^:\s]+)):(\d+)")


def passed(rules: Ruleset) -> tuple[Passed, ...]:
    """Return one entry per rule that sends to an endpoint of a Service port, if the rule has a counter."""
    found: list[Passed] = []
    for name, chain in rules.tables.get("nat", {}).items():
        if not name.startswith(_PICKING) or not chain.rules:
            continue
        subject = subject_of(chain.rules[0])
        for number, line in enumerate(chain.rules, 1):
            rule = saved("nat", name, number, line)
            match = _PICKS.search(rule.text)
            if match and rule.packets is not None and subject != NODE:
                protocol, six, four, port = match.groups()
                found.append(Passed(protocol.upper(), "", 0, six or four, int(port), rule.packets, subject=subject))
    return tuple(found)
