"""The cache directive (CAC-01, CAC-10 to CAC-18)."""

from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Findings, WrongError
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.parser import Directive, Line
from pointsman.dns.corefile.values import Fields, arguments, block, choice, duration, flag, number, seconds, zones

SHARDS = 256
LONGEST_RECHECK = 300.0


def read_cache(directive: Directive, keys: tuple[str, ...], findings: Findings) -> options.CacheOptions:
    """Read cache: `cache [TTL] [ZONES]`, then its block."""
    args = directive.args
    success, denial = options.Store(), options.Store(longest=1800)
    if args and args[0].text.lstrip("+-").isdigit():
        most = number(args[0].text, args[0].place, 1, None, "the TTL of cache")
        success, denial, args = options.Store(longest=most), options.Store(longest=most), args[1:]
    own = zones(args, keys)
    off: Fields = {}

    def disable(line: Line) -> bool:
        arguments(line, 1)
        kind = line.args[0].text
        if kind not in {"success", "denial"}:
            raise WrongError(line.args[0].place, f"cache type to disable is success or denial, not '{kind}'")
        off[f"no_{kind}"] = zones(line.args[1:], own)
        return True

    table = {
        "success": ("success", lambda line: _store(line, success)),
        "denial": ("denial", lambda line: _store(line, denial)),
        "prefetch": ("prefetch", _prefetch),
        "serve_stale": ("stale", _stale),
        "serve_stale_policy": ("policy", choice("prefer_positive")),
        "servfail": ("servfail", duration(0, 300)),
        "disable": ("_", disable),
        "keepttl": ("keepttl", flag),
    }
    fields = {"success": success, "denial": denial, **block(directive, table, findings)}
    fields.pop("_", None)
    prefer = fields.pop("policy", None) is not None
    if prefer and "stale" not in fields:
        findings.error(directive.place, "serve_stale_policy needs serve_stale: add the line serve_stale")
    return options.CacheOptions(place=directive.place, zones=own, prefer_positive=prefer, **off, **fields)


def _store(line: Line, default: options.Store) -> options.Store:
    """Read `success CAPACITY [MAX] [MIN]`."""
    arguments(line, 1, 3)
    values = [number(token.text, token.place, least, None, line.name) for token, least in zip(line.args, (1, 1, 0), strict=False)]
    capacity = max(values[0] // SHARDS, 4) * SHARDS
    longest = values[1] if len(values) > 1 else default.longest
    shortest = values[2] if len(values) > 2 else default.shortest
    if len(values) > 2 and shortest > longest:
        raise WrongError(line.args[2].place, f"{line.name}: the shortest TTL ({shortest}) is longer than the longest ({longest})")
    return options.Store(capacity, longest, shortest)


def _prefetch(line: Line) -> options.Prefetch | None:
    """Read `prefetch AMOUNT [DURATION] [PERCENTAGE%]`; an amount of 0 switches it off."""
    arguments(line, 1, 3)
    amount = number(line.args[0].text, line.args[0].place, 0, None, "prefetch")
    gap, percentage = 60.0, 10
    if len(line.args) > 1:
        gap = seconds(line.args[1].text, line.args[1].place)
        if gap <= 0:
            raise WrongError(line.args[1].place, f"prefetch {line.args[1].text}: the duration is longer than 0")
    if len(line.args) > 2:
        text = line.args[2].text
        if not text.endswith("%"):
            raise WrongError(line.args[2].place, f"prefetch {text}: the last character of the percentage is %")
        percentage = number(text[:-1], line.args[2].place, 10, 90, "the percentage of prefetch")
    return options.Prefetch(amount, gap, percentage) if amount else None


def _stale(line: Line) -> options.ServeStale:
    """Read `serve_stale [DURATION] [immediate [TTL] [RECHECK] | verify [TIMEOUT] [TTL] [RECHECK]]`."""
    rest = list(line.args)
    longest = options.HOUR
    if rest and rest[0].text not in {"immediate", "verify"}:
        longest = _positive(rest.pop(0), "the duration of serve_stale", least=0.0)
    mode = rest.pop(0) if rest else None
    if mode is not None and mode.text not in {"immediate", "verify"}:
        raise WrongError(mode.place, f"invalid value for serve_stale refresh mode: {mode.text}; it is immediate or verify")
    verify = mode is not None and mode.text == "verify"
    timeout = _positive(rest.pop(0), "the timeout of verify") if verify and rest else 0.0
    ttl = int(_positive(rest.pop(0), "the TTL of serve_stale")) if rest else 0
    recheck = _positive(rest[0], "the recheck of serve_stale") if rest else 0.0
    if recheck > LONGEST_RECHECK:
        raise WrongError(rest[0].place, f"the recheck of serve_stale is at most 5m, not {rest[0].text}")
    if len(rest) > 1:
        raise WrongError(rest[1].place, f"Wrong argument count or unexpected line ending after '{rest[0].text}'")
    return options.ServeStale(longest, verify, timeout, ttl, recheck)


def _positive(token: Token, name: str, least: float = 0.0) -> float:
    value = seconds(token.text, token.place)
    if value < least:
        raise WrongError(token.place, f"{name} can't be negative: {token.text}")
    return value
