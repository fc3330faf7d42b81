"""Directives that make or change answers: hosts, template, rewrite, acl, autopath (section 3.5 of the specification)."""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Findings, Place, WrongError
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.parser import Directive, Line
from pointsman.dns.corefile.places import parts
from pointsman.dns.corefile.values import (
    TYPES,
    Fields,
    arguments,
    block,
    duration,
    fallthrough,
    flag,
    integer,
    number,
    pattern,
    rclass,
    rcode,
    rtype,
    zones,
)

Zones = tuple[str, ...]


def read_hosts(directive: Directive, keys: Zones, findings: Findings) -> options.HostsOptions:
    """Read hosts: `hosts [FILE [ZONES]]`; inline lines begin with an address and come before fallthrough."""
    own = zones(directive.args[1:], keys)
    table = {
        "ttl": ("ttl", integer(1, 65535)),
        "no_reverse": ("no_reverse", flag),
        "reload": ("reload", duration()),
        "fallthrough": ("fallthrough", fallthrough),
        "fallthrough_unsupported": ("fallthrough_unsupported", flag),
    }
    inline: list[str] = []
    properties: list[Line] = []
    after = False
    for line in directive.lines:
        if line.name in table or after:
            properties.append(line)
            after = after or line.name == "fallthrough"
            continue
        try:
            ipaddress.ip_address(line.name)
        except ValueError:
            properties.append(line)
            continue
        if not line.args:
            findings.error(line.place, f"the line of {line.name} has no name: write the address, then names")
        inline.append(" ".join([line.name, *(token.text for token in line.args)]))
    late = [line.name for line in properties if re.match(r"[\da-fA-F]*[.:]", line.name)]
    hints = dict.fromkeys(late, "lines of hosts stand before fallthrough: move it up")
    fields = block(Directive(directive.name, directive.args, tuple(properties), directive.place), table, findings, hints)
    if fields.get("fallthrough_unsupported") and "fallthrough" not in fields:
        findings.error(directive.place, "fallthrough_unsupported requires fallthrough: it hands on what that hands on")
    # With lines of its own and no file named, CoreDNS still reads /etc/hosts.
    file = directive.args[0].text if directive.args else "/etc/hosts"
    return options.HostsOptions(place=directive.place, file=file, zones=own, inline=tuple(inline), **fields)


def read_template(directive: Directive, keys: Zones, findings: Findings) -> options.TemplateOptions:
    """Read template: `template CLASS TYPE [ZONES]`, then its block."""
    arguments(directive, 2)
    records: list[options.TemplateRecord] = []
    matches: list[str] = []

    def record(line: Line) -> bool:
        for token, text in zip(line.args, arguments(line, 1), strict=True):
            try:
                records.append(options.TemplateRecord(line.name, parts(text)))
            except ValueError as error:
                raise WrongError(token.place, str(error)) from None
        return True

    def upstream(line: Line) -> bool:
        findings.warning(line.place, "upstream of template is accepted and has no effect: targets of aliases are looked up in any case")
        return True

    def match(line: Line) -> bool:
        arguments(line, 1)
        matches.extend(pattern(token) for token in line.args)
        return True

    table = {
        "match": ("_", match),
        "answer": ("_", record),
        "additional": ("_", record),
        "authority": ("_", record),
        "rcode": ("rcode", lambda line: rcode(line.args[0]) if arguments(line, 1, 1) else 0),
        "ederror": ("ederror", _ederror),
        "fallthrough": ("fallthrough", fallthrough),
        "upstream": ("_", upstream),
    }
    elsewhere = "expressions are supported by CoreDNS, not by this resolver: say it with match"
    hints = {"var": elsewhere, "expr": elsewhere}
    fields = block(directive, table, findings, hints)
    fields.pop("_", None)
    return options.TemplateOptions(
        place=directive.place,
        rclass=rclass(directive.args[0]),
        rtype=rtype(directive.args[1]),
        zones=zones(directive.args[2:], keys),
        matches=tuple(matches) or (".*",),
        records=tuple(records),
        **fields,
    )


def _ederror(line: Line) -> tuple[int, str]:
    texts = arguments(line, 1, 2)
    return number(texts[0], line.args[0].place, 0, 65535, "ederror"), texts[1] if len(texts) > 1 else ""


def read_acl(directive: Directive, keys: Zones, findings: Findings) -> options.AclOptions:
    """Read acl: lines `ACTION [type TYPES] [net NETWORKS]`."""
    rules: list[options.AclRule] = []
    for line in directive.lines:
        try:
            rules.append(_acl_rule(line))
        except WrongError as error:
            findings.wrong(error)
    return options.AclOptions(place=directive.place, zones=zones(directive.args, keys), rules=tuple(rules))


