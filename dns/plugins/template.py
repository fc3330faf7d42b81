"""template: replies made from the query, by pattern (section 3.5 of the specification).

The text of a record is filled in and then read as a line of a zone file, by dnspython, which is loaded when the first template is made:
templates are seldom, and few of them are asked often. A reply that does not tell the client's address is good for every client, unless
it leads elsewhere: the target of an alias is looked up in the whole server for who asks for addresses, and may change there.
"""

import importlib
import re
from collections.abc import Mapping

import msgspec
from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import TemplateOptions
from pointsman.dns.corefile.places import Field, Part
from pointsman.dns.corefile.values import CLASSES
from pointsman.dns.plugins.acl import EXTENDED_ERROR
from pointsman.dns.plugins.cache import covers
from pointsman.dns.plugins.link import Quiet, Surroundings, Where
from pointsman.dns.plugins.reporting import CLASS_NAMES, TYPE_NAMES, type_name
from pointsman.dns.question import AA, IN, SERVFAIL, TC, Query
from pointsman.dns.reply import Life, Record, Reply, failure

A, CNAME, AAAA, ANY = 1, 5, 28, 255
LONGEST_TTL = 2**31 - 1
NAME = "template"
_TTL = r"(?:(\d+(?:[SMHDW]\d*)*)\s+)?"
_TTL_AND_CLASS = rf"{_TTL}(?:(IN|CS|CH|HS|NONE|ANY)\s+)?{_TTL}"
_RECORD = re.compile(rf"\s*((?:\\.|\S)+)\s+{_TTL_AND_CLASS}([A-Za-z][A-Za-z0-9-]*)\s+(.*)", re.DOTALL | re.IGNORECASE)
_SPAN = re.compile(r"(\d+)([smhdw]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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
        if options.records:
            importlib.import_module("dns.rdata")  # half a second on a busy machine: not while somebody waits for an answer

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            zone = self._zone(query)
            if zone is None:
                return await following(query)
            found = self._match(names.text(query.key))
            if found is not None:
                self._count("coredns_template_matches_total", where, zone, query)
                return await self._made(query, zone, found, where)
            if self._on is not None and (not self._on or covers(self._on, query.key)):
                return await following(query)
            return failure(SERVFAIL, NAME, "no template matches the name, and there is no fallthrough")

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut if no name of that zone can match."""
        touched = any(names.cut(plain.zone, zone) >= 0 or names.cut(zone, plain.zone) >= 0 for zone, _ in self._zones)
        return None if touched else plain

    def _zone(self, query: Query) -> str | None:
        """Return the longest of the zones that has the name, if type and class are meant; who asks for ANY means all of them."""
        options = self._options
        if ANY not in {query.qclass, options.rclass} and options.rclass != query.qclass:
            return None
        if ANY not in {query.qtype, options.rtype} and options.rtype != query.qtype:
            return None
        fitting = [zone for zone in self._zones if names.cut(query.key, zone[0]) >= 0]
        return max(fitting, key=lambda zone: len(zone[0]))[1] if fitting else None

    def _match(self, name: str) -> re.Match[str] | None:
        return next((found for pattern in self._patterns if (found := pattern.search(name))), None)

    async def _made(self, query: Query, zone: str, found: re.Match[str], where: Where) -> Reply:
        if self._options.rcode == SERVFAIL:
            return failure(SERVFAIL, NAME)
        sections: dict[str, list[Record]] = {"answer": [], "authority": [], "additional": []}
        flags, life = AA, Life() if self._same_for_all else None
        for record in self._options.records:
            try:
                made = parsed(filled(record.parts, self._meant(query), zone, found), query)
            except TemplateError as error:
                source = "".join(part if isinstance(part, str) else "{{}}" for part in record.parts)
                self._count("coredns_template_rr_failures_total", where, zone, query, record.section, source)
                return failure(SERVFAIL, NAME, str(error))
            sections[record.section].append(made)
            if record.section == "answer" and made.rtype == CNAME and query.qtype in {A, AAAA}:
                target = query.chasing(made.rdata)
                further = None if target is None else await where.everything(target)
                sections["answer"].extend(() if further is None else further.answer)
                flags, life = AA | (0 if further is None else further.flags & TC), None
        return Reply(
            rcode=self._options.rcode,
            answer=tuple(sections["answer"]),
            authority=tuple(sections["authority"]),
            additional=tuple(sections["additional"]),
            flags=flags,
            plugin=NAME,
            options=self._extended(),
            life=life,
        )

    def _meant(self, query: Query) -> Query:
        """Return the query with the template's own class and type in place of ANY."""
        rclass = self._options.rclass if query.qclass == ANY else query.qclass
        rtype = self._options.rtype if query.qtype == ANY else query.qtype
        return msgspec.structs.replace(query, qclass=rclass, qtype=rtype)

    def _extended(self) -> bytes | None:
        if self._options.ederror is None:
            return None
        code, text = self._options.ederror
        content = code.to_bytes(2, "big") + text.encode()
        return EXTENDED_ERROR.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content

    def _count(self, metric: str, where: Where, zone: str, query: Query, *more: str) -> None:
        """Count by names of class and type; clients may make up numbers, and each would be a series of its own."""
        meant = self._meant(query)
        labels = (where.server, zone, "", CLASS_NAMES.get(meant.qclass, "other"), TYPE_NAMES.get(meant.qtype, "other"), *more)
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
    """Return the record that a line of a zone file says; raises TemplateError. A missing TTL is 3600, a missing class IN.

    A TTL may have units: 90, 1m30s, 2h, 1d, 1w.
    """
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
    seconds = sum(int(digits) * _SECONDS[unit.lower()] for digits, unit in _SPAN.findall(ttl or late_ttl or "3600"))
    if seconds > LONGEST_TTL:
        raise TemplateError(f"'{text}' is not a record: its TTL is more than {LONGEST_TTL} seconds")
    return Record(spelled, int(number), seconds, wire, CLASSES[rclass.upper()] if rclass else IN)
