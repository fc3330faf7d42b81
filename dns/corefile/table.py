"""Every directive of a server block: its place in the chain, how it is read, or why it is refused (COR-15 to COR-30).

Plugins run in the order of this table, whatever the order in the file: rewrite before cache, cache before hosts and kubernetes, hosts
before kubernetes. A directive that CoreDNS has and this resolver has not is refused by name; one that nobody knows, too; nothing that
changes answers is ever ignored.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache

from pointsman.dns.corefile import read_answers, read_server
from pointsman.dns.corefile.read_cache import read_cache
from pointsman.dns.corefile.read_forward import read_forward
from pointsman.dns.corefile.read_kubernetes import read_kubernetes
from pointsman.dns.corefile.read_server import Reading

READERS: Mapping[str, Reading] = {
    "root": read_server.read_process,
    "cancel": read_server.read_cancel,
    "timeouts": read_server.read_timeouts,
    "multisocket": read_server.read_multisocket,
    "reload": read_server.read_reload,
    "nsid": read_server.read_nsid,
    "bufsize": read_server.read_bufsize,
    "bind": read_server.read_bind,
    "debug": read_server.read_debug,
    "trace": read_server.read_process,
    "ready": read_server.read_ready,
    "health": read_server.read_health,
    "pprof": read_server.read_process,
    "prometheus": read_server.read_prometheus,
    "errors": read_server.read_errors,
    "log": read_server.read_log,
    "local": read_server.read_local,
    "dns64": read_server.read_dns64,
    "any": read_server.read_any,
    "chaos": read_server.read_chaos,
    "loadbalance": read_server.read_loadbalance,
    "rewrite": read_answers.read_rewrite,
    "autopath": read_answers.read_autopath,
    "acl": read_answers.read_acl,
    "cache": read_cache,
    "header": read_server.read_header,
    "minimal": read_server.read_minimal,
    "template": read_answers.read_template,
    "hosts": read_answers.read_hosts,
    "kubernetes": read_kubernetes,
    "loop": read_server.read_loop,
    "forward": read_forward,
    "whoami": read_server.read_whoami,
}
"""The directives that are served, in the order in which their plugins run."""

PLACE_IN_CHAIN: Mapping[str, int] = {name: place for place, name in enumerate(READERS)}

REPEATABLE = frozenset(("forward", "rewrite", "acl", "template", "log", "bind"))
"""Directives that may stand in a block more than once (COR-16)."""

ZONE_TRANSFER = "zone transfers are not served: AXFR and IXFR are answered with REFUSED"
ZONE_FILES = "this resolver serves no zone files: forward the zone to a server that does"
ANOTHER_DATABASE = "forward the zone to a server that has it"
LISTENER = "only plain DNS is listened for, on UDP and TCP: put a proxy in front for encrypted clients"

REFUSED: Mapping[str, str] = {
    "acme": "certificates are not needed, as only plain DNS is listened for",
    "auto": ZONE_FILES,
    "azure": ANOTHER_DATABASE,
    "clouddns": ANOTHER_DATABASE,
    "dnssec": "answers are not signed",
    "dnstap": "use log, or the metrics",
    "erratic": "it is for testing clients",
    "etcd": ANOTHER_DATABASE,
    "file": ZONE_FILES,
    "geoip": "answers do not depend on where a client is",
    "grpc": "use forward with plain DNS or tls://",
    "grpc_server": LISTENER,
    "https": LISTENER,
    "https3": LISTENER,
    "k8s_external": "external addresses of Services are not published as names: serve that zone by CoreDNS and forward it there",
    "metadata": "log and rewrite work without it",
    "nomad": ANOTHER_DATABASE,
    "on": "start other programs by your init system",
    "proxyproto": "clients are told by their own packets",
    "quic": LISTENER,
    "route53": ANOTHER_DATABASE,
    "secondary": ZONE_TRANSFER,
    "shed": "the number of waiting queries is bounded anyway",
    "sign": "answers are not signed",
    "tls": LISTENER,
    "transfer": ZONE_TRANSFER,
    "tsig": "queries are not signed",
    "view": "split server blocks by zone, port or bind",
}
"""What CoreDNS has and this resolver has not, with what to do instead (COR-22)."""

HINTS: Mapping[str, str] = {
    "proxy": "it was removed from CoreDNS 1.5: write forward, with the same zone and upstreams",
    "federation": "federation was removed from Kubernetes: take it out",
    "except": "it is a property of forward: write it into the block of forward",
    "fallthrough": "it is a property of kubernetes, hosts and template: write it into their block",
    "reverse": "it was removed from CoreDNS 1.1: write template",
    "startup": "start other programs by your init system",
    "kubernetai": "an external plugin: write one server block with kubernetes per cluster",
    "upstream": "it was removed from CoreDNS: external names go through the server's own blocks anyway",
    "autopath@kubernetes": "write autopath @kubernetes, with a space",
}
"""Directives that are gone or misplaced (COR-40)."""


@lru_cache(maxsize=256)
def refusal(name: str) -> str:
    """Return why a directive is refused."""
    if name in REFUSED:
        return f"the plugin '{name}' is supported by CoreDNS, not by this resolver: {REFUSED[name]}"
    if name in HINTS:
        return f"Unknown directive '{name}': {HINTS[name]}"
    close = get_close_matches(name, READERS, n=2)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"Unknown directive '{name}': not a CoreDNS plugin{meant}"
