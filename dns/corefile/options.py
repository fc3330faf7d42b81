"""What each plugin is set to: one value per directive, with CoreDNS's defaults (DNS specification sections 1.2, 3.5, 4).

Readers make these from directives; chains and the server read them and nothing else of a Corefile. Zones are text as in `keys`, times are
seconds, patterns are Python's (already translated and tried). Every plugin's settings say where they stand, for messages later on.
"""

from msgspec import Struct
from pointsman.dns.corefile.findings import Place
from pointsman.dns.corefile.places import Part

HOUR = 3600.0


class Options(Struct, frozen=True, kw_only=True):
    """What all have in common: where the directive stands."""

    place: Place

    @property
    def directive(self) -> str:
        """Return the directive's name in a Corefile."""
        return getattr(self, "name", "") or type(self).__name__.removesuffix("Options").lower()


class Fallthrough(Struct, frozen=True):
    """For which zones a plugin hands on what it does not know; no zones means all of the plugin's."""

    zones: tuple[str, ...] = ()


class Consolidation(Struct, frozen=True):
    """Errors that are told once per period: which, and at which level."""

    period: float
    pattern: str
    source: str
    level: str = "error"
    show_first: bool = False


class ErrorsOptions(Options, frozen=True):
    """errors: tell of failures (OBS-44)."""

    stacktrace: bool = False
    consolidate: tuple[Consolidation, ...] = ()


class HealthOptions(Options, frozen=True):
    """health: where /health is served, and how long a stopping process goes on (OBS-30)."""

    address: str = ":8080"
    lameduck: float = 0.0


class ReadyOptions(Options, frozen=True):
    """ready: where /ready is served, and whether a plugin is asked again (OBS-31)."""

    address: str = ":8181"
    monitor: str = "until-ready"


class PrometheusOptions(Options, frozen=True):
    """prometheus: where /metrics is served."""

    address: str = "localhost:9153"


class LogOptions(Options, frozen=True):
    """log: which queries are told, and how (OBS-42, OBS-43)."""

    zones: tuple[str, ...]
    format: str
    classes: frozenset[str] = frozenset({"all"})


class ReloadOptions(Options, frozen=True):
    """reload: how often the Corefile is compared (OBS-50)."""

    interval: float = 30.0
    jitter: float = 15.0


class BindOptions(Options, frozen=True):
    """bind: addresses or interface names to listen on, and those not to (COR-14)."""

    addresses: tuple[str, ...]
    exclude: tuple[str, ...] = ()


class BufsizeOptions(Options, frozen=True):
    """bufsize: the largest UDP size that a client may ask for (WIR-35)."""

    size: int = 1232


class LoopOptions(Options, frozen=True):
    """loop: look for upstreams that lead back here, by names of the block's first zone (LOP-01)."""

    zone: str = "."


class TimeoutsOptions(Options, frozen=True):
    """timeouts: limits of TCP connections (WIR-45); None is the default of the server."""

    read: float | None = None
    write: float | None = None
    idle: float | None = None
    queries: int | None = None


class ProcessOptions(Options, frozen=True):
    """A directive that only says how CoreDNS runs: debug, pprof, trace, multisocket, root; accepted without effect on answers."""

    name: str


class DebugOptions(Options, frozen=True):
    """debug: write debug lines."""


class NsidOptions(Options, frozen=True):
    """nsid: name of this server for clients that ask; None is the host's name."""

    identity: str | None = None


class CancelOptions(Options, frozen=True):
    """cancel: how long a query may take in all."""

    timeout: float = 5.001


class LocalOptions(Options, frozen=True):
    """local: answer localhost and the zones of the loopback address; `prefix`: also `localhost` below any domain."""

    prefix: bool = True


class AnyOptions(Options, frozen=True):
    """any: answer ANY with RFC 8482's HINFO (WIR-60)."""


class MinimalOptions(Options, frozen=True):
    """minimal: leave out what a positive answer does not need (WIR-61)."""


class WhoamiOptions(Options, frozen=True):
    """whoami: tell the client its address."""


class ChaosOptions(Options, frozen=True):
    """chaos: version and authors for class CH (WIR-09)."""

    version: str = ""
    authors: tuple[str, ...] = ()


class HeaderRule(Struct, frozen=True):
    """Flags to set or to clear in the query or the response."""

    response: bool
    set: bool
    flags: tuple[str, ...]


class HeaderOptions(Options, frozen=True):
    """header: rules in the order in which they act (WIR-61)."""

    rules: tuple[HeaderRule, ...]


class LoadbalanceOptions(Options, frozen=True):
    """loadbalance: shuffle addresses (WIR-50)."""


class NameMatch(Struct, frozen=True):
    """Which names a rewrite rule is for: kind (exact, prefix, suffix, substring, regex) and text or pattern."""

    kind: str
    text: str


class AnswerRewrite(Struct, frozen=True):
    """How names of the answer are rewritten: `auto`, or by pattern in owners (`name`) or in values (`value`)."""

    kind: str
    pattern: str = ""
    to: str = ""


