"""The demonstration for people: a table that fills while traffic flows, then the removal, then the verdict; or all of it as JSON.

One row per question; both families are asked, IPv4 is shown, and IPv6 has a row of its own only if it differs from what the oracle said.
On a terminal the table is live; elsewhere lines are printed as they come, so that a log can be read.
"""

from collections.abc import Mapping, Sequence

import msgspec
from pointsman.proxy.demo.judgement import Finding, Met
from pointsman.proxy.demo.lab_probe import Ending
from pointsman.proxy.demo.lookups import Lookups
from pointsman.proxy.demo.removal import Removal
from pointsman.proxy.demo.scene import Case
from pointsman.routing.packet import Outcome, Verdict
from pointsman.routing.route import Family
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 250
"""Columns where the output is no terminal."""

_HEADINGS = ("SERVICE", "FRONTEND", "FROM", "BACKENDS AND THEIR SHARES", "SOURCE THEY SAW", "EXPECTED", "IPV4", "IPV6")
_FINE = "ok"
_REFUSED = {Ending.REFUSED: "refused (port unreachable)", Ending.RESET: "reset", Ending.SILENT: "no answer"}
Row = tuple[str, ...]


class Screen:
    """Where the demonstration is shown. `names` gives the pod that a place plays."""

    def __init__(self, names: Mapping[str, str], console: Console | None = None) -> None:
        found = console or Console(highlight=False)
        self.console = found if found.is_terminal else Console(file=found.file, highlight=False, width=PLAIN_WIDTH)
        self._names = names
        self._findings: dict[Case, Finding] = {}
        self._cases: tuple[Case, ...] = ()
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Print one line about what is being done."""
        self.console.print(Text(text))

    def open(self, cases: Sequence[Case]) -> None:
        """Show the table of the cases to come."""
        self._cases = tuple(cases)
        if self.console.is_terminal:
            self._live = Live(self._table(), console=self.console, refresh_per_second=8)
            self._live.start()

    def add(self, finding: Finding) -> None:
        """Take in what became of a case."""
        self._findings[finding.case] = finding
        if self._live is not None:
            self._live.update(self._table())

    def close(self) -> None:
        """Leave the table as it is; where there is no terminal, print it."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._cases:
            self.console.print(self._table())

    def removal(self, measured: Removal) -> None:
        """Show the removal of an endpoint."""
        after = ", ".join(f"{_delay(value)} ({family})" for family, value in measured.milliseconds.items())
        self.say(f"  last new connection to {measured.pod} after the change: {after}")
        kept = f"{measured.streams} established connections, {measured.streams_to_pod} of them to {measured.pod}"
        self.say(f"  {kept}: {measured.exchanges} exchanges went through, {measured.broken} connections broke")

    def lookups(self, looked: Lookups) -> None:
        """Show what a pod finds by name, and what a restart of the resolver costs."""
        for name, addresses in looked.found.items():
            step = f"query {looked.steps.get(name, 0)} of its search path"
            self.say(f"  a pod of shop looks up {name}: {', '.join(addresses) or 'nothing'} ({step})")
        self.say(f"  {looked.asked} queries while the resolver was followed by the next one: {looked.lost} lost")

    def _table(self) -> Table:
        table = Table(*_HEADINGS, box=None, pad_edge=False, header_style="bold", show_edge=False)
        former = ""
        for case in self._cases:
            finding = self._findings.get(case)
            if case.family is Family.IPV4:
                row = self._row(case, finding)
                twin = self._findings.get(self._twin(case) or case)
                table.add_row(*map(Text, (row[0] if row[0] != former else "", *row[1:])), _verdict(finding), _verdict(twin))
                former = row[0]
            elif finding is not None and finding.differences:
                table.add_row(*map(Text, self._row(case, finding)), Text(), _verdict(finding))
        return table

    def _row(self, case: Case, finding: Finding | None) -> Row:
        named = (case.subject, case.frontend, f"{case.sender.words} ({case.sender.address(case.family)})")
        if finding is None:
            return (*named, "...", "", "")
        sources = sorted({source for one in finding.met for source in one.sources})
        return (*named, self._backends(finding), ", ".join(sources), expectation(finding.outcome))

    def _backends(self, finding: Finding) -> str:
        answered = sum(one.count for one in finding.met)
        words = [f"{short(self._names.get(one.place, one.place))} {share(one, answered)}" for one in finding.met]
        words += [_REFUSED[ending] for ending in finding.endings if ending in _REFUSED]
        return ", ".join(words)

    def _twin(self, case: Case) -> Case | None:
        """Return the same question in IPv6."""
        return next((other for other in self._cases if other.family is Family.IPV6 and _question(other) == _question(case)), None)


