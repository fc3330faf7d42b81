"""Values in a Corefile's directives: durations, numbers, names, types, patterns; and how a block of properties is read.

A reader of one property is a function of its line that returns the value or raises `WrongError`. Blocks are tables of such readers, so a
property that is wrong costs only itself, and all are told at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pointsman.dns.corefile import keys
from pointsman.dns.corefile.findings import Findings, Place, WrongError
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.options import Fallthrough
from pointsman.dns.corefile.parser import Directive, Line

TYPES: Mapping[str, int] = {
    "A": 1, "NS": 2, "MD": 3, "MF": 4, "CNAME": 5, "SOA": 6, "MB": 7, "MG": 8, "MR": 9, "NULL": 10, "PTR": 12, "HINFO": 13, "MINFO": 14,
    "MX": 15, "TXT": 16, "RP": 17, "AFSDB": 18, "X25": 19, "ISDN": 20, "RT": 21, "NSAP-PTR": 23, "SIG": 24, "KEY": 25, "PX": 26, "GPOS": 27,
    "AAAA": 28, "LOC": 29, "NXT": 30, "EID": 31, "NIMLOC": 32, "SRV": 33, "ATMA": 34, "NAPTR": 35, "KX": 36, "CERT": 37, "DNAME": 39,
    "OPT": 41, "APL": 42, "DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50,
    "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "HIP": 55, "NINFO": 56, "RKEY": 57, "TALINK": 58, "CDS": 59, "CDNSKEY": 60,
    "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64, "HTTPS": 65, "SPF": 99, "NID": 104, "L32": 105, "L64": 106, "LP": 107,
    "EUI48": 108, "EUI64": 109, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252, "MAILB": 253, "MAILA": 254, "ANY": 255, "URI": 256,
    "CAA": 257, "AVC": 258, "TA": 32768, "DLV": 32769,
}  # fmt: skip
"""Numbers of record types by name."""

CLASSES: Mapping[str, int] = {"IN": 1, "CS": 2, "CH": 3, "HS": 4, "NONE": 254, "ANY": 255}
"""Numbers of classes by name."""

RCODES: Mapping[str, int] = {
    "NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "YXDOMAIN": 6, "YXRRSET": 7, "NXRRSET": 8,
    "NOTAUTH": 9, "NOTZONE": 10, "BADSIG": 16, "BADKEY": 17, "BADTIME": 18, "BADMODE": 19, "BADNAME": 20, "BADALG": 21, "BADTRUNC": 22,
    "BADCOOKIE": 23,
}  # fmt: skip
"""Numbers of response codes by name."""

LONGEST_PATTERN = 10_000
"""Characters of a regular expression, at most."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_BEYOND_GO = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=|\(\?>|[*+?}]\+|\(\?\(")
_POSIX = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9A-Fa-f", "word": "0-9A-Za-z_",
    "space": r"\s", "blank": r" \t", "punct": r"!-/:-@\[-`{-~",
}  # fmt: skip

Reader = Callable[[Line], object]
"""Reads the value of a property."""


def arguments(line: Line | Directive, least: int, most: int | None = None) -> tuple[str, ...]:
    """Return the arguments as text if their number is right."""
    if not least <= len(line.args) <= (len(line.args) if most is None else most):
        last = line.args[-1].text if line.args else line.name
        text = f"Wrong argument count or unexpected line ending after '{last}': {line.name} takes {_count(least, most)}"
        raise WrongError(line.place, text)
    return tuple(token.text for token in line.args)


def _count(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least} argument{'s' if least != 1 else ''}"
    if not most:
        return "no arguments"
    return f"{least} argument{'s' if least != 1 else ''}" if least == most else f"{least} to {most} arguments"


def flag(line: Line) -> bool:
    """Read a property without arguments."""
    arguments(line, 0, 0)
    return True


