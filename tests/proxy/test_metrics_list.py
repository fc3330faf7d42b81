"""The list of metrics: kube-proxy's names, types and labels for what we do, ours in docs/metrics.md, and nothing else."""

import re
from pathlib import Path

import pytest
from pointsman.proxy.metrics_list import KUBE_PROXYS, METRICS, OURS, MetricType, offered

DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"

P = "kubeproxy_"
S = f"{P}sync_proxy_rules_"
ASKED = {
    # docs/services.md MET-01 to MET-15: name, type, labels, modes that this version has
    f"{P}sync_proxy_rules_duration_seconds": ("histogram", "ip_family", ""),
    f"{P}sync_full_proxy_rules_duration_seconds": ("histogram", "ip_family", "iptables"),
    f"{P}sync_partial_proxy_rules_duration_seconds": ("histogram", "ip_family", "iptables"),
    f"{S}last_timestamp_seconds": ("gauge", "ip_family", ""),
    f"{S}last_queued_timestamp_seconds": ("gauge", "ip_family", ""),
    f"{P}network_programming_duration_seconds": ("histogram", "ip_family", ""),
    f"{S}endpoint_changes_pending": ("gauge", "", ""),
    f"{S}endpoint_changes_total": ("counter", "", ""),
    f"{S}service_changes_pending": ("gauge", "", ""),
    f"{S}service_changes_total": ("counter", "", ""),
    f"{S}no_local_endpoints_total": ("gauge", "ip_family traffic_policy", ""),
    f"{S}iptables_total": ("gauge", "ip_family table", "iptables"),
    f"{S}iptables_last": ("gauge", "ip_family table", "iptables"),
    f"{S}iptables_restore_failures_total": ("counter", "ip_family", "iptables ipvs"),
    f"{S}iptables_partial_restore_failures_total": ("counter", "ip_family", "iptables"),
    f"{P}conntrack_reconciler_sync_duration_seconds": ("histogram", "ip_family", ""),
    f"{P}conntrack_reconciler_deleted_entries_total": ("counter", "ip_family", ""),
    f"{P}proxy_healthz_total": ("counter", "code", ""),
    f"{P}proxy_livez_total": ("counter", "code", ""),
    f"{P}iptables_ct_state_invalid_dropped_packets_total": ("counter", "", "iptables"),
    f"{P}iptables_localhost_nodeports_accepted_packets_total": ("counter", "", "iptables"),
    "rest_client_requests_total": ("counter", "code host method", ""),
    "rest_client_request_duration_seconds": ("histogram", "host verb", ""),
    "kubernetes_build_info": ("gauge", "build_date compiler git_commit git_tree_state git_version go_version major minor platform", ""),
    "kubernetes_feature_enabled": ("gauge", "name stage", ""),
    "registered_metrics_total": ("counter", "deprecated_version stability_level", ""),
}


@pytest.mark.parametrize("name", ASKED)
def test_every_metric_of_kube_proxy_is_offered_with_its_type_and_labels(name: str) -> None:
    """MET-01 to MET-12, MET-15, MET-16. MET-10 and MET-14 describe what this version does not do (docs/metrics.md)."""
    (found,) = [metric for metric in KUBE_PROXYS if metric.name == name]
    kind, labels, modes = ASKED[name]
    assert found.type.value == kind
    assert " ".join(sorted(found.labels)) == labels
    assert " ".join(found.modes) == modes


def test_the_second_part_is_ours() -> None:
    assert all(metric.name.startswith("pointsman_") for metric in OURS)
    assert not any(metric.name.startswith("pointsman_") for metric in KUBE_PROXYS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_names_follow_prometheus_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert (metric.type is MetricType.COUNTER) <= metric.name.endswith("_total")
        assert (metric.type is MetricType.HISTOGRAM) <= metric.name.endswith("_seconds")
        assert metric.text
        assert list(metric.labels) == sorted(metric.labels)


def test_met_16_a_mode_offers_what_is_its_own() -> None:
    iptables, ipvs = ({metric.name for metric in offered(mode)} for mode in ("iptables", "ipvs"))
    assert iptables - ipvs >= {f"{S}iptables_total", f"{P}sync_partial_proxy_rules_duration_seconds"}
    assert ipvs - iptables == {"pointsman_draining_endpoints", "pointsman_draining_connections", "pointsman_service_bytes_total"}


def test_the_document_lists_just_these_with_type_labels_and_modes() -> None:
    ours = DOCUMENT.read_text().partition("\n## The resolver's\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|", ours, re.MULTILINE)
    written = {name: (kind, labels.strip(), modes.strip()) for name, kind, labels, modes in rows}
    assert written == {one.name: (one.type.value, ", ".join(one.labels), ", ".join(one.modes)) for one in METRICS}
