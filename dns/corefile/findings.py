"""What is wrong with a Corefile: all of it at once, each with file and line.

A reader that meets something wrong raises `WrongError` for the smallest part that it cannot use, a property or a directive; whoever reads
the larger part notes it in `Findings` and goes on with the next (COR-30). A finding is an *error*, then the Corefile is not used and at a
reload the former one stays (COR-06, OBS-50), or a *warning*: something is accepted but has no effect here.

The text of an error has CoreDNS's form, `FILE:LINE - Error during parsing: TEXT`, because people and their tools search for it.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where something stands: file as the user named it, and line from 1."""

    file: str
    line: int


class Finding(Struct, frozen=True):
    """One thing to tell about a Corefile; `error` means that it cannot be used."""

    place: Place
    text: str
    error: bool = True

    def __str__(self) -> str:
        """Return the line that is printed."""
        kind = "Error during parsing" if self.error else "Warning"
        return f"{self.place.file}:{self.place.line} - {kind}: {self.text}"


class WrongError(ValueError):
    """A part of a Corefile that cannot be used: where, and what to do."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


class Findings:
    """What was found so far, in the order of discovery."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def error(self, place: Place, text: str) -> None:
        """Note something that makes the Corefile unusable."""
        self._note(Finding(place, text))

    def warning(self, place: Place, text: str) -> None:
        """Note something that is accepted without effect."""
        self._note(Finding(place, text, error=False))

    def wrong(self, error: WrongError) -> None:
        """Note what a reader raised."""
        self.error(error.place, error.text)

    def _note(self, finding: Finding) -> None:
        if finding not in self._found:  # a snippet that is used twice is wrong once
            self._found.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        """Go through the findings by file and line, errors of one line in the order of discovery."""
        return iter(sorted(self._found, key=lambda finding: (finding.place.file, finding.place.line)))

    @property
    def fatal(self) -> bool:
        """Return whether there is an error among them."""
        return any(finding.error for finding in self._found)


class CorefileError(ValueError):
    """A Corefile that cannot be used; its text is every finding, one per line."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = tuple(findings)
