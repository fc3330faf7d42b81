"""What is read from objects (REC-02 to REC-06, POD-05)."""

import pytest
from fakes.dns_cluster import endpoint, endpoint_slice, import_slice, pod, service, service_import, snapshot_of
from pointsman.dns.facts import ABSENT, CLUSTER, EXTERNAL, HEADLESS, NO_PORT, PortFact, packed, pod_fact, service_fact, slice_fact
from pointsman.dns.journal import fact_of
from pointsman.routing.snapshot import ImportKey, ServiceKey


def fact(value, *slices):
    return service_fact("shop", "web", value, [(one.metadata.name, one) for one in slices])


def test_rec_04_an_endpoint_counts_unless_it_says_that_it_is_not_ready():
    made = slice_fact(endpoint_slice("web", endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=True), endpoint("10.0.0.3", ready=False)))
    assert [one.address for one in made.endpoints] == [packed("10.0.0.1"), packed("10.0.0.2")]


def test_rec_03_slices_of_names_are_ignored():
    assert slice_fact(endpoint_slice("web", endpoint("example.com"), family="FQDN")) is None
    assert slice_fact(endpoint_slice("web", endpoint("not an address"))).endpoints == ()


def test_rec_05_no_ports_are_one_port_without_a_number():
    assert slice_fact(endpoint_slice("web", endpoint("10.0.0.1"), ports=())).ports == (PortFact(port=NO_PORT),)
    assert slice_fact(endpoint_slice("web", endpoint("10.0.0.1"), ports=((None, "x"),))).ports == (PortFact("x", "TCP", NO_PORT),)
    assert fact(service("web", "10.96.0.1", ports=())).ports == (PortFact(port=NO_PORT),)


def test_rec_06_kinds_of_services():
    assert fact(service("web", "10.96.0.1", "fd00::1")).addresses == (packed("10.96.0.1"), packed("fd00::1"))
    assert fact(service("web", "10.96.0.1")).kind == CLUSTER
    assert fact(service("web", "None")).kind == HEADLESS
    assert fact(service("web", external="example.com")).kind == EXTERNAL
    assert fact(service("web")).addresses == ()


def test_rec_02_slices_of_a_service_are_merged_and_those_of_nobody_ignored():
    snapshot = snapshot_of(
        service("web", "None"),
        endpoint_slice("web", endpoint("10.0.0.1"), suffix="a"),
        endpoint_slice("web", endpoint("10.0.0.2"), suffix="b"),
        endpoint_slice("", endpoint("10.0.0.3"), suffix="c"),
    )
    assert [one.address[-1] for one in fact_of(snapshot, ServiceKey("shop", "web")).endpoints] == [1, 2]
    assert fact_of(snapshot, ServiceKey("shop", "")) is None


def test_ext_01_imports_and_the_slices_of_clusters():
    slices = (import_slice("web", "west", endpoint("10.2.0.1")), import_slice("web", "east", endpoint("10.1.0.1")))
    snapshot = snapshot_of(service_import("web", "10.96.0.9", "nonsense"), *slices, service_import("db", "10.96.0.8", headless=True))
    found = fact_of(snapshot, ImportKey("shop", "web"))
    assert (found.kind, found.addresses, found.imported) == (CLUSTER, (packed("10.96.0.9"),), True)
    assert [(each.cluster, each.endpoints[0].address[1]) for each in found.slices] == [("east", 1), ("west", 2)]
    assert fact_of(snapshot, ServiceKey("shop", "web")) is None
    headless = fact_of(snapshot, ImportKey("shop", "db"))
    assert (headless.kind, headless.addresses) == (HEADLESS, ())
    assert fact_of(snapshot_of(service_import("web", ports=())), ImportKey("shop", "web")).ports == ()
    assert fact_of(snapshot_of(*slices), ImportKey("shop", "web")) is None


def test_slices_without_their_service_are_kept_for_their_addresses():
    assert fact(None, endpoint_slice("web", endpoint("10.0.0.1"))).kind == ABSENT
    assert fact(None) is None


def test_ptr_09_one_notation_of_each_address():
    assert packed("FD00:0::1") == packed("fd00::1")
    assert packed("010.0.0.1") == packed("10.0.0.1")
    assert packed("10.0.0") is None


def test_a_host_name_that_is_no_label_is_left_out():
    made = slice_fact(endpoint_slice("web", endpoint("10.0.0.1", "x" * 64)))
    assert made.endpoints[0].hostname == ""


def test_rec_51_what_names_of_pods_begin_with_is_kept_once():
    """A hundred thousand endpoints are known; the names of their Pods are most of that."""
    pods = ["web-6d4b75cb6d-00001", "web-6d4b75cb6d-00002"]
    found = slice_fact(endpoint_slice("web", *(endpoint(f"10.0.0.{place}", pod=pod) for place, pod in enumerate(pods))))
    assert found.stem == "web-6d4b75cb6d-"
    assert [each.target for each in found.endpoints] == ["00001", "00002"]
    assert [each.target for each in found.named] == pods


@pytest.mark.parametrize("pods", [["web-1"], ["web-1", None], ["web-1", "db-1"], ["web", "web"], ["web", "web-1"], [None, "web-1"], []])
def test_names_of_pods_without_a_common_beginning_are_kept_whole(pods):
    found = slice_fact(endpoint_slice("web", *(endpoint(f"10.0.0.{place}", pod=pod) for place, pod in enumerate(pods))))
    assert found.stem == ""
    assert [each.target for each in found.named] == [each.target for each in found.endpoints] == [pod or "" for pod in pods]


def test_pod_05_pods_that_have_ended_are_not_there():
    assert pod_fact(pod("a", "10.0.0.1", phase="Succeeded")) is None
    assert pod_fact(pod("a", None)) is None
    assert pod_fact(pod("a", "10.0.0.1")).addresses == (packed("10.0.0.1"),)
    assert pod_fact(pod("a", "192.168.0.1", host=True)).addresses == ()
