"""Counters of the resolvers as Prometheus' text, under CoreDNS's names and labels, so that its dashboards and alerts go on working. Pure.

Workers count in plain numbers (`dns.tally`); here equal ones are added up and get names, help and labels. The table is the documentation
of what there is: `METRICS` says which labels a metric has, in the order in which those who count give their values. What is not CoreDNS's
begins with `pointsman_dns_`. Buckets come from the samples: they hold how many values fell into each, and the text wants running sums.

`servers` answers scrapes with it. Sources: DNS specification OBS-01 to OBS-25; Prometheus' text format 0.0.4.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.dns.tally import Sample
from pointsman.proxy.dns.former import former


class Metric(Struct, frozen=True):
    """A metric: its type (counter, gauge, histogram), what it tells, and its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


_WHERE = ("server", "zone", "view")
_CACHED = ("server", "zones", "view")
_STORED = ("server", "type", "zones", "view")
_UPSTREAM = ("proxy_name", "to")

METRICS: Final[Mapping[str, Metric]] = {
    "coredns_build_info": Metric("gauge", "Version of the resolver", ("version", "revision", "goversion")),
    "coredns_dns_requests_total": Metric("counter", "DNS requests, by kind", (*_WHERE, "proto", "family", "type")),
    "coredns_dns_request_duration_seconds": Metric("histogram", "Time until the answer, per server and zone", _WHERE),
    "coredns_dns_request_size_bytes": Metric("histogram", "Size of the request", (*_WHERE, "proto")),
    "coredns_dns_response_size_bytes": Metric("histogram", "Size of the response", (*_WHERE, "proto")),
    "coredns_dns_do_requests_total": Metric("counter", "Requests with the DO bit", _WHERE),
    "coredns_dns_responses_total": Metric("counter", "Responses per server, zone, rcode and plugin", (*_WHERE, "rcode", "plugin")),
    "coredns_panics_total": Metric("counter", "Unexpected errors, each answered with SERVFAIL"),
    "coredns_plugin_enabled": Metric("gauge", "Whether a plugin is enabled, per server and zone", (*_WHERE, "name")),
    "coredns_cache_entries": Metric("gauge", "Entries in the cache", _STORED),
    "coredns_cache_hits_total": Metric("counter", "Answers from the cache", _STORED),
    "coredns_cache_evictions_total": Metric("counter", "Entries that made room for others", _STORED),
    "coredns_cache_requests_total": Metric("counter", "Questions to the cache", _CACHED),
    "coredns_cache_misses_total": Metric("counter", "Questions that the cache could not answer", _CACHED),
    "coredns_cache_prefetch_total": Metric("counter", "Entries fetched before their end", _CACHED),
    "coredns_cache_drops_total": Metric("counter", "Responses left out because they answer another question", _CACHED),
    "coredns_cache_served_stale_total": Metric("counter", "Answers from entries past their end", _CACHED),
    "coredns_proxy_request_duration_seconds": Metric("histogram", "Time until an upstream answered", (*_UPSTREAM, "rcode")),
    "coredns_proxy_healthcheck_failures_total": Metric("counter", "Health checks that failed", _UPSTREAM),
    "coredns_proxy_conn_cache_hits_total": Metric("counter", "Connections that were used again", (*_UPSTREAM, "proto")),
    "coredns_proxy_conn_cache_misses_total": Metric("counter", "Connections that had to be made", (*_UPSTREAM, "proto")),
    "coredns_forward_healthcheck_broken_total": Metric("counter", "Queries for which no upstream was healthy"),
    "coredns_forward_max_concurrent_rejects_total": Metric("counter", "Queries refused because too many were under way"),
    "coredns_forward_requests_total": Metric("counter", "Answers of upstreams; the name of before CoreDNS 1.11", ("to",)),
    "coredns_forward_responses_total": Metric("counter", "Answers by rcode; the name of before CoreDNS 1.11", ("to", "rcode")),
    "coredns_forward_request_duration_seconds": Metric(
        "histogram", "Time until an upstream answered; the name of before CoreDNS 1.11", ("to", "rcode")
    ),
    "coredns_forward_healthcheck_failures_total": Metric(
        "counter", "Health checks that failed; the name of before CoreDNS 1.11", ("to",)
    ),
    "coredns_kubernetes_dns_programming_duration_seconds": Metric(
        "histogram", "Time from a change of endpoints to its being answered", ("service_kind",)
    ),
    "coredns_health_request_duration_seconds": Metric("histogram", "Time of the check of one's own health"),
    "coredns_health_request_failures_total": Metric("counter", "Failures of the check of one's own health"),
    "coredns_hosts_entries": Metric("gauge", "Entries of the hosts plugin"),
    "coredns_hosts_reload_timestamp_seconds": Metric("gauge", "When the hosts file was read last"),
    "coredns_reload_failed_total": Metric("counter", "Corefiles that could not be taken over"),
    "coredns_reload_version_info": Metric("gauge", "Fingerprint of the Corefile in force", ("hash", "value")),
    "coredns_autopath_success_total": Metric("counter", "Search paths walked for the client", ("server",)),
    "coredns_dns64_requests_translated_total": Metric("counter", "Requests answered by dns64 with addresses made of IPv4", ("server",)),
    "coredns_local_localhost_requests_total": Metric("counter", "Requests for localhost under a domain"),
    "coredns_acl_blocked_requests_total": Metric("counter", "Requests refused by acl", _WHERE),
    "coredns_acl_filtered_requests_total": Metric("counter", "Requests answered with nothing by acl", _WHERE),
    "coredns_acl_allowed_requests_total": Metric("counter", "Requests let pass by acl", ("server", "view")),
    "coredns_acl_dropped_requests_total": Metric("counter", "Requests dropped by acl", _WHERE),
    "coredns_template_matches_total": Metric("counter", "Requests that a template matched", ("server", "zone", "view", "class", "type")),
    "coredns_template_rr_failures_total": Metric(
        "counter", "Templates that gave no record", ("server", "zone", "view", "class", "type", "section", "template")
    ),
    "coredns_nodecache_setup_errors_total": Metric(
        "counter", "Attempts to set the node up for DNS that failed; beside the agent only", ("errortype",)
    ),
    "process_resident_memory_bytes": Metric("gauge", "Resident memory of the resolvers"),
    "process_virtual_memory_bytes": Metric("gauge", "Virtual memory of the resolvers"),
    "process_cpu_seconds_total": Metric("counter", "Processor time of the resolvers"),
    "process_open_fds": Metric("gauge", "Open file descriptors of the resolvers"),
    "process_max_fds": Metric("gauge", "Most file descriptors that the resolvers may have open"),
    "process_start_time_seconds": Metric("gauge", "When the resolver was started"),
    "pointsman_dns_serving": Metric("gauge", "Whether a worker reads its sockets", ("worker",)),
    "pointsman_dns_synced": Metric("gauge", "Whether the cluster's objects have been read; 0 also while a saved state stands in"),
    "pointsman_dns_stale": Metric("gauge", "Whether answers come from a state that an earlier process saved"),
    "pointsman_dns_restarts_total": Metric("counter", "Resolvers that ended and were started again"),
    "pointsman_dns_last_change_timestamp_seconds": Metric("gauge", "When the resolvers were last told of a change"),
    "pointsman_dns_waiting_services": Metric("gauge", "Services whose change waits for the rules of this node"),
    "pointsman_dns_rate_limited_total": Metric("counter", "Queries dropped by the limit per client"),
    "pointsman_dns_lost_replies_total": Metric("counter", "Replies over UDP that the kernel did not take"),
    "pointsman_dns_search_walks_total": Metric("counter", "Steps of search paths, by what became of them", ("result",)),
    "pointsman_dns_forward_loop": Metric("gauge", "Whether an upstream leads back here and is left out", ("zone", "to")),
}
"""Everything that may be told, and in which order."""


