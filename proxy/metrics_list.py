"""Every metric that the agent offers, as data: name, type, labels, meaning.

The first part carries kube-proxy's names, types, labels and buckets, so that its dashboards and alerts go on (docs/services.md MET-01 to
MET-16); what describes only one mode is offered only in that mode. The second part is ours and begins with `pointsman_`. `metrics` fills in
values and refuses what is not listed here; docs/metrics.md lists the same, and a test compares.

A counter's name ends with `_total`. Times are seconds, moments are seconds since the epoch.
"""

from enum import Enum
from typing import Final

from msgspec import Struct

FAMILY: Final = ("ip_family",)
_SERVICE: Final = ("namespace", "port", "protocol", "service")
_FLOWS: Final = ("class", "ip_family", "protocol")


class MetricType(Enum):
    """Prometheus' types that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(Struct, frozen=True):
    """One metric; `modes` are those in which it is offered, none = all."""

    name: str
    type: MetricType
    text: str
    labels: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


def _counter(name: str, text: str, labels: tuple[str, ...] = (), modes: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricType.COUNTER, text, labels, modes)


def _gauge(name: str, text: str, labels: tuple[str, ...] = (), modes: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricType.GAUGE, text, labels, modes)


def _histogram(name: str, text: str, labels: tuple[str, ...] = (), modes: tuple[str, ...] = ()) -> Metric:
    return Metric(name, MetricType.HISTOGRAM, text, labels, modes)


_SYNC = "kubeproxy_sync_proxy_rules_"
_IPTABLES: Final = ("iptables",)

KUBE_PROXYS: Final = (
    _histogram(f"{_SYNC}duration_seconds", "How long a run of the reconcile loop took", FAMILY),
    _histogram("kubeproxy_sync_full_proxy_rules_duration_seconds", "The same, of runs that read the kernel", FAMILY, _IPTABLES),
    _histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds", "The same, of runs that only wrote changes", FAMILY, _IPTABLES),
    _gauge(f"{_SYNC}last_timestamp_seconds", "When a run last went well", FAMILY),
    _gauge(f"{_SYNC}last_queued_timestamp_seconds", "When a change last came", FAMILY),
    _histogram("kubeproxy_network_programming_duration_seconds", "From the decision on a change of endpoints to the kernel", FAMILY),
    _gauge(f"{_SYNC}endpoint_changes_pending", "Changes of EndpointSlices that some family has not applied"),
    _counter(f"{_SYNC}endpoint_changes_total", "Changes of EndpointSlices"),
    _gauge(f"{_SYNC}service_changes_pending", "Changes of Services that some family has not applied"),
    _counter(f"{_SYNC}service_changes_total", "Changes of Services"),
    _gauge(
        f"{_SYNC}no_local_endpoints_total",
        "Service ports with traffic policy Local and usable endpoints, none of them on this node",
        ("ip_family", "traffic_policy"),
    ),
    _gauge(f"{_SYNC}iptables_total", "Rules that are wanted in a table", ("ip_family", "table"), _IPTABLES),
    _gauge(f"{_SYNC}iptables_last", "Rules that the last write wrote into a table", ("ip_family", "table"), _IPTABLES),
    _counter(f"{_SYNC}iptables_restore_failures_total", "Writes that failed, wholly or in part", FAMILY, ("iptables", "ipvs")),
    _counter(f"{_SYNC}iptables_partial_restore_failures_total", "The same, of runs that only wrote changes", FAMILY, _IPTABLES),
    _histogram(
        "kubeproxy_conntrack_reconciler_sync_duration_seconds",
        "How long a comparison of tracked connections with the Services took",
        FAMILY,
    ),
    _counter(
        "kubeproxy_conntrack_reconciler_deleted_entries_total", "Flows deleted because they went where new ones would not", FAMILY
    ),
    _counter("kubeproxy_proxy_healthz_total", "Answers of /healthz", ("code",)),
    _counter("kubeproxy_proxy_livez_total", "Answers of /livez", ("code",)),
    _counter(
        "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
        "Forwarded packets dropped because connection tracking calls them invalid",
        modes=_IPTABLES,
    ),
    _counter(
        "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
        "Connections that were opened to node ports on loopback addresses",
        modes=_IPTABLES,
    ),
    _counter("rest_client_requests_total", "Requests to the API server; code <error> if none was answered", ("code", "host", "method")),
    _histogram("rest_client_request_duration_seconds", "From a request to the API server to its answer's headers", ("host", "verb")),
    _gauge(
        "kubernetes_build_info",
        "Always 1; which release of kube-proxy this takes the place of, and what it runs on",
        ("build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor", "platform"),
    ),
    _gauge("kubernetes_feature_enabled", "1 if what a feature gate switched is on, which here it always is", ("name", "stage")),
    _counter("registered_metrics_total", "Metrics that are offered", ("deprecated_version", "stability_level")),
    _gauge("go_goroutines", "Tasks of the event loop, which are to this program what goroutines are to kube-proxy"),
    _gauge("go_threads", "Threads of the process"),
)
"""kube-proxy's; MET-01 to MET-16."""

