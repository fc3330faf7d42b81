"""What a scrape answers: the agent's state as Prometheus metrics.

Nothing is counted for the sake of metrics that is not known anyway. `gather` takes a picture on the event loop, in about a millisecond:
immutable values, copies of a few dozen numbers. `render` turns it into text in a thread, where counting 10,000 Services takes its time
without anybody waiting; what it counted is kept for the next scrape, if nothing has changed by then (`Recount`). `metrics_list` says what
there is; a sample that is not listed there is a defect. prometheus_client writes the text.

Sources: docs/services.md MET-01 to MET-16. `metrics_server` calls this.
"""

import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from pointsman.conntrack.classify import FlowClass
from pointsman.explain.tally import Name, Total
from pointsman.iptables.counters import INVALID_DROPPED, LOOPBACK_ACCEPTED
from pointsman.kube.objects import Kind
from pointsman.proxy import gates, version
from pointsman.proxy.flow_meters import TrackingPicture
from pointsman.proxy.health import Health
from pointsman.proxy.histogram import Histogram
from pointsman.proxy.metrics_list import METRICS, Metric, MetricType, offered
from pointsman.proxy.mode import Loop
from pointsman.proxy.report import View
from pointsman.proxy.status import FamilyStatus
from pointsman.routing.route import Family, Missing, Routing, Severity
from pointsman.routing.snapshot import Snapshot

if TYPE_CHECKING:
    from prometheus_client import Metric as Rendered

TABLES = ("filter", "nat")
"""Tables whose rules kube-proxy counts."""

Sample = tuple[tuple[str, ...], float | Histogram]
"""Values of the labels in the order of the metric's list, and the value."""


class FamilyPicture(Struct, frozen=True):
    """One family: its status, copies of its histograms, other counts, and how to count what is wanted in its kernel."""

    family: Family
    status: FamilyStatus
    healthy: bool
    full: Histogram
    partial: Histogram
    programming: Histogram
    failures: tuple[int, int]
    written: Mapping[str, int]
    census: Callable[[], Mapping[str, int]]


class Picture(Struct, frozen=True):
    """Everything that the metrics tell of, at one moment."""

    view: View
    health: Health
    families: tuple[FamilyPicture, ...]
    answers: Mapping[tuple[str, int], int]
    changes: tuple[int, int, int, int]
    tasks: int = 0
    counted: Mapping[str, int] = {}
    requests: Mapping[tuple[str, str, str], int] = {}
    durations: Mapping[tuple[str, str], Histogram] = {}
    ports: Mapping[str, int] = {}
    events: Mapping[str, int] = {}
    tracked: tuple[int, int] = (0, 0)
    routing_census: Callable[[], Mapping[str, int]] = dict
    tracking: TrackingPicture = TrackingPicture()
    traffic: Mapping[Name, Total] = {}


