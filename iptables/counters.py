"""What the kernel has counted at two rules: invalid packets that were dropped, connections to node ports on loopback (MET-12). Pure.

kube-proxy keeps these in counters of their own (nfacct), which not every kernel has. A rule counts anyway, and a restore leaves the
counters of chains alone that it does not write. So the metric is what is read at the rules now, plus what had been read before a rule was
written anew (`Tally`): like every counter of a process it only grows. `kernel` lists the filter table, which is small in this mode.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

LOOPBACK: Final = "node ports on loopback addresses"
"""The comment of the rule that counts them."""

INVALID_DROPPED: Final = "invalid packets dropped"
LOOPBACK_ACCEPTED: Final = "loopback connections accepted"

_RULE: Final = re.compile(r"^\[(\d+):\d+\] -A (KUBE-\S+) (.*)$")
_INVALID: Final = "-m conntrack --ctstate INVALID -j DROP"


def counted(listing: Iterable[str]) -> dict[str, int]:
    """Return the packets at either rule, from what `iptables-save --counters` prints; a rule that is not there is left out."""
    found: dict[str, int] = {}
    for line in listing:
        match = _RULE.match(line)
        if match is None:
            continue
        packets, chain, rule = match.groups()
        if chain == "KUBE-FORWARD" and rule == _INVALID:
            found[INVALID_DROPPED] = int(packets)
        elif chain == "KUBE-SERVICES" and LOOPBACK in rule:
            found[LOOPBACK_ACCEPTED] = int(packets)
    return found


class Tally:
    """Counts since the start, from readings of counters that begin anew now and then."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._total: dict[str, int] = {}

    def read(self, counters: Mapping[str, int]) -> Mapping[str, int]:
        """Take a reading; return the totals."""
        for name, value in counters.items():
            last = self._last.get(name, 0)
            self._total[name] = self._total.get(name, 0) + (value - last if value >= last else value)
            self._last[name] = value
        return dict(self._total)
