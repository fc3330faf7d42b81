"""Alerts and dashboard ask only for metrics that are there, with labels that they have."""

import json
import re
from pathlib import Path

import pytest
import yaml
from pointsman.proxy.dns import text
from pointsman.proxy.metrics_list import METRICS, MetricType

FILES = Path(__file__).parents[2] / "charts/pointsman/files"
OFFERED = {metric.name: (metric.type, metric.labels) for metric in METRICS}
OFFERED |= {name: (MetricType(metric.kind), metric.labels) for name, metric in text.METRICS.items()}
NAME = re.compile(r"\b(?:pointsman|coredns|kubeproxy|rest_client|process|python)_\w+")
SELECTED = re.compile(r"\b((?:pointsman|coredns|kubeproxy|rest_client)_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([\w, ]*)\)")
ALWAYS = {"instance", "job", "le", "node"}
"""What Prometheus and the ServiceMonitor add, and buckets."""
OTHERS = {"up": {"job"}, "kube_daemonset_status_number_unavailable": {"daemonset", "namespace"}}
"""What Prometheus itself and kube-state-metrics tell, with labels."""
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
"""What the Prometheus library tells of every process."""


def expressions():
    """Yield every question with the place that asks it."""
    for rule in yaml.safe_load((FILES / "alerts.yaml").read_text()):
        yield rule["alert"], rule["expr"]
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def metric_of(name):
    """Return type and labels of the metric of a series: a histogram has three."""
    for suffix in ("_bucket", "_sum", "_count"):
        plain = name.removesuffix(suffix)
        if plain != name and plain in OFFERED and OFFERED[plain][0] is MetricType.HISTOGRAM:
            return OFFERED[plain]
    found = OFFERED.get(name)
    return None if found is None or found[0] is MetricType.HISTOGRAM else found


@pytest.mark.parametrize(("place", "expression"), tuple(expressions()))
def test_every_metric_that_is_asked_for_is_offered(place, expression):
    names = set(NAME.findall(expression)) - PROCESS
    others = {name for name in OTHERS if expression.startswith(f"{name}{{")}
    assert names or others or PROCESS & set(NAME.findall(expression))
    assert [name for name in names if metric_of(name) is None] == []
    labels = ALWAYS | {label for name in names for label in metric_of(name)[1]}
    grouped = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    selected = {label for _, inner in SELECTED.findall(expression) for label in re.findall(r'(\w+)=', inner)}
    selected |= {label for _ in others for label in re.findall(r"(\w+)=", expression)}
    labels |= {label for name in others for label in OTHERS[name]}
    assert (grouped | selected) - labels == set()


@pytest.mark.parametrize(("place", "expression"), tuple(expressions()))
def test_counters_are_asked_how_they_grow_and_gauges_what_they_are(place, expression):
    for name in set(NAME.findall(expression)) - PROCESS:
        growing = re.search(rf"(rate|increase)\({name}\b", expression) is not None
        assert growing == (metric_of(name)[0] is not MetricType.GAUGE)


def test_each_alert_says_what_and_what_to_do():
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())
    assert {rule["alert"] for rule in rules} >= {
        "PointsmanDown", "PointsmanMissing", "PointsmanNotInSync", "PointsmanUnhealthy", "PointsmanForeignChanges",
    }
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.search(r"\$labels\.(instance|daemonset)\b", rule["annotations"]["summary"])


def jobs(expression):
    """Return the pattern for jobs or DaemonSets in an expression."""
    [pattern] = re.findall(r'(?:job|daemonset)=~"([^"]*)"', expression)
    return re.compile(pattern)


@pytest.mark.parametrize("alert", ["PointsmanDown", "PointsmanMissing"])
def test_alerts_about_a_dead_agent_find_it_by_the_names_that_the_chart_gives(alert):
    """Prometheus anchors patterns; the job is the Service of the ServiceMonitor."""
    [expression] = [rule["expr"] for rule in yaml.safe_load((FILES / "alerts.yaml").read_text()) if rule["alert"] == alert]
    assert all(jobs(expression).fullmatch(name) for name in ("pointsman", "pointsman-metrics", "edge-pointsman", "edge-pointsman-metrics"))
    assert not jobs(expression).fullmatch("kube-proxy")


def test_what_the_documents_recommend_is_alerted():
    """docs/metrics.md says what is worth an alert, in the words of an expression."""
    text = (FILES.parents[2] / "docs/metrics.md").read_text().partition("Worth an alert")[2].partition("\n## ")[0]
    recommended = {" ".join(each.split()) for each in re.findall(r"`([^`]*[<>=][^`]*)`", text)}
    alerts = {re.sub(r"^sum by \([^)]*\) ", "sum", rule["expr"]) for rule in yaml.safe_load((FILES / "alerts.yaml").read_text())}
    assert recommended == alerts


def test_the_panels_do_not_overlap():
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    cells = [(x, y) for panel in panels for place in [panel["gridPos"]]
             for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