def short(pod: str) -> str:
    """Return a pod's name without what its ReplicaSet gave it: `web-6c9f7d58b4-cvjcd` is `cvjcd`, `cart-0` stays."""
    parts = pod.split("-")
    return parts[-1] if len(parts) > 2 else pod


def share(met: Met, answered: int) -> str:
    """Return a measured share in per cent."""
    return f"{100 * met.count / answered:.0f}%"


def expectation(outcome: Outcome) -> str:
    """Return in a few words what the oracle expects, with the numbers of the rules."""
    numbers = ", ".join(sorted({reason.partition(":")[0] for reason in (outcome.reason, *(one.reason for one in outcome.shares))}))
    if outcome.verdict is not Verdict.FORWARD:
        return f"{outcome.verdict.value} ({numbers})"
    masqueraded = {one.masquerade for one in outcome.shares}
    source = "masqueraded" if masqueraded == {True} else "own source" if masqueraded == {False} else "own source, hairpin masqueraded"
    backends = "always the same, " if outcome.affinity_seconds else f"{100 * outcome.shares[0].probability:.0f}% each, "
    return f"{backends if len(outcome.shares) > 1 else ''}{source} ({numbers})"


def document(
    mode: str, variant: str, findings: Sequence[Finding], measured: Removal | None, names: Mapping[str, str],
    *, looked: Lookups | None = None,
) -> bytes:
    """Return everything as JSON."""
    rows = [
        {
            "service": one.case.subject,
            "frontend": one.case.frontend,
            "family": one.case.family.value,
            "protocol": one.case.protocol.value,
            "from": one.case.sender.words,
            "sourceAddress": one.case.sender.address(one.case.family),
            "connections": one.sent,
            "endings": {ending.value: count for ending, count in one.endings.items()},
            "backends": [{"pod": names.get(met.place, met.place), "connections": met.count, "sourcesSeen": met.sources} for met in one.met],
            "expected": {
                "verdict": one.outcome.verdict.value,
                "reason": one.outcome.reason,
                "shares": [
                    {"pod": share.backend.pod, "probability": share.probability, "masqueraded": share.masquerade, "reason": share.reason}
                    for share in one.outcome.shares
                ],
            },
            "differences": one.differences,
        }
        for one in findings
    ]
    passed = not any(one.differences for one in findings) and all(one is None or one.passed for one in (measured, looked))
    whole = {"mode": mode, "variant": variant, "passed": passed, "cases": rows, "removal": measured, "lookups": looked}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


def _delay(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "it goes on"
    return "under 1 ms" if milliseconds < 1 else f"{milliseconds:.0f} ms"


def _question(case: Case) -> tuple[str, ...]:
    """Return what a question is about, whatever its family."""
    kind = case.frontend.rpartition(" ")[0]
    return case.subject, kind, str(case.port), case.protocol.value, case.sender.words


def _verdict(finding: Finding | None) -> Text:
    if finding is None:
        return Text()
    return Text(f"DIFFERS: {'; '.join(finding.differences)}", style="bold red") if finding.differences else Text(_FINE, style="green")