def _acl_rule(line: Line) -> options.AclRule:
    action = line.name.lower()
    if action not in {"allow", "block", "filter", "drop"}:
        raise WrongError(line.place, f"unexpected token '{line.name}' of acl: a line begins with allow, block, filter or drop")
    types: set[int] = set()
    networks: list[str] = []
    section = ""
    every_type = every_network = False
    for token in line.args:
        if token.text.lower() in {"type", "net"}:
            section = token.text.lower()
        elif section == "type":
            every_type = every_type or token.text == "*"
            if token.text != "*":
                types.add(rtype(token))
        elif section == "net":
            every_network = every_network or token.text == "*"
            if token.text != "*":
                networks.append(_network(token))
        else:
            raise WrongError(token.place, f"unexpected token '{token.text}' of acl: write type TYPES or net NETWORKS")
    if section and line.args[-1].text.lower() == section:
        raise WrongError(line.args[-1].place, f"no token specified in '{section}' section: write what it is, or *")
    return options.AclRule(action, frozenset() if every_type else frozenset(types), () if every_network else tuple(networks))


def _network(token: Token) -> str:
    try:
        return str(ipaddress.ip_network(token.text, strict=False))
    except ValueError:
        raise WrongError(token.place, f"illegal CIDR notation '{token.text}': write it like 10.0.0.0/8") from None


def read_autopath(directive: Directive, keys: Zones, findings: Findings) -> options.AutopathOptions:
    """Read autopath: the last argument is the source of search paths."""
    arguments(directive, 1)
    for line in directive.lines:
        findings.error(line.place, f"unknown property '{line.name}' of autopath: it takes no block")
    source = directive.args[-1].text
    if source.startswith("@") and source != "@kubernetes":
        raise WrongError(directive.args[-1].place, f"autopath {source}: only @kubernetes knows search paths of clients")
    return options.AutopathOptions(place=directive.place, zones=zones(directive.args[:-1], keys), source=source)


KINDS = ("exact", "prefix", "suffix", "substring", "regex")


def read_rewrite(directive: Directive, _keys: Zones, findings: Findings) -> options.RewriteOptions:
    """Read rewrite: one rule, on its line or spread over a block."""
    tokens = [*directive.args]
    for line in directive.lines:
        tokens += [Token(line.name, line.place, True), *line.args]
    further = False
    if tokens and tokens[0].text.lower() in {"continue", "stop"}:
        further = tokens.pop(0).text.lower() == "continue"
    if not tokens:
        raise WrongError(directive.place, "rewrite needs a field and what to do with it, such as: rewrite name old.example new.example")
    field = tokens.pop(0)
    readers = {"name": _name_rule, "ttl": _ttl_rule, "rcode": _rcode_rule, "cname": _cname_rule, "type": _type_rule, "class": _class_rule}
    name = field.text.lower()
    if name == "answer":
        raise WrongError(field.place, "response rewrites must begin with a name rule: write the line name FROM TO first")
    if name == "edns0":
        raise WrongError(field.place, "rewrite edns0 is supported by CoreDNS, not by this resolver: take the rule out")
    if name not in readers:
        raise WrongError(field.place, f"invalid rule type '{field.text}' of rewrite: it is {', '.join(readers)}")
    rule = options.RewriteRule(field=name, place=directive.place, further=further, **readers[name](tokens, directive.place))
    if rule.match is not None and rule.match.kind != "regex" and not tokens[0].text.endswith("."):
        _warn_of_whole_names(rule, rule.match, tokens[0], findings)
    return options.RewriteOptions(place=directive.place, rules=(rule,))


def _warn_of_whole_names(rule: options.RewriteRule, match: options.NameMatch, token: Token, findings: Findings) -> None:
    """Tell what CoreDNS makes of a FROM without its final dot where that is seldom what was meant, as it is the same here."""
    rewrite = f"rewrite {rule.field} {match.kind} {token.text}"
    if rule.field == "cname" and match.kind == "suffix":
        findings.warning(token.place, f"{rewrite} fits no target, as in CoreDNS: write it with the final dot")
    elif rule.field != "cname" and match.kind in {"prefix", "substring"}:
        text = f"{rewrite} is for '{match.text}' with the dot, as in CoreDNS: whole labels only; write regex to match a part of one"
        findings.warning(token.place, text)


def _need(tokens: Sequence[Token], place: Place, count: int, form: str) -> None:
    if len(tokens) != count:
        raise WrongError(place, f"Wrong argument count of rewrite: write rewrite {form}")


def _kind(tokens: list[Token], without: int) -> str:
    """Return the kind of match and take it away; it may be left out if only so many arguments are there."""
    if len(tokens) > without and tokens[0].text.lower() in KINDS:
        return tokens.pop(0).text.lower()
    return "exact"


def _match(kind: str, token: Token) -> options.NameMatch:
    """Return what is matched: names are made absolute whatever the kind, as CoreDNS does."""
    return options.NameMatch(kind, pattern(token) if kind == "regex" else _absolute(token.text))


def _absolute(text: str) -> str:
    return text.lower() if text.endswith(".") else text.lower() + "."


