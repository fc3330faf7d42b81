"""The forward directive (FWD-01, FWD-02, FWD-10 to FWD-25)."""

import ipaddress

from pointsman.dns.corefile import options
from pointsman.dns.corefile.findings import Findings, WrongError
from pointsman.dns.corefile.keys import zone, zones
from pointsman.dns.corefile.lexer import Token
from pointsman.dns.corefile.parser import Directive, Line
from pointsman.dns.corefile.values import Reader, arguments, block, choice, duration, flag, integer, number, rcode, seconds
from pointsman.dns.corefile.values import zones as named

UPSTREAMS = 15
"""At most this many, resolv.conf's counted once they are read (FWD-01)."""

ELSEWHERE = {
    "doh_method": "DNS over HTTPS upstreams are supported by CoreDNS, not by this resolver: use tls:// or plain DNS",
    "source_address": "it is supported by CoreDNS, not by this resolver: the routing table chooses the source address",
    "resolver": "it is supported by CoreDNS, not by this resolver: name upstreams by address",
    "upstream": "there is no such property since CoreDNS 1.4: upstreams follow the zone on the line of forward",
    "spray": "it was removed from CoreDNS: failfast_all_unhealthy_upstreams or nothing",
}


def read_forward(directive: Directive, _keys: tuple[str, ...], findings: Findings) -> options.ForwardOptions:
    """Read forward: `forward FROM TO...`, then its block."""
    arguments(directive, 2)
    try:
        own = zones(directive.args[0].text)
    except ValueError as error:
        raise WrongError(directive.args[0].place, str(error)) from None
    if len(own) > 1:
        text = f"forward {directive.args[0].text}: a network cut at octets or nibbles is one zone; this one is {len(own)}"
        raise WrongError(directive.args[0].place, text)
    fields = block(directive, _table(), findings, ELSEWHERE)
    interval = fields.pop("health", None)
    if interval is not None:
        fields |= dict(zip(("health_interval", "health_recursion", "health_domain"), interval, strict=True))
    upstreams: dict[options.Upstream, None] = {}
    for token in directive.args[1:]:
        try:
            upstreams.setdefault(_upstream(token))
        except WrongError as error:
            findings.wrong(error)
    if len(upstreams) > UPSTREAMS:
        findings.error(directive.place, f"more than {UPSTREAMS} TOs configured: {len(upstreams)}; a client never waits for so many")
    made = options.ForwardOptions(place=directive.place, zone=own[0], upstreams=tuple(upstreams), **fields)
    _combinations(made, findings)
    return made


def _combinations(made: options.ForwardOptions, findings: Findings) -> None:
    if made.max_age and made.max_age < made.expire:
        findings.error(made.place, f"max_age ({made.max_age:g}s) must not be less than expire ({made.expire:g}s)")
    if made.tls_server_name and any(upstream.server_name for upstream in made.upstreams):
        findings.error(made.place, "tls_servername and a name after % are both set: keep one of them")
    if made.force_tcp and made.prefer_udp:
        findings.warning(made.place, "force_tcp beats prefer_udp: upstreams are asked over TCP only")


def _one(line: Line) -> str:
    (text,) = arguments(line, 1, 1)
    return text


def _table() -> dict[str, tuple[str, Reader]]:
    return {
        "except": ("exclude", lambda line: named(line.args) if arguments(line, 1) else ()),
        "policy": ("policy", choice("random", "round_robin", "sequential")),
        "force_tcp": ("force_tcp", flag),
        "prefer_udp": ("prefer_udp", flag),
        "max_concurrent": ("max_concurrent", integer()),
        "max_fails": ("max_fails", integer()),
        "max_connect_attempts": ("max_attempts", integer()),
        "health_check": ("health", _health),
        "expire": ("expire", duration()),
        "max_age": ("max_age", duration()),
        "max_idle_conns": ("max_idle", integer()),
        "read_timeout": ("read_timeout", duration(0.001)),
        "tls": ("tls", _certificates),
        "tls_servername": ("tls_server_name", _one),
        "failover": ("failover", _failover),
        "next": ("next", _codes),
        "next_on_nodata": ("next_on_nodata", flag),
        "failfast_all_unhealthy_upstreams": ("fail_fast", flag),
    }


def _upstream(token: Token) -> options.Upstream:
    """Return what a TO argument names (FWD-02)."""
    scheme, separator, rest = token.text.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("dns", token.text)
    if scheme not in {"dns", "tls"}:
        text = f"'{scheme}' is not a destination protocol in forward"
        if scheme == "https":
            text = "DNS over HTTPS is supported by CoreDNS, not by this resolver"
        raise WrongError(token.place, f"{text}: write an address, or tls:// and an address")
    if not separator and "/" in rest:
        return options.Upstream(file=rest)
    host, server_name = rest, ""
    if scheme == "tls":
        host, _, server_name = rest.partition("%")
        if ":" in server_name:  # the port may follow the name
            server_name, _, port = server_name.rpartition(":")
            host = f"[{host}]:{port}" if host.count(":") > 1 and not host.startswith("[") else f"{host}:{port}"
    address, port_text = _host_and_port(host)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        text = f"'{token.text}' is neither an address nor a file: host names as upstreams are not looked up"
        raise WrongError(token.place, f"{text}, write the address or the path of a resolv.conf") from None
    default = 853 if scheme == "tls" else 53
    port_number = number(port_text, token.place, 1, 65535, f"the port of {token.text}:") if port_text else default
    return options.Upstream(address, port_number, scheme, server_name)


def _host_and_port(text: str) -> tuple[str, str]:
    """Split `1.2.3.4:53`, `[::1]:53`, `::1`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, ""


def _health(line: Line) -> tuple[float, bool, str]:
    """Read `health_check DURATION [no_rec] [domain NAME]`."""
    arguments(line, 1, 4)
    interval = seconds(line.args[0].text, line.args[0].place)
    if interval < 0:
        raise WrongError(line.args[0].place, f"health_check can't be negative: {line.args[0].text}")
    recursion, domain = True, "."
    rest = list(line.args[1:])
    while rest:
        token = rest.pop(0)
        if token.text == "no_rec":
            recursion = False
        elif token.text == "domain" and rest:
            name = rest.pop(0)
            try:
                domain = zone(name.text)
            except ValueError as error:
                raise WrongError(name.place, f"health_check: {error}") from None
        else:
            raise WrongError(token.place, f"health_check: unknown option {token.text}: it has no_rec and domain NAME")
    return interval, recursion, domain


def _codes(line: Line) -> tuple[int, ...]:
    """Read response codes to go on with."""
    arguments(line, 1)
    return tuple(rcode(token) for token in line.args)


def _failover(line: Line) -> tuple[int, ...]:
    codes = _codes(line)
    if 0 in codes:
        raise WrongError(line.place, "failover: NOERROR is success, there is nothing to fail over from")
    return codes


def _certificates(line: Line) -> tuple[str, ...]:
    return arguments(line, 0, 3) or ("",)
