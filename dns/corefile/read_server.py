"""Directives that say how the server runs, and the small ones without much to set (sections 3.5 and 2.6 of the specification).

Every reader has one form: the directive, the zones of its block, and the findings to note what is wrong in its block; what makes the whole
directive unusable is raised.
"""

import ipaddress
from collections.abc import Callable

import msgspec
from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Findings, WrongError
from pointsman.dns.corefile.keys import zones as zones_of
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.parser import Directive, Line
from pointsman.dns.corefile.values import address, arguments, bare, block, choice, duration, flag, number, one_of, pattern, seconds

Zones = tuple[str, ...]
Reading = Callable[[Directive, Zones, Findings], options.Options]

COMMON_LOG = '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}'
"""The log format that is used if none is given (OBS-42)."""
COMBINED_LOG = COMMON_LOG + ' "{>opcode}"'
"""The format that `{combined}` stands for."""
FLAGS = ("aa", "ra", "rd", "ad", "cd")
LOG_FIELDS = frozenset(("type", "name", "class", "proto", "remote", "local", "size", "port", "duration", "rcode", "rsize")) | {
    ">rflags",
    ">bufsize",
    ">do",
    ">id",
    ">opcode",
}
"""Places of a log format that are known."""


def read_errors(directive: Directive, _zones: Zones, findings: Findings) -> options.ErrorsOptions:
    """Read errors."""
    if arguments(directive, 0, 1) not in {(), ("stdout",)}:
        raise WrongError(directive.args[0].place, f"invalid log file '{directive.args[0].text}': errors are written to stdout only")
    consolidate: list[options.Consolidation] = []

    def read(line: Line) -> bool:
        arguments(line, 2, 4)
        words = [token.text for token in line.args[2:]]
        first = "show_first" in words
        levels = [token for token in line.args[2:] if token.text != "show_first"]
        level = one_of(levels[0], ("warning", "error", "info", "debug"), "the level of consolidate") if levels else "error"
        period = seconds(line.args[0].text, line.args[0].place)
        if period <= 0:
            raise WrongError(line.args[0].place, f"consolidate {line.args[0].text}: the period is longer than 0")
        consolidate.append(options.Consolidation(period, pattern(line.args[1]), line.args[1].text, level, first))
        return True

    fields = block(directive, {"stacktrace": ("stacktrace", flag), "consolidate": ("_", read)}, findings)
    return options.ErrorsOptions(place=directive.place, stacktrace="stacktrace" in fields, consolidate=tuple(consolidate))


def read_health(directive: Directive, _zones: Zones, findings: Findings) -> options.HealthOptions:
    """Read health."""
    fields = block(directive, {"lameduck": ("lameduck", duration())}, findings)
    return options.HealthOptions(place=directive.place, address=address(directive, ":8080"), **fields)


def read_ready(directive: Directive, _zones: Zones, findings: Findings) -> options.ReadyOptions:
    """Read ready."""
    fields = block(directive, {"monitor": ("monitor", choice("until-ready", "continuously"))}, findings)
    return options.ReadyOptions(place=directive.place, address=address(directive, ":8181"), **fields)


def read_prometheus(directive: Directive, _zones: Zones, findings: Findings) -> options.PrometheusOptions:
    """Read prometheus."""
    for line in directive.lines:
        if line.name == "runtime_metrics":
            findings.warning(line.place, "runtime_metrics has no effect: it is about Go's runtime")
        else:
            findings.error(line.place, f"unknown property '{line.name}' of prometheus: metrics are served without TLS here")
    return options.PrometheusOptions(place=directive.place, address=address(directive, "localhost:9153"))


def read_log(directive: Directive, _zones: Zones, findings: Findings) -> options.LogOptions:
    """Read log: names come first, and the last argument is a format if it has a brace."""
    args = list(directive.args)
    form = COMMON_LOG
    if args and "{" in args[-1].text:
        last = args.pop()
        form = last.text.replace("{common}", COMMON_LOG).replace("{combined}", COMBINED_LOG)
        for name in _places(form):
            if name not in LOG_FIELDS:
                findings.error(last.place, f"unknown place '{{{name}}}' of the log format: there are {', '.join(sorted(LOG_FIELDS))}")
    names: list[str] = []
    for token in args:
        try:
            names += zones_of(token.text)
        except ValueError as error:
            findings.error(token.place, str(error))
    classes: set[str] = set()

    def read(line: Line) -> bool:
        arguments(line, 1)
        classes.update(one_of(token, ("success", "denial", "error", "all"), "class") for token in line.args)
        return True

    block(directive, {"class": ("_", read)}, findings)
    # Without names CoreDNS logs every query that reaches the block.
    return options.LogOptions(place=directive.place, zones=tuple(names) or (".",), format=form, classes=frozenset(classes or {"all"}))


