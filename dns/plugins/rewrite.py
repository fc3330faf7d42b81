"""rewrite: queries changed on their way in, replies on their way back (section 3.5 of the specification).

Rules run in the order of the file; each sees what the former ones made. A rule that fits ends the walk unless it says continue. What a rule
does to replies is done in reverse order. The client's question goes back untouched, whatever was asked inside.

Names are text here, because patterns are: lower case and absolute. A name of the answer that becomes the client's own is spelled as he did;
of others, what stays keeps its spelling.
"""

import re
from collections.abc import Callable, Sequence

import msgspec
from pointsman.dns import names
from pointsman.dns.contract import Plain, Responder
from pointsman.dns.corefile.options import AnswerRewrite, NameMatch, RewriteOptions, RewriteRule
from pointsman.dns.plugins.link import Either, Quiet, Surroundings, Where
from pointsman.dns.question import IN, SERVFAIL, TC, Query
from pointsman.dns.reply import Record, Reply, failure

NS, CNAME, SOA, PTR, MX, SRV, NAPTR, DNAME = 2, 5, 6, 12, 15, 33, 35, 39
TARGET = {NS: 0, CNAME: 0, SOA: 0, PTR: 0, DNAME: 0, MX: 2, SRV: 6}
"""Where in the rdata the name of a type begins."""

Rename = Callable[[str], str]


class Change:
    """What has to be done to the reply of one query."""

    def __init__(self) -> None:
        self.owners: list[Rename] = []
        self.values: list[Rename] = []
        self.ttls: list[tuple[int, int]] = []
        self.rcodes: list[tuple[int, int]] = []
        self.aliases: list[RewriteRule] = []
        self.ended = False
        """Whether a rule that fits ended the walk: then also a bare failure is a reply that this plugin wrote."""

    @property
    def any(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.owners or self.values or self.ttls or self.rcodes or self.aliases)


class Rewrite(Quiet):
    """All rewrite directives of a server block."""

    def __init__(self, options: Sequence[RewriteOptions], around: Surroundings) -> None:
        self._rules = [rule for one in options for rule in one.rules]
        self._patterns = {
            text: re.compile(text)
            for rule in self._rules
            for text in (*([rule.match.text] if rule.match and rule.match.kind == "regex" else []), *(one.pattern for one in rule.answers))
        }
        self._around = around

    def link(self, following: Responder, where: Where) -> Responder:
        """Return the responder."""

        async def respond(query: Query) -> Reply | None:
            change = Change()
            inner = query
            for rule in self._rules:
                made = self._apply(rule, inner, change)
                if made is None:
                    continue
                if isinstance(made, str):
                    return failure(SERVFAIL, "rewrite", f"invalid name after rewrite: {made}")
                inner = made
                if not rule.further:
                    change.ended = True
                    break
            reply = await following(inner)
            if reply is None or not (change.any or change.ended):
                return reply
            for rule in change.aliases:
                reply = await self._realias(rule, inner, reply, where)
            return _restored(query, reply, change)

        return respond

    def plain(self, plain: Plain) -> Plain | None:
        """Return the short cut without the names that rules are about."""
        for rule in self._rules:
            if rule.field == "cname" or (rule.field == "class" and IN not in rule.numbers[:1]) or (rule.field == "type"):
                continue
            if rule.match is None or rule.match.kind in {"prefix", "substring", "regex"}:
                return None
            zone = names.text(plain.zone)
            if rule.match.kind == "exact":
                plain = msgspec.structs.replace(plain, exempt=Either(plain.exempt, frozenset((names.wire(rule.match.text),))))
            elif zone.endswith(rule.match.text) or rule.match.text.endswith(zone):
                return None
        return plain

    def _apply(self, rule: RewriteRule, query: Query, change: Change) -> Query | str | None:
        """Return the query as the rule makes it, None if the rule does not fit; a text is a name that cannot be."""
        if rule.field == "type":
            return query.asking(query.name, rule.numbers[1]) if query.qtype == rule.numbers[0] else None
        if rule.field == "class":
            return msgspec.structs.replace(query, qclass=rule.numbers[1]) if query.qclass == rule.numbers[0] else None
        if rule.field == "cname":
            change.aliases.append(rule)
            return query
        assert rule.match is not None
        name = names.text(query.key)
        made = self._renamed(rule.match, rule.to, name)
        if made is None:
            return None
        if rule.field == "ttl":
            change.ttls.insert(0, (rule.numbers[0], rule.numbers[1]))
            return query
        if rule.field == "rcode":
            change.rcodes.insert(0, (rule.numbers[0], rule.numbers[1]))
            return query
        try:
            wire = names.wire(made)
        except ValueError as error:
            return str(error)
        made = names.text(wire.lower())
        for answer in rule.answers:
            self._answers(rule, answer, name, made, change)
        return query.asking(wire)

    def _answers(self, rule: RewriteRule, answer: AnswerRewrite, name: str, made: str, change: Change) -> None:
        """Note what one answer rewrite does."""
        assert rule.match is not None
        if answer.kind == "auto":
            suffix = rule.match.kind == "suffix"
            rename = _suffix_back(rule.to, rule.match.text) if suffix else _name_back(made, name)
            change.owners.insert(0, rename)
            change.values.insert(0, rename)
            return
        pattern = self._patterns[answer.pattern]

        def by_pattern(text: str) -> str:
            found = pattern.search(text) or pattern.search(text.lower())
            return text if found is None else groups_in(answer.to, found)

        (change.owners if answer.kind == "name" else change.values).insert(0, by_pattern)

    def _renamed(self, match: NameMatch, to: str, name: str) -> str | None:
        """Return a name as a rule makes it, None if the rule is not for it."""
        if match.kind == "exact":
            return to if name == match.text else None
        if match.kind == "prefix":
            return to + name[len(match.text) :] if name.startswith(match.text) else None
        if match.kind == "suffix":
            return name[: len(name) - len(match.text)] + to if name.endswith(match.text) else None
        if match.kind == "substring":
            return name.replace(match.text, to) if match.text in name else None
        found = self._patterns[match.text].search(name)
        return None if found is None else groups_in(to, found)

    async def _realias(self, rule: RewriteRule, query: Query, reply: Reply, where: Where) -> Reply:
        """Give aliases to one target another one, with the answer for that; the other sections stay, as they do in CoreDNS."""
        assert rule.match is not None
        for at, record in enumerate(reply.answer):
            if record.rtype != CNAME:
                continue
            made = self._renamed(rule.match, rule.to, names.text(record.rdata.lower()))
            if made is None:
                continue
            try:
                target = names.wire(made)
            except ValueError:
                return failure(SERVFAIL, "rewrite", f"invalid name after rewrite: {made}")
            inner = query.chasing(target)
            found = None if inner is None else await where.everything(inner)
            if found is None:
                return reply
            before = tuple(one for one in reply.answer[:at] if one.rtype == CNAME)
            alias = msgspec.structs.replace(record, rdata=target)
            flags = (reply.flags & ~TC) | (found.flags & TC)
            return reply.but(answer=(*before, alias, *found.answer), flags=flags, life=None)
        return reply


