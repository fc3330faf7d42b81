"""The metrics: every one that is listed has a value, in Prometheus' text, with kube-proxy's labels."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from msgspec import structs
from pointsman.conntrack.classify import FlowClass
from pointsman.explain.tally import Total
from pointsman.iptables.counters import INVALID_DROPPED, LOOPBACK_ACCEPTED
from pointsman.kube.objects import EndpointPort, ServicePort
from pointsman.proxy import metrics
from pointsman.proxy.flow_meters import FlowMeters, TrackingPicture
from pointsman.proxy.health import Health
from pointsman.proxy.histogram import REQUEST_BOUNDS, Histogram
from pointsman.proxy.meters import FamilyMeters
from pointsman.proxy.metrics import FamilyPicture, Picture, Recount, render, rendered, routing_census, samples
from pointsman.proxy.metrics_list import METRICS, offered
from pointsman.proxy.status import ApplyStatus, FamilyStatus, ForeignStatus
from pointsman.routing.build import build
from pointsman.routing.route import Family, Protocol
from prometheus_client.parser import text_string_to_metric_families

from .views import NODE, endpoint, endpoint_slice, service, small, snapshot

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def family(one: Family = Family.IPV4, **changes) -> FamilyPicture:
    """A family that has done a bit of everything."""
    status = FamilyStatus(
        one.value, 7, 6, NOON, 3, NOON, 2.5, NOON, ApplyStatus(9, NOON, 0.1), 1, (), ForeignStatus(4, 5), 0.5, NOON, NOON, NOON
    )
    meters = FamilyMeters()
    for histogram, seconds in ((meters.full, 0.3), (meters.partial, 0.003), (meters.programming, 0.4)):
        histogram.observe(seconds)
    picture = FamilyPicture(
        one, status, True, meters.full, meters.partial, meters.programming, (1, 2), {"nat": 11},
        lambda: {"nat": 70, "filter": 20, "mangle": 0, "set elements": 5},
    )  # fmt: skip
    return structs.replace(picture, **changes)


def tracking() -> TrackingPicture:
    meters = FlowMeters(tombstones=3)
    meters.looks.observe(0.2)
    meters.deleted[Protocol.UDP, FlowClass.UNNATTED] = 4
    meters.deleted[Protocol.UDP, FlowClass.STALE_BACKEND] = 5
    meters.looked(Protocol.UDP, Counter({(FlowClass.OK, "shop/dns"): 6, (FlowClass.STALE_BACKEND, "shop/dns"): 1}))
    return TrackingPicture({Family.IPV4: meters}, {"drop": 8, "insert_failed": 9})


def picture(**changes) -> Picture:
    durations = Histogram.of(REQUEST_BOUNDS)
    durations.observe(0.2)
    view = small()
    made = Picture(
        view=view,
        health=Health({}, eligible=True, timeout=60),
        families=(family(), family(Family.IPV6)),
        answers={("healthz", 200): 3, ("healthz", 503): 1, ("livez", 200): 2},
        changes=(10, 20, 1, 2),
        tasks=12,
        counted={INVALID_DROPPED: 5, LOOPBACK_ACCEPTED: 6},
        requests={("GET", "200", "10.96.0.1:443"): 4},
        durations={("GET", "10.96.0.1:443"): durations},
        ports={"open": 1, "failed": 0},
        events={"sent": 2},
        tracked=(7, 1000),
        tracking=tracking(),
        traffic={("shop", "web", "http", "TCP"): Total(7, 8, 9, 1.5)},
        routing_census=lambda: routing_census(view.routing),
    )
    return structs.replace(made, **changes)


def parsed(made: Picture) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return every sample by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for one in text_string_to_metric_families(render(made).decode()):
        for sample in one.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_every_metric_that_is_listed_has_a_value_and_no_other() -> None:
    named = {name for name, _ in samples(picture())}
    assert named == {metric.name for metric in METRICS}


def test_traffic_per_service_port() -> None:
    found = parsed(picture())
    web = (("namespace", "shop"), ("port", "http"), ("protocol", "TCP"), ("service", "web"))
    assert found["pointsman_service_connections_total"][web] == 7
    assert found["pointsman_service_skew"][web] == 1.5


def test_met_13_of_the_reconciler_of_flows() -> None:
    found, four = parsed(picture()), (("ip_family", "IPv4"),)
    assert found["kubeproxy_conntrack_reconciler_sync_duration_seconds_sum"][four] == 0.2
    assert found["kubeproxy_conntrack_reconciler_sync_duration_seconds_bucket"][(*four, ("le", "16.384"))] == 1
    assert found["kubeproxy_conntrack_reconciler_deleted_entries_total"][four] == 9
    stale = (("class", "stale-backend"), *four, ("protocol", "UDP"))
    assert found["pointsman_conntrack_deleted_flows_total"][stale] == 5
    assert found["pointsman_conntrack_flows"][stale] == 1
    assert found["pointsman_conntrack_tombstones"][four] == 3
    assert found["pointsman_conntrack_counted_total"] == {(("what", "drop"),): 8, (("what", "insert_failed"),): 9}


def test_how_full_the_kernels_table_of_connections_is() -> None:
    told = parsed(picture())
    assert (told["pointsman_conntrack_entries"][()], told["pointsman_conntrack_limit"][()]) == (7, 1000)


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
def test_met_16_a_mode_answers_with_its_own_metrics(mode: str) -> None:
    made = picture(view=structs.replace(small(), mode=mode))
    names = {one.name for one in rendered(made)}
    assert names == {metric.name.removesuffix("_total") if metric.type.value == "counter" else metric.name for metric in offered(mode)}


def test_a_sample_that_is_not_listed_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", METRICS[1:])
    with pytest.raises(ValueError, match="is not listed"):
        list(rendered(picture()))


def test_met_01_to_met_09_of_a_family() -> None:
    found, four = parsed(picture()), (("ip_family", "IPv4"),)
    assert found["kubeproxy_sync_proxy_rules_duration_seconds_count"][four] == 2
    assert found["kubeproxy_sync_full_proxy_rules_duration_seconds_count"][four] == 1
    assert found["kubeproxy_sync_partial_proxy_rules_duration_seconds_sum"][four] == 0.003
    assert found["kubeproxy_sync_partial_proxy_rules_duration_seconds_bucket"][(*four, ("le", "0.004"))] == 1
    assert found["kubeproxy_network_programming_duration_seconds_bucket"][(*four, ("le", "0.25"))] == 0
    assert found["kubeproxy_network_programming_duration_seconds_bucket"][(*four, ("le", "0.5"))] == 1
    assert found["kubeproxy_sync_proxy_rules_last_timestamp_seconds"][four] == NOON.timestamp()
    assert found["kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds"][four] == NOON.timestamp()
    assert found["kubeproxy_sync_proxy_rules_iptables_total"][(*four, ("table", "nat"))] == 70
    assert found["kubeproxy_sync_proxy_rules_iptables_last"][(*four, ("table", "nat"))] == 11
    assert found["kubeproxy_sync_proxy_rules_iptables_last"][(*four, ("table", "filter"))] == 0
    assert found["kubeproxy_sync_proxy_rules_iptables_restore_failures_total"][four] == 3
    assert found["kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total"][four] == 2


def test_met_05_met_11_met_12_met_15_of_the_process() -> None:
    found = parsed(picture())
    assert found["kubeproxy_sync_proxy_rules_service_changes_total"][()] == 10
    assert found["kubeproxy_sync_proxy_rules_endpoint_changes_total"][()] == 20
    assert found["kubeproxy_sync_proxy_rules_service_changes_pending"][()] == 1
    assert found["kubeproxy_sync_proxy_rules_endpoint_changes_pending"][()] == 2
    assert found["kubeproxy_proxy_healthz_total"] == {(("code", "200"),): 3, (("code", "503"),): 1}
    assert found["kubeproxy_proxy_livez_total"] == {(("code", "200"),): 2}
    assert found["kubeproxy_iptables_ct_state_invalid_dropped_packets_total"][()] == 5
    assert found["kubeproxy_iptables_localhost_nodeports_accepted_packets_total"][()] == 6
    assert found["rest_client_requests_total"][(("code", "200"), ("host", "10.96.0.1:443"), ("method", "GET"))] == 4
    assert found["rest_client_request_duration_seconds_count"][(("host", "10.96.0.1:443"), ("verb", "GET"))] == 1
    assert found["process_resident_memory_bytes"][()] > 0
    (build,) = found["kubernetes_build_info"]
    assert dict(build)["git_version"].startswith("v1.")


def test_met_06_service_ports_whose_policy_is_local_and_that_have_only_endpoints_elsewhere() -> None:
    there = [
        service("inside", "10.96.0.1", internal_traffic_policy="Local"),
        service("outside", "10.96.0.2", type="NodePort", external_traffic_policy="Local", external_ips=("192.0.2.1",)),
        service("here", "10.96.0.3", internal_traffic_policy="Local"),
        service("empty", "10.96.0.4", internal_traffic_policy="Local"),
        service("inaccessible", "10.96.0.5", external_traffic_policy="Local"),
    ]
    slices = [endpoint_slice(name, endpoint("10.244.2.1", "n2")) for name in ("inside", "outside", "inaccessible")]
    slices.append(endpoint_slice("here", endpoint("10.244.1.1", "n1")))
    routing = build(snapshot(there, slices), NODE)
    made = picture(routing_census=lambda: routing_census(routing))
    found = parsed(made)["kubeproxy_sync_proxy_rules_no_local_endpoints_total"]
    assert found[(("ip_family", "IPv4"), ("traffic_policy", "internal"))] == 1
    assert found[(("ip_family", "IPv4"), ("traffic_policy", "external"))] == 1
    assert found[(("ip_family", "IPv6"), ("traffic_policy", "internal"))] == 0
    assert parsed(made)["pointsman_service_ports"][(("ip_family", "IPv4"),)] == 5


def test_met_06_the_ipvs_mode_counts_services_and_not_their_ports() -> None:
    two = structs.replace(service("two", "10.96.0.1", internal_traffic_policy="Local"))
    ports = (ServicePort(80, "http"), ServicePort(81, "more"))
    two = structs.replace(two, spec=structs.replace(two.spec, ports=ports))
    elsewhere = endpoint_slice("two", endpoint("10.244.2.1", "n2"))
    elsewhere = structs.replace(elsewhere, ports=(EndpointPort("http", 8080, "TCP"), EndpointPort("more", 8081, "TCP")))
    routing = build(snapshot([two], [elsewhere]), NODE)
    assert routing_census(routing)["internal IPv4"] == 2
    assert routing_census(routing, by_service=True)["internal IPv4"] == 1


def test_moments_that_never_came_are_not_told() -> None:
    fresh = structs.replace(family().status, synced_at=None, queued_at=None, in_sync_since=None, read_at=None, revision_wanted=None)
    found = parsed(picture(families=(family(status=fresh, healthy=False),)))
    assert "kubeproxy_sync_proxy_rules_last_timestamp_seconds" not in found
    assert "pointsman_revision_wanted" not in found
    assert found["pointsman_in_sync"][(("ip_family", "IPv4"),)] == 0
    assert found["pointsman_healthy"][(("ip_family", "IPv4"),)] == 0


def test_what_was_counted_is_kept_until_something_changes() -> None:
    recount, counted = Recount(), []

    def prepare():
        counted.append("prepared")
        return lambda: {"ports": len(counted)}

    assert recount.count("routing", 1, prepare)() == {"ports": 1}
    assert recount.count("routing", 1, prepare)() == {"ports": 1}
    assert recount.count("routing", 2, prepare)() == {"ports": 2}
    assert recount.count("kernel", 2, prepare)() == {"ports": 3}


def test_before_anything_is_known_there_is_an_answer() -> None:
    assert routing_census(None) == {}
    assert b"pointsman_service_ports" in render(picture(families=(), routing_census=dict))