def _places(form: str) -> list[str]:
    return [part.partition("}")[0] for part in form.split("{")[1:] if "}" in part]


def read_reload(directive: Directive, _zones: Zones, findings: Findings) -> options.ReloadOptions:
    """Read reload: an interval of at least 2 s, and a jitter of at most half of it."""
    texts = bare(directive, findings, 0, 2)
    interval = seconds(texts[0], directive.args[0].place) if texts else 30.0
    jitter = seconds(texts[1], directive.args[1].place) if len(texts) > 1 else 15.0
    if interval == 0:
        return options.ReloadOptions(place=directive.place, interval=0, jitter=0)
    if interval < 2:
        raise WrongError(directive.args[0].place, f"interval value must be greater or equal to 2s, is {texts[0]}")
    if len(texts) > 1 and jitter and jitter < 1:
        raise WrongError(directive.args[1].place, f"jitter value must be 0 or at least 1s, is {texts[1]}")
    return options.ReloadOptions(place=directive.place, interval=interval, jitter=min(jitter, interval / 2))


def read_bind(directive: Directive, _zones: Zones, findings: Findings) -> options.BindOptions:
    """Read bind."""
    addresses = arguments(directive, 1)
    exclude: list[str] = []

    def read(line: Line) -> bool:
        exclude.extend(arguments(line, 1))
        return True

    block(directive, {"except": ("_", read)}, findings)
    return options.BindOptions(place=directive.place, addresses=addresses, exclude=tuple(exclude))


def read_bufsize(directive: Directive, _zones: Zones, findings: Findings) -> options.BufsizeOptions:
    """Read bufsize."""
    texts = bare(directive, findings, 0, 1)
    size = number(texts[0], directive.args[0].place, 512, 4096, "bufsize") if texts else 1232
    return options.BufsizeOptions(place=directive.place, size=size)


def read_timeouts(directive: Directive, _zones: Zones, findings: Findings) -> options.TimeoutsOptions:
    """Read timeouts: at least one of its properties."""
    arguments(directive, 0, 0)
    limit = duration(1, 86400, bare_seconds=True)

    def queries(line: Line) -> int | None:
        (text,) = arguments(line, 1, 1)
        count = number(text, line.args[0].place, -1, None, "maxtcpqueries")
        if not count:
            raise WrongError(line.args[0].place, "maxtcpqueries 0: give a number of queries, or -1 for no limit")
        return None if count < 0 else count

    table = {"read": ("read", limit), "write": ("write", limit), "idle": ("idle", limit), "maxtcpqueries": ("queries", queries)}
    if not directive.lines:
        raise WrongError(directive.place, "timeouts needs a block with at least one of read, write, idle, maxtcpqueries")
    return options.TimeoutsOptions(place=directive.place, **block(directive, table, findings))


def read_process(directive: Directive, _zones: Zones, findings: Findings) -> options.ProcessOptions:
    """Accept a directive that only says how CoreDNS's process runs."""
    findings.warning(directive.place, f"{directive.name} is accepted and has no effect here: it does not change answers")
    return options.ProcessOptions(place=directive.place, name=directive.name)


def read_multisocket(directive: Directive, _zones: Zones, findings: Findings) -> options.ProcessOptions:
    """Accept multisocket: workers are a matter of the process here."""
    for text in bare(directive, findings, 0, 1):
        number(text, directive.args[0].place, 1, 1024, "multisocket")
    text = "multisocket is accepted and has no effect here: one worker reads all packets of a listener in batches"
    findings.warning(directive.place, text)
    return options.ProcessOptions(place=directive.place, name=directive.name)


def _simple(kind: type[options.Options]) -> Reading:
    """Make a reader of a directive that has nothing to set."""

    def read(directive: Directive, _zones: Zones, findings: Findings) -> options.Options:
        bare(directive, findings)
        return kind(place=directive.place)

    return read


def read_loop(directive: Directive, zones: Zones, findings: Findings) -> options.LoopOptions:
    """Read loop: its zone is the block's first."""
    bare(directive, findings)
    return options.LoopOptions(place=directive.place, zone=zones[0] if zones else ".")