class Recount:
    """What a scrape counted, kept until something has changed; two scrapes at once may count twice, and find the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Mapping[str, int]]] = {}

    def count(self, name: str, key: object, prepare: Callable[[], Callable[[], Mapping[str, int]]]) -> Callable[[], Mapping[str, int]]:
        """Return what gives the numbers: those of the last time if `key` is the same, else the work that `prepare` returns."""
        known = self._known.get(name)
        if known is not None and known[0] == key:
            return lambda: known[1]
        work = prepare()

        def counted() -> Mapping[str, int]:
            found = work()
            self._known[name] = (key, found)
            return found

        return counted


def routing_census(routing: Routing | None, *, by_service: bool = False) -> Mapping[str, int]:
    """Return, by family, how many Service ports are routed, how many backends they reach, and how many lack local ones (MET-06).

    Those that lack local ones are counted by Service port, or by Service, as kube-proxy does in the ipvs mode.
    """
    found: Counter[str] = Counter()
    lacking: set[tuple[str, object]] = set()
    for key, route in routing.routes.items() if routing else ():
        family = key.family.value
        found[f"ports {family}"] += 1
        found[f"backends {family}"] += len(route.reachable)
        who = (key.port_name.namespace, key.port_name.name) if by_service else key.port_name
        if route.internal_local and route.internal_missing is Missing.DROP:
            lacking.add((f"internal {family}", who))
        if route.external_local and route.externally_accessible and route.external_missing is Missing.DROP:
            lacking.add((f"external {family}", who))
    found.update(name for name, _ in lacking)
    return found


def family_picture(family: Family, loop: Loop, status: FamilyStatus, recount: Recount, timeout: float) -> FamilyPicture:
    """Return the picture of one family; `timeout` is in seconds."""
    meters = loop.progress.meters
    key = (status.apply.total, status.revision_wanted, status.revision_applied)
    return FamilyPicture(
        family=family,
        status=status,
        healthy=status.late_seconds <= timeout,
        full=meters.full.copy(),
        partial=meters.partial.copy(),
        programming=meters.programming.copy(),
        failures=(meters.full_failures, meters.partial_failures),
        written=meters.written,
        census=recount.count(f"kernel {family.value}", key, loop.census),
    )


def samples(picture: Picture) -> Iterator[tuple[str, Sample]]:
    """Yield every sample with the name of its metric."""
    yield from _about_the_process(picture)
    yield from _about_the_input(picture)
    yield from _about_the_api(picture)
    yield from _about_flows(picture.tracking)
    yield from _about_traffic(picture)
    for one in picture.families:
        yield from _about_runs(one)
        yield from _about_the_kernel(one)


def _about_traffic(picture: Picture) -> Iterator[tuple[str, Sample]]:
    for (namespace, service, port, protocol), total in picture.traffic.items():
        name = (namespace, port, protocol, service)
        yield "pointsman_service_connections_total", (name, total.connections)
        if total.skew is not None:
            yield "pointsman_service_skew", (name, total.skew)
        yield "pointsman_service_bytes_total", (("in", *name), total.bytes_in)
        yield "pointsman_service_bytes_total", (("out", *name), total.bytes_out)


def _about_flows(tracking: TrackingPicture) -> Iterator[tuple[str, Sample]]:
    for family, meters in tracking.families.items():
        labels = (family.value,)
        yield "kubeproxy_conntrack_reconciler_sync_duration_seconds", (labels, meters.looks)
        yield "kubeproxy_conntrack_reconciler_deleted_entries_total", (labels, meters.deleted.total())
        yield "pointsman_conntrack_tombstones", (labels, meters.tombstones)
        for protocol in meters.seen:
            for kind in FlowClass:
                of_class = (kind.value, family.value, protocol.value)
                yield "pointsman_conntrack_flows", (of_class, meters.seen[protocol][kind])
                yield "pointsman_conntrack_deleted_flows_total", (of_class, meters.deleted[protocol, kind])
    yield from (("pointsman_conntrack_counted_total", ((what,), count)) for what, count in tracking.counted.items())


def _about_runs(one: FamilyPicture) -> Iterator[tuple[str, Sample]]:
    family, status = (one.family.value,), one.status
    yield "kubeproxy_sync_proxy_rules_duration_seconds", (family, one.full + one.partial)
    yield "kubeproxy_sync_full_proxy_rules_duration_seconds", (family, one.full)
    yield "kubeproxy_sync_partial_proxy_rules_duration_seconds", (family, one.partial)
    yield "kubeproxy_network_programming_duration_seconds", (family, one.programming)
    yield "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", (family, sum(one.failures))
    yield "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", (family, one.failures[1])
    moments = {
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds": status.synced_at,
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds": status.queued_at,
        "pointsman_in_sync_since_timestamp_seconds": status.in_sync_since,
        "pointsman_kernel_read_timestamp_seconds": status.read_at,
    }
    yield from ((name, (family, moment.timestamp())) for name, moment in moments.items() if moment is not None)
    numbers = {
        "pointsman_revision_wanted": status.revision_wanted,
        "pointsman_revision_applied": status.revision_applied,
        "pointsman_healthy": one.healthy,
        "pointsman_in_sync": status.in_sync_since is not None,
        "pointsman_pending_keys": status.pending_keys,
        "pointsman_pending_seconds": status.pending_seconds,
        "pointsman_failing_keys": status.failing_keys,
        "pointsman_stalled_seconds": status.stalled_seconds,
        "pointsman_kernel_writes_total": status.apply.total,
        "pointsman_foreign_changes_total": status.foreign.noticed,
        "pointsman_repaired_keys_total": status.foreign.repaired_keys,
    }
    yield from ((name, (family, float(number))) for name, number in numbers.items() if number is not None)


def _about_the_kernel(one: FamilyPicture) -> Iterator[tuple[str, Sample]]:
    family, census = one.family.value, one.census()
    yield from (("pointsman_kernel_objects", ((family, kind), count)) for kind, count in census.items())
    for table in TABLES:
        yield "kubeproxy_sync_proxy_rules_iptables_total", ((family, table), census.get(table, 0))
        yield "kubeproxy_sync_proxy_rules_iptables_last", ((family, table), one.written.get(table, 0))


def _about_the_input(picture: Picture) -> Iterator[tuple[str, Sample]]:
    names = ("service_changes_total", "endpoint_changes_total", "service_changes_pending", "endpoint_changes_pending")
    for name, number in zip(names, picture.changes, strict=True):
        yield f"kubeproxy_sync_proxy_rules_{name}", ((), number)
    yield from (("pointsman_objects", ((kind.value,), count)) for kind, count in _objects(picture.view.snapshot).items())
    census = picture.routing_census()
    for one in picture.families:
        family = one.family.value
        yield "pointsman_service_ports", ((family,), census.get(f"ports {family}", 0))
        yield "pointsman_backends", ((family,), census.get(f"backends {family}", 0))
        for policy in ("internal", "external"):
            yield "kubeproxy_sync_proxy_rules_no_local_endpoints_total", ((family, policy), census.get(f"{policy} {family}", 0))
    told = Counter(notice.severity for notice in picture.view.notices)
    yield from (("pointsman_notices", ((severity.value,), told[severity])) for severity in Severity)
    yield "pointsman_problems", ((), len(picture.view.problems))
    yield "pointsman_draining_endpoints", ((), len(picture.view.draining))
    yield "pointsman_draining_connections", ((), sum(one.active + one.inactive for one in picture.view.draining))


def _objects(snapshot: Snapshot) -> Mapping[Kind, int]:
    return {
        Kind.SERVICE: len(snapshot.services),
        Kind.ENDPOINT_SLICE: len(snapshot.slice_owners),
        Kind.NODE: len(snapshot.nodes),
        Kind.NAMESPACE: len(snapshot.namespaces),
        Kind.POD: len(snapshot.pods),
        Kind.SERVICE_CIDR: len(snapshot.service_cidrs),
        Kind.SERVICE_IMPORT: len(snapshot.imports),
    }


def _about_the_api(picture: Picture) -> Iterator[tuple[str, Sample]]:
    for (method, code, host), count in picture.requests.items():
        yield "rest_client_requests_total", ((code, host, method), count)
    for (method, host), durations in picture.durations.items():
        yield "rest_client_request_duration_seconds", ((host, method), durations)
    yield from (("pointsman_events_total", ((outcome,), count)) for outcome, count in picture.events.items())


def _about_the_process(picture: Picture) -> Iterator[tuple[str, Sample]]:
    for (path, code), count in picture.answers.items():
        yield f"kubeproxy_proxy_{path}_total", ((str(code),), count)
    yield "kubeproxy_iptables_ct_state_invalid_dropped_packets_total", ((), picture.counted.get(INVALID_DROPPED, 0))
    yield "kubeproxy_iptables_localhost_nodeports_accepted_packets_total", ((), picture.counted.get(LOOPBACK_ACCEPTED, 0))
    view = picture.view
    yield "kubernetes_build_info", (_build(), 1)
    yield "pointsman_build_info", ((view.mode, view.variant, version.ours()), 1)
    yield from (("kubernetes_feature_enabled", ((name, ""), 1)) for name in gates.SETTLED)
    yield "registered_metrics_total", (("", "ALPHA"), len(offered(view.mode)))
    yield "go_goroutines", ((), picture.tasks)
    yield "go_threads", ((), threading.active_count())
    yield "pointsman_conntrack_entries", ((), picture.tracked[0])
    yield "pointsman_conntrack_limit", ((), picture.tracked[1])
    yield "pointsman_node_eligible", ((), picture.health.eligible)
    yield from (("pointsman_health_check_node_ports", ((state,), count)) for state, count in picture.ports.items())


def _build() -> tuple[str, ...]:
    major, minor, _ = version.COMPATIBLE.split(".")
    runtime = f"python{platform.python_version()}"
    return ("", platform.python_implementation().lower(), "", "", version.release(), runtime, major, minor, version.system())


def rendered(picture: Picture) -> Iterator["Rendered"]:
    """Yield the metrics of the picture's mode in Prometheus' form; raises ValueError for a sample that is not listed."""
    by_name: dict[str, list[Sample]] = {metric.name: [] for metric in METRICS}
    for name, sample in samples(picture):
        if name not in by_name:
            raise ValueError(f"{name} is not listed in metrics_list")
        by_name[name].append(sample)
    for metric in offered(picture.view.mode):
        yield _rendered(metric, by_name[metric.name])


def _rendered(metric: Metric, found: Iterable[Sample]) -> "Rendered":
    from prometheus_client import core  # noqa: PLC0415 - loaded in a thread when serving begins

    if metric.type is MetricType.HISTOGRAM:
        histogram = core.HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
        for labels, value in found:
            assert isinstance(value, Histogram)
            histogram.add_metric(labels, value.buckets(), value.sum)
        return histogram
    kind = core.CounterMetricFamily if metric.type is MetricType.COUNTER else core.GaugeMetricFamily
    family = kind(metric.name, metric.text, labels=metric.labels)
    for labels, value in found:
        assert not isinstance(value, Histogram)
        family.add_metric(labels, float(value))
    return family


def render(picture: Picture) -> bytes:
    """Return the whole answer, with the metrics of the process; takes its time, in a thread."""
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector  # noqa: PLC0415 - as above
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415 - as above

    registry = CollectorRegistry()
    registry.register(_Rendered(tuple(rendered(picture))))
    for collector in (ProcessCollector, GCCollector, PlatformCollector):
        collector(registry=registry)
    return generate_latest(registry)


class _Rendered:
    """A collector, as the library wants it, of what is there already."""

    def __init__(self, metrics: tuple["Rendered", ...]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable["Rendered"]:
        return self._metrics