def seconds(text: str, place: Place) -> float:
    """Return a Go duration (`1h30m`, `500ms`, `0`) in seconds."""
    body = text.removeprefix("-").removeprefix("+")
    if body == "0":
        return 0.0
    parts = _DURATION.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise WrongError(place, f"'{text}' is not a duration: write it like 30s, 500ms or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts) * (-1 if text.startswith("-") else 1)


def duration(least: float = 0.0, most: float | None = None, *, bare_seconds: bool = False) -> Reader:
    """Make a reader of one duration within bounds (seconds, both included); with `bare_seconds` a number alone is one, too."""

    def read(line: Line) -> float:
        (text,) = arguments(line, 1, 1)
        value = float(text) if bare_seconds and text.isdecimal() else seconds(text, line.args[0].place)
        if value < least or (most is not None and value > most):
            bounds = _range("a duration", f"{least:g}s", None if most is None else f"{most:g}s")
            raise WrongError(line.args[0].place, f"{line.name} {text}: {bounds}")
        return value

    return read


def number(text: str, place: Place, least: int, most: int | None, name: str) -> int:
    """Return a whole number within bounds."""
    if not re.fullmatch(r"[+-]?\d{1,10}", text) or int(text) < least or (most is not None and int(text) > most):
        raise WrongError(place, f"{name} {text}: {_range('a whole number', str(least), None if most is None else str(most))}")
    return int(text)


def integer(least: int = 0, most: int | None = None) -> Reader:
    """Make a reader of one whole number within bounds."""

    def read(line: Line) -> int:
        (text,) = arguments(line, 1, 1)
        return number(text, line.args[0].place, least, most, line.name)

    return read


def _range(kind: str, least: str, most: str | None) -> str:
    return f"must be {kind} of at least {least}" if most is None else f"must be {kind} from {least} to {most}"


def choice(*allowed: str) -> Reader:
    """Make a reader of one word out of a few."""

    def read(line: Line) -> str:
        arguments(line, 1, 1)
        return one_of(line.args[0], allowed, line.name)

    return read


def one_of(token: Token, allowed: Iterable[str], name: str) -> str:
    """Return a word if it is an allowed one."""
    words = tuple(allowed)
    if token.text not in words:
        raise WrongError(token.place, f"unknown value '{token.text}' of {name}: it is {' or '.join(words)}")
    return token.text


def zones(tokens: Iterable[Token], default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the zones that arguments name, or the default if there are none."""
    found: dict[str, None] = {}
    for token in tokens:
        try:
            found |= dict.fromkeys(keys.zones(token.text))
        except ValueError as error:
            raise WrongError(token.place, str(error)) from None
    return tuple(found) or default


def fallthrough(line: Line) -> Fallthrough:
    """Read `fallthrough [ZONES]`."""
    return Fallthrough(zones(line.args))


def rtype(token: Token) -> int:
    """Return the number of a record type."""
    return _numbered(token, TYPES, "TYPE", "a record type")


def rclass(token: Token) -> int:
    """Return the number of a class."""
    return _numbered(token, CLASSES, "CLASS", "a class")


def rcode(token: Token) -> int:
    """Return the number of a response code, given by name or number."""
    if token.text.isdigit() and int(token.text) in RCODES.values():
        return int(token.text)
    return _numbered(token, RCODES, "RCODE", "a response code")


def _numbered(token: Token, table: Mapping[str, int], prefix: str, kind: str) -> int:
    name = token.text.upper()
    if name in table:
        return table[name]
    if (rest := name.removeprefix(prefix)) != name and rest.isdigit() and int(rest) < 65536:
        return int(rest)
    raise WrongError(token.place, f"'{token.text}' is not {kind}")


def pattern(token: Token) -> str:
    """Return a Go regular expression in Python's syntax; refused is what only one of them knows."""
    text = token.text
    if len(text) > LONGEST_PATTERN:
        raise WrongError(token.place, f"a regular expression of {len(text)} characters: at most {LONGEST_PATTERN}")
    if beyond := _BEYOND_GO.search(re.sub(r"\\\\", "", text)):
        raise WrongError(token.place, f"'{text}' is not a Go regular expression: it has no {beyond[0]}")
    if "[:^" in text:
        raise WrongError(token.place, f"'{text}': a class such as [:^digit:] cannot be used here, write [^0-9]")
    python = "".join(_translated(re.sub(r"\[:(\w+):\]", lambda match: _POSIX.get(match[1], match[0]), text)))
    python = re.sub(r"\(\?<(\w+)>", r"(?P<\1>", python)
    try:
        re.compile(python)
    except re.error as error:
        raise WrongError(token.place, f"'{text}' is not a regular expression: {error}") from None
    return python


def _translated(text: str) -> Iterator[str]:
    """Yield a pattern in pieces: the end of text has another name, and a bracket inside brackets stands for itself."""
    inside = False
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == "[" and inside:
            yield r"\["
            continue
        inside = (inside or piece == "[") and piece != "]"
        yield r"\Z" if piece == r"\z" else piece


def address(line: Line | Directive, default: str) -> str:
    """Return the listening address of a directive's arguments: at most one, `HOST:PORT` or `:PORT`."""
    texts = arguments(line, 0, 1)
    if not texts:
        return default
    host, separator, port = texts[0].rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        text = f"{line.name} {texts[0]}: write the address as HOST:PORT or :PORT, an IPv6 address in brackets"
        raise WrongError(line.args[0].place, text)
    return texts[0]


Fields = dict[str, Any]
"""Fields of a settings value that were read; what is not there has its default."""


def block(
    directive: Directive, table: Mapping[str, tuple[str, Reader]], findings: Findings, hints: Mapping[str, str] | None = None
) -> Fields:
    """Read a block by a table of property → (field, reader); what is wrong is noted, property by property."""
    fields: Fields = {}
    for line in directive.lines:
        if line.name not in table:
            findings.error(line.place, unknown(line, directive, table, hints))
            continue
        field, reader = table[line.name]
        try:
            fields[field] = reader(line)
        except WrongError as error:
            findings.wrong(error)
    return fields


def unknown(line: Line, directive: Directive, known: Iterable[str], hints: Mapping[str, str] | None = None) -> str:
    """Return the text about a property that a directive does not have."""
    if hints and line.name in hints:
        return f"unknown property '{line.name}' of {directive.name}: {hints[line.name]}"
    names = ", ".join(sorted(known))
    return f"unknown property '{line.name}' of {directive.name}" + (f": it has {names}" if names else ": it takes no block")


def bare(directive: Directive, findings: Findings, least: int = 0, most: int | None = 0) -> tuple[str, ...]:
    """Return the arguments of a directive that takes no block."""
    for line in directive.lines:
        findings.error(line.place, unknown(line, directive, ()))
    return arguments(directive, least, most)