def read_local(directive: Directive, _zones: Zones, findings: Findings) -> options.LocalOptions:
    """Read local."""
    arguments(directive, 0, 0)
    fields = block(directive, {"localhost_prefix": ("prefix", choice("on", "off"))}, findings)
    return options.LocalOptions(place=directive.place, prefix=fields.get("prefix", "on") == "on")


read_debug = _simple(options.DebugOptions)
read_any = _simple(options.AnyOptions)
read_minimal = _simple(options.MinimalOptions)
read_whoami = _simple(options.WhoamiOptions)


def read_nsid(directive: Directive, _zones: Zones, findings: Findings) -> options.NsidOptions:
    """Read nsid: its text may be several words."""
    texts = bare(directive, findings, 0, None)
    return options.NsidOptions(place=directive.place, identity=" ".join(texts) or None)


def read_cancel(directive: Directive, _zones: Zones, findings: Findings) -> options.CancelOptions:
    """Read cancel."""
    texts = bare(directive, findings, 0, 1)
    timeout = seconds(texts[0], directive.args[0].place) if texts else 5.001
    if timeout <= 0:
        raise WrongError(directive.args[0].place, f"invalid timeout {texts[0]}: it is longer than 0")
    return options.CancelOptions(place=directive.place, timeout=timeout)


def read_chaos(directive: Directive, _zones: Zones, findings: Findings) -> options.ChaosOptions:
    """Read chaos."""
    texts = bare(directive, findings, 0, None)
    return options.ChaosOptions(place=directive.place, version=texts[0] if texts else "", authors=texts[1:])


def read_header(directive: Directive, _zones: Zones, findings: Findings) -> options.HeaderOptions:
    """Read header; the older form without a selector is refused by name."""
    arguments(directive, 0, 0)
    rules: list[options.HeaderRule] = []
    for line in directive.lines:
        try:
            rules.append(_header_rule(line))
        except WrongError as error:
            findings.wrong(error)
    if not directive.lines:
        raise WrongError(directive.place, "header needs a block with a line such as: response set ra")
    return options.HeaderOptions(place=directive.place, rules=tuple(rules))


def _lowered(token: Token) -> Token:
    return msgspec.structs.replace(token, text=token.text.lower())


def _header_rule(line: Line) -> options.HeaderRule:
    selector = line.name.lower()
    if selector not in {"query", "response"}:
        raise WrongError(line.place, f"unknown selector '{line.name}' of header: write query or response, then set or clear, then flags")
    arguments(line, 2)
    on = one_of(_lowered(line.args[0]), ("set", "clear"), "header") == "set"
    flags = tuple(one_of(_lowered(token), FLAGS, "the flags of header") for token in line.args[1:])
    return options.HeaderRule(selector == "response", on, flags)


def read_loadbalance(directive: Directive, _zones: Zones, findings: Findings) -> options.LoadbalanceOptions:
    """Read loadbalance: only the uniform shuffle is there."""
    for line in directive.lines:
        findings.error(line.place, f"'{line.name}' of loadbalance is supported by CoreDNS, not by this resolver: take it out")
    arguments(directive, 0, 2)
    if directive.args and (name := directive.args[0].text) in {"weighted", "prefer"}:
        raise WrongError(directive.args[0].place, f"loadbalance {name} is supported by CoreDNS, not by this resolver: write round_robin")
    if len(directive.args) > 1 or (directive.args and directive.args[0].text not in {"round_robin", "random"}):
        last = directive.args[-1]
        raise WrongError(last.place, f"unknown policy '{last.text}' of loadbalance: write round_robin or nothing")
    return options.LoadbalanceOptions(place=directive.place)


def read_dns64(directive: Directive, _zones: Zones, findings: Findings) -> options.Dns64Options:
    """Read dns64."""

    def prefix(line: Line | Directive) -> str:
        (text,) = arguments(line, 1, 1)
        try:
            network = ipaddress.IPv6Network(text)
        except ValueError:
            raise WrongError(line.args[0].place, f"'{text}' is not an IPv6 prefix: write it like 64:ff9b::/96") from None
        if network.prefixlen not in {32, 40, 48, 56, 64, 96}:
            raise WrongError(line.args[0].place, f"dns64 prefix {text}: its length is 32, 40, 48, 56, 64 or 96")
        return str(network)

    table = {"prefix": ("prefix", prefix), "translate_all": ("translate_all", flag), "allow_ipv4": ("allow_ipv4", flag)}
    fields = block(directive, table, findings)
    if directive.args:
        fields = {"prefix": prefix(directive), **fields}
    return options.Dns64Options(place=directive.place, **fields)