def render(samples: Iterable[Sample]) -> bytes:
    """Return the text for samples of all workers; those that stand for the same thing are added up."""
    found: dict[str, dict[tuple[str, ...], Sample]] = {}
    given = tuple(samples)
    for each in (*_ZEROS, *given, *former(given)):
        rows = found.setdefault(each.metric, {})
        before = rows.get(each.labels)
        rows[each.labels] = each if before is None else _sum(before, each)
    known = [name for name in METRICS if name in found]
    lines: list[str] = []
    for name in (*known, *(name for name in found if name not in METRICS)):
        lines += _metric(name, METRICS.get(name), found[name])
    return "".join(f"{line}\n" for line in lines).encode()


def _sum(one: Sample, other: Sample) -> Sample:
    if METRICS.get(one.metric, _PLAIN).kind == "gauge" and one.metric in _SAME:
        return other
    return Sample(one.metric, one.labels, tuple(map(sum, zip(one.values, other.values, strict=True))), one.bounds)


_PLAIN = Metric("counter", "")
_SAME = frozenset({
    "coredns_build_info", "coredns_plugin_enabled", "coredns_reload_version_info", "coredns_hosts_entries",
    "coredns_hosts_reload_timestamp_seconds", "process_start_time_seconds",
})  # fmt: skip
"""What every worker tells alike: it is not added up."""
_ZEROS = tuple(
    Sample(name, (), (0.0,)) for name, one in METRICS.items() if name.startswith("coredns_") and one.kind == "counter" and not one.labels
)
"""Counters that are told from the start, as CoreDNS does, so that the first event is an increase for who looks at rates."""


def _metric(name: str, metric: Metric | None, rows: Mapping[tuple[str, ...], Sample]) -> Iterator[str]:
    first = next(iter(rows.values()))
    kind = metric.kind if metric is not None else ("histogram" if first.bounds else "untyped")
    yield f"# HELP {name} {metric.help if metric is not None else 'Counted by a plugin'}."
    yield f"# TYPE {name} {kind}"
    for values, sample in sorted(rows.items()):
        labels = metric.labels if metric is not None else tuple(f"label{place}" for place in range(len(values)))
        pairs = [f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=False)]
        yield from _histogram(name, pairs, sample) if sample.bounds else [f"{name}{_braced(pairs)} {_number(sample.values[0])}"]


def _histogram(name: str, pairs: list[str], sample: Sample) -> Iterator[str]:
    running = 0.0
    for bound, count in zip((*map(_number, sample.bounds), "+Inf"), sample.values[:-1], strict=True):
        running += count
        limit = f'le="{bound}"'
        yield f"{name}_bucket{_braced([*pairs, limit])} {_number(running)}"
    yield f"{name}_sum{_braced(pairs)} {_number(sample.values[-1])}"
    yield f"{name}_count{_braced(pairs)} {_number(running)}"


def _braced(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
