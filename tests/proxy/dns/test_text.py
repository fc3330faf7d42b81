"""Counters as Prometheus' text, read back by the official parser; what is counted anywhere is in the list, and in docs/metrics.md."""

import ast
import re
from pathlib import Path

from pointsman.dns.tally import Histogram, Sample, Tally
from pointsman.proxy.dns.text import METRICS, render
from prometheus_client.parser import text_string_to_metric_families as parse


def families(*samples):
    return {family.name: family for family in parse(render(samples).decode())}


def test_obs_03_counters_have_coredns_names_and_labels():
    labels = ("dns://:53", ".", "", "udp", "1", "A")
    (found,) = families(Sample("coredns_dns_requests_total", labels, (7.0,)))["coredns_dns_requests"].samples
    assert found.labels == {"server": "dns://:53", "zone": ".", "view": "", "proto": "udp", "family": "1", "type": "A"}
    assert found.value == 7


def test_workers_are_added_up_but_not_what_all_of_them_tell_alike():
    one = Sample("coredns_panics_total", (), (1.0,))
    version = Sample("coredns_reload_version_info", ("sha512", "ab"), (1.0,))
    found = families(one, one, version, version)
    assert found["coredns_panics"].samples[0].value == 2
    assert found["coredns_reload_version_info"].samples[0].value == 1


def test_obs_04_histograms_are_running_sums():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.5, 1.5, 9.0):
        histogram.observe(value)
    sample = Sample("coredns_dns_request_duration_seconds", ("s", "z", ""), tuple(histogram.cells), histogram.bounds)
    found = {(one.name, one.labels.get("le")): one.value for one in families(sample)["coredns_dns_request_duration_seconds"].samples}
    name = "coredns_dns_request_duration_seconds"
    assert [found[f"{name}_bucket", bound] for bound in ("1", "2", "+Inf")] == [1, 3, 4]
    assert (found[f"{name}_sum", None], found[f"{name}_count", None]) == (12.5, 4)


def test_names_in_labels_cannot_break_the_text():
    tally = Tally()
    tally.cell("coredns_hosts_entries")[0] = 2
    tally.cell("coredns_plugin_enabled", 's"\n\\', ".", "", "hosts")[0] = 1
    found = families(*tally.dump())
    assert found["coredns_plugin_enabled"].samples[0].labels["server"] == 's"\n\\'


def test_what_is_not_in_the_table_is_told_all_the_same():
    assert families(Sample("else", ("x",), (1.0,)))["else"].samples[0].labels == {"label0": "x"}


def test_every_metric_has_a_type_and_a_help():
    assert all(metric.kind in {"counter", "gauge", "histogram"} and metric.help for metric in METRICS.values())
    assert all(name.endswith("_total") == (metric.kind == "counter") for name, metric in METRICS.items())


ROOT = Path(__file__).parents[3]
NAME = re.compile(r"(?:coredns|pointsman_dns|process)_[a-z0-9_]+")


def counted():
    """Yield the names of metrics that the resolver's code has, with their files. They are written whole, so that a search finds them."""
    for path in sorted([*(ROOT / "dns").rglob("*.py"), *(ROOT / "proxy/dns").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())) if path.name != "text.py" else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                yield node.value, path.relative_to(ROOT)


def test_what_is_counted_anywhere_is_in_the_list_and_what_is_listed_is_counted():
    found = dict(counted())
    assert {name: str(path) for name, path in found.items() if name not in METRICS} == {}
    assert METRICS.keys() - found.keys() == set()


def test_the_document_lists_just_these_with_type_and_labels():
    part = (ROOT / "docs/metrics.md").read_text().partition("\n## The resolver's\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", part, re.MULTILINE)
    assert [(name, kind, labels) for name, kind, labels, _ in rows] == [
        (name, metric.kind, ", ".join(metric.labels)) for name, metric in METRICS.items()
    ]