OURS: Final = (
    _gauge("pointsman_build_info", "Always 1; version, mode, and the variant of the mode's tools", ("mode", "variant", "version")),
    _gauge("pointsman_revision_wanted", "Revision of the objects that the kernel shall follow", FAMILY),
    _gauge("pointsman_revision_applied", "Revision that the kernel follows", FAMILY),
    _gauge("pointsman_healthy", "1 if nothing has been owed for longer than two sync periods, as /livez tells", FAMILY),
    _gauge("pointsman_in_sync", "1 if the kernel holds just what is wanted, without exception", FAMILY),
    _gauge("pointsman_in_sync_since_timestamp_seconds", "Since when; absent while it is not", FAMILY),
    _gauge("pointsman_pending_keys", "Objects of the kernel that differ from what is wanted", FAMILY),
    _gauge("pointsman_pending_seconds", "Age of the oldest change that is not applied", FAMILY),
    _gauge("pointsman_failing_keys", "Objects that the kernel does not take; they are tried again", FAMILY),
    _gauge("pointsman_stalled_seconds", "For how long the loop has owed a run, or a reading of the kernel", FAMILY),
    _gauge("pointsman_kernel_read_timestamp_seconds", "When the kernel was last read and compared", FAMILY),
    _counter("pointsman_kernel_writes_total", "Writes to the kernel", FAMILY),
    _gauge("pointsman_kernel_objects", "What is wanted in the kernel: rules by table, elements of sets, servers", ("ip_family", "kind")),
    _counter("pointsman_foreign_changes_total", "Changes by others that were noticed where our objects are", FAMILY),
    _counter("pointsman_repaired_keys_total", "Objects of ours that others had changed, and that were repaired", FAMILY),
    _gauge("pointsman_conntrack_entries", "Connections that the kernel tracks"),
    _gauge("pointsman_conntrack_limit", "Connections that it can track; beyond that it drops new ones"),
    _gauge("pointsman_objects", "Objects of the cluster that are known", ("kind",)),
    _gauge("pointsman_service_ports", "Service ports that are routed", FAMILY),
    _gauge("pointsman_backends", "Endpoints that take connections of this node, counted by Service port", FAMILY),
    _gauge("pointsman_notices", "Things that an operator should look at: refused, or suspicious", ("severity",)),
    _gauge("pointsman_problems", "Inputs that cannot be used"),
    _gauge("pointsman_node_eligible", "1 if load balancers may send to this node, as /healthz tells"),
    _gauge("pointsman_health_check_node_ports", "Ports of healthCheckNodePort that are open, or cannot be opened", ("state",)),
    _gauge("pointsman_draining_endpoints", "Endpoints that are gone and still have connections", modes=("ipvs",)),
    _gauge("pointsman_draining_connections", "The connections they have", modes=("ipvs",)),
    _counter("pointsman_conntrack_deleted_flows_total", "The flows that were deleted, by what was wrong with them", _FLOWS),
    _gauge("pointsman_conntrack_flows", "Flows of protocols that are looked at, as the last comparison found them", _FLOWS),
    _gauge("pointsman_conntrack_tombstones", "Frontends that are no more and whose flows are still looked for", FAMILY),
    _counter("pointsman_conntrack_counted_total", "What the kernel counted of connection tracking, over all CPUs", ("what",)),
    _counter("pointsman_service_connections_total", "Connections per Service port, the busiest hundred by name", _SERVICE),
    _counter("pointsman_service_bytes_total", "Bytes per Service port", ("direction", *_SERVICE), ("ipvs",)),
    _gauge("pointsman_service_skew", "The busiest endpoint's share of a Service port's connections over the fair one", _SERVICE),
    _counter("pointsman_events_total", "Events told to the API server, by what became of them", ("outcome",)),
)
"""Ours."""

METRICS: Final = (*KUBE_PROXYS, *OURS)


def offered(mode: str) -> tuple[Metric, ...]:
    """Return the metrics of a mode (MET-16)."""
    return tuple(metric for metric in METRICS if not metric.modes or mode in metric.modes)