def groups_in(to: str, found: re.Match[str]) -> str:
    """Return a replacement with `{0}`, `{1}` and so on filled in."""
    return re.sub(r"\{(\d{1,3})\}", lambda place: (found[int(place[1])] or "") if int(place[1]) <= found.re.groups else place[0], to)


def _name_back(made: str, name: str) -> Rename:
    """Map the name that was asked inside, and names below it, back to the client's."""

    def rename(text: str) -> str:
        low = text.lower()
        if low == made:
            return name
        return text[: len(text) - len(made)] + name if low.endswith("." + made) else text

    return rename


def _suffix_back(made: str, suffix: str) -> Rename:
    """Map a suffix back to the client's."""
    return lambda text: text[: len(text) - len(made)] + suffix if text.lower().endswith(made) else text


def _restored(query: Query, reply: Reply, change: Change) -> Reply:
    """Return the reply with names, TTLs and the response code as the rules want them."""

    def record(one: Record) -> Record:
        owner = _mapped(query, one.owner, change.owners)
        at = _target(one)
        rdata = one.rdata
        if at >= 0 and change.values:
            end = _name_end(rdata, at)
            rdata = rdata[:at] + _mapped(query, rdata[at:end], change.values) + rdata[end:]
        ttl = one.ttl
        for least, most in change.ttls:
            ttl = min(max(ttl, least), most)
        return Record(owner, one.rtype, ttl, rdata, one.rclass)

    rcode = reply.rcode
    for before, after in change.rcodes:
        rcode = after if rcode == before else rcode
    return reply.but(
        bare=False,
        rcode=rcode,
        answer=tuple(map(record, reply.answer)),
        authority=tuple(map(record, reply.authority)),
        additional=tuple(map(record, reply.additional)),
    )


def _mapped(query: Query, wire: bytes, renames: Sequence[Rename]) -> bytes:
    text = before = names.text(wire)
    for rename in renames:
        text = rename(text)
    if text == before:
        return wire
    try:
        made = names.wire(text)
    except ValueError:
        return wire
    return query.name if made.lower() == query.key else made


def _target(record: Record) -> int:
    """Return where a record's value has a name, -1 if it has none."""
    if record.rtype != NAPTR:
        return TARGET.get(record.rtype, -1)
    at = 4
    for _ in range(3):
        at += 1 + record.rdata[at] if at < len(record.rdata) else 0
    return at if at < len(record.rdata) else -1


def _name_end(rdata: bytes, at: int) -> int:
    while rdata[at]:
        at += 1 + rdata[at]
    return at + 1
