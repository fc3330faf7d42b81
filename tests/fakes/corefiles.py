"""Corefiles for tests: read from text, with imports and environment from dicts."""

import fnmatch

from pointsman.dns.corefile.findings import Findings, Place
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.load import load
from pointsman.dns.corefile.parser import Directive, File, Line

NOWHERE = Place("Corefile", 1)


def loaded(text, files=None, environment=None):
    """Read a Corefile; `files` are what imports find, by name."""
    there = files or {}

    def library(pattern, importer):
        found = tuple(File(name, there[name]) for name in sorted(there) if fnmatch.fnmatchcase(name, pattern))
        return found if found or "*" in pattern else f"File to import not found: {pattern}"

    return load(File("Corefile", text), library, environment or {})


def corefile(text, **more):
    """Return the settings of a Corefile that must be right."""
    return loaded(text, **more).must()


def errors(text, **more):
    """Return the errors of a Corefile as (line, text)."""
    return [(one.place.line, one.text) for one in loaded(text, **more).findings if one.error]


def options(kind, *lines):
    """Return a plugin's settings from the lines inside a server block."""
    found = corefile(".:53 {\n" + "\n".join(lines) + "\n}\n").blocks[0].all(kind)
    assert len(found) == 1, found
    return found[0]


def token(text):
    """Return a word that stands nowhere."""
    return Token(text, NOWHERE, False)


def line(name, *args):
    """Return a property."""
    return Line(name, tuple(map(token, args)), NOWHERE)


def directive(name, *args, lines=()):
    """Return a directive."""
    return Directive(name, tuple(map(token, args)), tuple(lines), NOWHERE)


def noted(read, *args):
    """Call a reader with fresh findings; return its value and the errors."""
    findings = Findings()
    value = read(*args, findings)
    return value, [one.text for one in findings]
