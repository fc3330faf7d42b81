"""Addresses to names (PTR-01 to PTR-09)."""

import pytest
from fakes.dns_cluster import ask, catalog_of, endpoint, endpoint_slice, outcome, plugin, service

CLUSTER = (
    service("web", "10.96.1.1"),
    endpoint_slice("web", endpoint("10.0.0.7"), endpoint("10.0.0.8", ready=False)),
    service("api", "10.96.1.2"),
    endpoint_slice("api", endpoint("10.0.0.7", "seven")),
    service("db", "None"),
    endpoint_slice("db", endpoint("fd00::7"), family="IPv6"),
    endpoint_slice("orphan", endpoint("10.0.0.30")),
    service("far", "10.97.0.1", namespace="unseen"),
)


@pytest.fixture(scope="module")
def cluster():
    return plugin(catalog_of(*CLUSTER), zones=("in-addr.arpa.", "cluster.local.", "ip6.arpa.", "other.zone."))


@pytest.mark.parametrize(("name", "wanted"), [
    ("1.1.96.10.in-addr.arpa", ["PTR web.shop.svc.cluster.local."]),
    ("7.0.0.10.in-addr.arpa", ["PTR 10-0-0-7.web.shop.svc.cluster.local.", "PTR seven.api.shop.svc.cluster.local."]),
    ("8.0.0.10.in-addr.arpa", "NXDOMAIN"),
    ("9.9.9.9.in-addr.arpa", "NXDOMAIN"),
    ("0.0.10.in-addr.arpa", "NXDOMAIN"),
    ("in-addr.arpa", "NODATA"),
    ("30.0.0.10.in-addr.arpa", ["PTR 10-0-0-30.orphan.shop.svc.cluster.local."]),
    ("1.0.97.10.in-addr.arpa", ["PTR far.unseen.svc.cluster.local."]),
    ("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.IP6.arpa", ["PTR fd00--7.db.shop.svc.cluster.local."]),
])  # fmt: skip
def test_ptr(cluster, name, wanted):
    assert outcome(ask(cluster, name, "PTR")) == wanted


@pytest.mark.parametrize("qtype", ["A", "TXT", "ANY"])
def test_ptr_07_other_types_of_reverse_names_do_not_exist(cluster, qtype):
    assert outcome(ask(cluster, "7.0.0.10.in-addr.arpa", qtype)) == "NXDOMAIN"


def test_ptr_05_a_list_of_namespaces_hides_the_others():
    limited = plugin(catalog_of(*CLUSTER), namespaces=("shop",))
    assert outcome(ask(limited, "1.0.97.10.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert outcome(ask(limited, "1.1.96.10.in-addr.arpa", "PTR")) == ["PTR web.shop.svc.cluster.local."]


def test_without_endpoints_only_services_have_names():
    bare = plugin(catalog_of(*CLUSTER), endpoints=False)
    assert outcome(ask(bare, "7.0.0.10.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert outcome(ask(bare, "1.1.96.10.in-addr.arpa", "PTR")) == ["PTR web.shop.svc.cluster.local."]


def test_a_narrow_reverse_zone_knows_its_own():
    narrow = plugin(catalog_of(*CLUSTER), zones=("cluster.local.", "96.10.in-addr.arpa."))
    assert outcome(ask(narrow, "1.1.96.10.in-addr.arpa", "PTR")) == ["PTR web.shop.svc.cluster.local."]
    assert outcome(ask(narrow, "96.10.in-addr.arpa", "PTR")) == "NODATA"


def test_rec_51_names_of_pods_are_whole():
    endpoints = endpoint("10.0.0.1", pod="db-abc"), endpoint("10.0.0.2", pod="db-xyz")
    cluster = catalog_of(service("db", "None"), endpoint_slice("db", *endpoints))
    named = plugin(cluster, zones=("in-addr.arpa.", "cluster.local."), endpoint_pod_names=True)
    assert outcome(ask(named, "2.0.0.10.in-addr.arpa", "PTR")) == ["PTR db-xyz.db.shop.svc.cluster.local."]
