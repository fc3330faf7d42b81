"""template: replies made from the query, by pattern (section 3.5 of the specification).

The text of a record is filled in and then read as a line of a zone file, by dnspython, which is loaded when the first template is made:
templates are seldom, and few of them are asked often. A reply that does not tell the client's address is good for every client.
"""

import re
from collections.abc import Mapping

from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import TemplateOptions
from pointsman.dns.corefile.places import Field, Part
from pointsman.dns.corefile.values import CLASSES
from pointsman.dns.plugins.acl import EXTENDED_ERROR
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.plugins.reporting import CLASS_NAMES, TYPE_NAMES, type_name
from pointsman.dns.question import SERVFAIL, Query
from pointsman.dns.reply import Life, Record, Reply

ANY = 255
NAME = "template"
_TTL_AND_CLASS = r"(?:(\d+)\s+)?(?:(IN|CH|HS|ANY)\s+)?(?:(\d+)\s+)?"
_RECORD = re.compile(rf"\s*(\S+)\s+{_TTL_AND_CLASS}([A-Za-z][A-Za-z0-9-]*)\s+(.*)", re.DOTALL | re.IGNORECASE)


class TemplateError(ValueError):
    """A record that a template made cannot be read."""


class Template(Quiet):
    """One template directive."""

    def __init__(self, options: TemplateOptions, around: Surroundings) -> None:
        self._options = options
        self._around = around
        self._zones = tuple((names.wire(zone).lower(), zone) for zone in options.zones)
        self._patterns = tuple(re.compile(pattern) for pattern in options.matches)
        self._on = None if options.fallthrough is None else tuple(names.wire(zone).lower() for zone in options.fallthrough.zones)
        places = [part for record in options.records for part in record.parts if isinstance(part, Field)]
        self._same_for_all = not any(place.name == "Remote" for place in places)

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            zone = self._zone(query)
            if zone is None:
                return await following(query)
            found = self._match(names.text(query.key))
            if found is not None:
                self._count("coredns_template_matches_total", where, zone, query)
                return self._made(query, zone, found, where)
            if self._on is not None and (not self._on or covers(self._on, query.key)):
                return await following(query)
            return Reply(SERVFAIL, flags=0, plugin=NAME, error="no template matches the name, and there is no fallthrough")

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if no name of that zone can match."""
        touched = any(names.cut(plain.zone, zone) >= 0 or names.cut(zone, plain.zone) >= 0 for zone, _ in self._zones)
        return None if touched else plain

    def _zone(self, query: Query) -> str | None:
        """Return the longest of the zones that has the name, if type and class are meant."""
        options = self._options
        if options.rclass not in {ANY, query.qclass} or options.rtype not in {ANY, query.qtype}:
            return None
        fitting = [zone for zone in self._zones if names.cut(query.key, zone[0]) >= 0]
        return max(fitting, key=lambda zone: len(zone[0]))[1] if fitting else None

    def _match(self, name: str) -> re.Match[str] | None:
        return next((found for pattern in self._patterns if (found := pattern.search(name))), None)

    def _made(self, query: Query, zone: str, found: re.Match[str], where: Where) -> Reply:
        sections: dict[str, list[Record]] = {"answer": [], "authority": [], "additional": []}
        for record in self._options.records:
            try:
                text = filled(record.parts, query, zone, found)
                sections[record.section].append(parsed(text, query))
            except TemplateError as error:
                source = "".join(part if isinstance(part, str) else "{{}}" for part in record.parts)
                self._count("coredns_template_rr_failures_total", where, zone, query, record.section, source)
                return Reply(SERVFAIL, flags=0, plugin=NAME, error=str(error))
        return Reply(
            rcode=self._options.rcode,
            answer=tuple(sections["answer"]),
            authority=tuple(sections["authority"]),
            additional=tuple(sections["additional"]),
            plugin=NAME,
            options=self._extended(query),
            life=Life() if self._same_for_all else None,
        )

    def _extended(self, query: Query) -> bytes:
        if self._options.ederror is None or query.edns is None:
            return b""
        code, text = self._options.ederror
        content = code.to_bytes(2, "big") + text.encode()
        return EXTENDED_ERROR.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content

    def _count(self, metric: str, where: Where, zone: str, query: Query, *more: str) -> None:
        """Count by names of class and type; clients may make up numbers, and each would be a series of its own."""
        labels = (where.server, zone, "", CLASS_NAMES.get(query.qclass, "other"), TYPE_NAMES.get(query.qtype, "other"), *more)
        self._around.tally.cell(metric, *labels)[0] += 1


def filled(parts: tuple[Part, ...], query: Query, zone: str, found: re.Match[str]) -> str:
    """Return a record's text with the places filled in."""
    plain: Mapping[str, str] = {
        "Zone": zone,
        "Name": names.text(query.key),
        "Class": CLASS_NAMES.get(query.qclass, str(query.qclass)),
        "Type": type_name(query.qtype),
        "Remote": query.client[0],
    }

    def value(part: Part) -> str:
        if isinstance(part, str):
            return part
        if part.name:
            return plain[part.name]
        if part.group:
            return found.groupdict().get(part.group) or "<no value>"
        try:
            return found[part.number] or ""
        except IndexError:
            raise TemplateError(f"index {part.number} of .Match: the pattern has only {found.re.groups} groups") from None

    return "".join(value(part) for part in parts)


def parsed(text: str, query: Query) -> Record:
    """Return the record that a line of a zone file says; raises TemplateError. A missing TTL is 3600, a missing class the query's."""
    import dns.exception  # noqa: PLC0415 - megabytes that most resolvers never need
    import dns.name  # noqa: PLC0415
    import dns.rdata  # noqa: PLC0415
    import dns.rdataclass  # noqa: PLC0415
    import dns.rdatatype  # noqa: PLC0415

    line = _RECORD.fullmatch(text)
    if line is None:
        raise TemplateError(f"'{text}' is not a record: write NAME TTL CLASS TYPE VALUE")
    owner, ttl, rclass, late_ttl, rtype, value = line.groups()
    try:
        number = dns.rdatatype.from_text(rtype)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, number, value, origin=dns.name.root, relativize=False)
        wire = rdata.to_wire()
        name = names.wire(owner)
    except (dns.exception.DNSException, ValueError) as error:
        raise TemplateError(f"'{text}' is not a record: {error}") from None
    assert wire is not None
    spelled = query.name if name.lower() == query.key else name
    return Record(spelled, int(number), int(ttl or late_ttl or 3600), wire, CLASSES[rclass.upper()] if rclass else query.qclass)