class RewriteRule(Struct, frozen=True):
    """One rule of rewrite; which fields are used depends on `field`: name, type, class, ttl, rcode, cname."""

    field: str
    place: Place
    further: bool = False
    match: NameMatch | None = None
    to: str = ""
    numbers: tuple[int, ...] = ()
    answers: tuple[AnswerRewrite, ...] = ()


class RewriteOptions(Options, frozen=True):
    """rewrite: one directive's rule (a block may hold several lines that make one name rule)."""

    rules: tuple[RewriteRule, ...]


class AutopathOptions(Options, frozen=True):
    """autopath: for names of these zones, walk the search path here; `source` is a resolv.conf file or @kubernetes (SRC-10)."""

    zones: tuple[str, ...]
    source: str


class AclRule(Struct, frozen=True):
    """One rule of acl: what happens to queries of these types (none: all) from these networks (none: everywhere)."""

    action: str
    types: frozenset[int] = frozenset()
    networks: tuple[str, ...] = ()


class AclOptions(Options, frozen=True):
    """acl: the first rule that fits decides (WIR-61)."""

    zones: tuple[str, ...]
    rules: tuple[AclRule, ...]


class Store(Struct, frozen=True):
    """One of the cache's two stores: entries, and bounds of lifetimes in seconds."""

    capacity: int = 9984
    longest: int = 3600
    shortest: int = 5


class Prefetch(Struct, frozen=True):
    """When an entry is refreshed early (CAC-50): hits, longest gap between them, and share of its lifetime that is left, in percent."""

    amount: int
    gap: float = 60.0
    percentage: int = 10


class ServeStale(Struct, frozen=True):
    """How expired entries are used (CAC-51)."""

    duration: float = HOUR
    verify: bool = False
    timeout: float = 0.0
    ttl: int = 0
    recheck: float = 0.0


class CacheOptions(Options, frozen=True):
    """cache: see section 4.2 of the specification (CAC-01 to CAC-60)."""

    zones: tuple[str, ...]
    success: Store = Store()
    denial: Store = Store(longest=1800)
    prefetch: Prefetch | None = None
    stale: ServeStale | None = None
    prefer_positive: bool = False
    servfail: float = 5.0
    no_success: tuple[str, ...] = ()
    no_denial: tuple[str, ...] = ()
    keepttl: bool = False


class TemplateRecord(Struct, frozen=True):
    """A record to be made: section, and its text in turn with the places where fields of the query go in."""

    section: str
    parts: tuple[Part, ...]


class TemplateOptions(Options, frozen=True):
    """template: replies made from the query. `rclass` and `rtype` 255 are any."""

    rclass: int
    rtype: int
    zones: tuple[str, ...]
    matches: tuple[str, ...] = (".*",)
    records: tuple[TemplateRecord, ...] = ()
    rcode: int = 0
    ederror: tuple[int, str] | None = None
    fallthrough: Fallthrough | None = None


class HostsOptions(Options, frozen=True):
    """hosts: names and addresses from a file and from the Corefile."""

    file: str = "/etc/hosts"
    zones: tuple[str, ...] = (".",)
    inline: tuple[str, ...] = ()
    ttl: int = 3600
    no_reverse: bool = False
    reload: float = 5.0
    fallthrough: Fallthrough | None = None
    fallthrough_unsupported: bool = False


class KubernetesOptions(Options, frozen=True):
    """kubernetes: zones and how records are made (REC-12 to REC-22)."""

    zones: tuple[str, ...]
    ttl: int = 5
    pods: str = "disabled"
    fallthrough: Fallthrough | None = None
    endpoint_pod_names: bool = False
    ignore_empty: bool = False
    namespaces: tuple[str, ...] = ()
    labels: str = ""
    namespace_labels: str = ""
    endpoints: bool = True
    startup_timeout: float = 5.0
    multicluster: tuple[str, ...] = ()
    zonal: bool = False
    server: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    kubeconfig: tuple[str, ...] = ()


class Upstream(Struct, frozen=True):
    """A place to forward to: an address with its port and transport (dns or tls), the TLS name, or a resolv.conf file (`file`)."""

    address: str = ""
    port: int = 53
    transport: str = "dns"
    server_name: str = ""
    file: str = ""


class ForwardOptions(Options, frozen=True):
    """forward: see section 4.1 of the specification (FWD-01 to FWD-41)."""

    zone: str
    upstreams: tuple[Upstream, ...]
    exclude: tuple[str, ...] = ()
    policy: str = "random"
    force_tcp: bool = False
    prefer_udp: bool = False
    max_concurrent: int = 0
    max_fails: int = 2
    health_interval: float = 0.5
    health_recursion: bool = True
    health_domain: str = "."
    expire: float = 10.0
    max_age: float = 0.0
    max_idle: int = 0
    read_timeout: float = 2.0
    max_attempts: int | None = None
    tls: tuple[str, ...] = ()
    tls_server_name: str = ""
    failover: tuple[int, ...] = ()
    next: tuple[int, ...] = ()
    next_on_nodata: bool = False
    fail_fast: bool = False


class Dns64Options(Options, frozen=True):
    """dns64: make AAAA from A (RFC 6147)."""

    prefix: str = "64:ff9b::/96"
    translate_all: bool = False
    allow_ipv4: bool = False
