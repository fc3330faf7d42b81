"""Findings: their text, their order, and that one thing is told once."""

from pointsman.dns.corefile.findings import CorefileError, Finding, Findings, Place, WrongError


def test_cor_06_an_error_has_the_form_of_coredns():
    assert (
        str(Finding(Place("/etc/Corefile", 7), "Unknown directive 'x'")) == "/etc/Corefile:7 - Error during parsing: Unknown directive 'x'"
    )
    assert str(Finding(Place("C", 1), "no effect", error=False)) == "C:1 - Warning: no effect"


def test_findings_come_by_file_and_line_and_once():
    findings = Findings()
    findings.error(Place("b", 1), "x")
    findings.warning(Place("a", 9), "w")
    findings.wrong(WrongError(Place("a", 2), "y"))
    findings.error(Place("b", 1), "x")
    assert [(one.place.file, one.place.line) for one in findings] == [("a", 2), ("a", 9), ("b", 1)]
    assert findings.fatal


def test_warnings_alone_are_not_fatal():
    findings = Findings()
    findings.warning(Place("a", 1), "w")
    assert not findings.fatal


def test_an_unusable_corefile_says_everything():
    error = CorefileError([Finding(Place("a", 1), "x"), Finding(Place("a", 2), "y")])
    assert str(error).splitlines() == ["a:1 - Error during parsing: x", "a:2 - Error during parsing: y"]