def _within(to: Token, groups: int) -> str:
    """Return an absolute replacement that has no more places such as {1} than its pattern has groups."""
    used = {place for place in re.findall(r"\{(\d{1,2}|100)\}", to.text) if place == str(int(place))}
    if len(used) > groups:
        text = f"'{to.text}' uses {len(used)} groups, and its pattern has {groups}: put what is to be kept in parentheses"
        raise WrongError(to.place, text)
    return _absolute(to.text)


def _name_rule(tokens: list[Token], place: Place) -> Fields:
    form = "name [exact|prefix|suffix|substring|regex] FROM TO [answer ...]"
    if len(tokens) > 2 and tokens[0].text.lower() not in KINDS:
        text = f"name rule supports only {', '.join(KINDS)} matching, not '{tokens[0].text}': write rewrite {form}"
        raise WrongError(tokens[0].place, text)
    kind = _kind(tokens, 2)
    if len(tokens) < 2:
        _need(tokens, place, 2, form)
    match = _match(kind, tokens[0])
    groups = re.compile(match.text).groups if kind == "regex" else 0
    to = _within(tokens[1], groups) if kind in {"exact", "regex"} else _absolute(tokens[1].text)
    answers = tuple(_answers(tokens[2:], form))
    if any(one.kind == "auto" for one in answers) and any(one.kind == "name" for one in answers):
        raise WrongError(tokens[2].place, "answer auto cannot be combined with answer name: both say what owners become")
    others = tuple(one for one in answers if one.kind != "auto")
    if kind == "exact" or len(others) < len(answers):
        answers = (options.AnswerRewrite("auto"), *others)
    return {"match": match, "to": to, "answers": answers}


def _answers(tokens: Sequence[Token], form: str) -> Iterator[options.AnswerRewrite]:
    """Yield the answer rewrites: `answer auto`, `answer name RE TO`, `answer value RE TO`; only the first needs the word answer."""
    rest = list(tokens)
    if rest and rest[0].text != "answer":
        raise WrongError(rest[0].place, f"Unexpected '{rest[0].text}': write rewrite {form}")
    while rest:
        word = rest.pop(0)
        if word.text == "answer":
            if not rest:
                raise WrongError(word.place, "answer needs auto, name FROM TO or value FROM TO")
            word = rest.pop(0)
        if word.text == "name" and rest[:1] and rest[0].text == "auto":
            word = rest.pop(0)
        if word.text == "auto":
            yield options.AnswerRewrite("auto")
        elif word.text in {"name", "value"} and len(rest) > 1:
            found = pattern(rest[0])
            yield options.AnswerRewrite(word.text, found, _within(rest[1], re.compile(found).groups))
            del rest[:2]
        else:
            raise WrongError(word.place, f"'{word.text}' in an answer rewrite: write auto, name FROM TO or value FROM TO")


def _ttl_rule(tokens: list[Token], place: Place) -> Fields:
    kind = _kind(tokens, 2)
    _need(tokens, place, 2, "ttl [KIND] NAME SECONDS or MIN-MAX")
    low, dash, high = tokens[1].text.partition("-")
    if not re.fullmatch(r"\d{1,10}|\d{0,10}-\d{1,10}|\d{1,10}-", tokens[1].text):
        raise WrongError(tokens[1].place, f"invalid TTL '{tokens[1].text}': write seconds, or a range such as 30-300, -300 or 30-")
    least = int(low or 0)
    most = (int(high) if high else 2**31 - 1) if dash else least
    if least > most or most > 2**31 - 1:
        text = f"invalid TTL '{tokens[1].text}': the range goes from the smaller to the larger, at most {2**31 - 1}"
        raise WrongError(tokens[1].place, text)
    return {"match": _match(kind, tokens[0]), "numbers": (least, most)}


def _rcode_rule(tokens: list[Token], place: Place) -> Fields:
    kind = _kind(tokens, 3)
    _need(tokens, place, 3, "rcode [KIND] NAME FROM TO")
    return {"match": _match(kind, tokens[0]), "numbers": (rcode(tokens[1]), rcode(tokens[2]))}


def _cname_rule(tokens: list[Token], place: Place) -> Fields:
    kind = _kind(tokens, 2)
    _need(tokens, place, 2, "cname [KIND] FROM TO")
    if kind in {"exact", "regex"}:
        return {"match": _match(kind, tokens[0]), "to": _absolute(tokens[1].text)}
    return {"match": options.NameMatch(kind, tokens[0].text.lower()), "to": tokens[1].text.lower()}


def _type_rule(tokens: list[Token], place: Place) -> Fields:
    _need(tokens, place, 2, "type FROM TO")
    if tokens[1].text.upper() not in TYPES:
        raise WrongError(tokens[1].place, f"'{tokens[1].text}' is not a record type")
    return {"numbers": (rtype(tokens[0]), rtype(tokens[1]))}


def _class_rule(tokens: list[Token], place: Place) -> Fields:
    _need(tokens, place, 2, "class FROM TO")
    return {"numbers": (rclass(tokens[0]), rclass(tokens[1]))}
