"""Existence before content: the entry list (REC-40, REC-41) and names of endpoints (REC-50 to REC-53)."""

import pytest
from pointsman.dns.entries import NOTHING, Entry, Rules, Wanted, decoded_address, endpoint_name, entries, pod_text
from pointsman.dns.facts import ABSENT, CLUSTER, EXTERNAL, HEADLESS, EndpointFact, PortFact, ServiceFact, SliceFact, packed

HTTP, METRICS = PortFact("http", "TCP", 80), PortFact("metrics", "TCP", 90)
ONE = EndpointFact(packed("10.0.0.1"), "db-0", "pod-a", "zone-a")
TWO = EndpointFact(packed("10.0.0.2"), "", "pod-b", "zone-b")
SLICES = (SliceFact((PortFact("http", "TCP", 8080), PortFact("metrics", "TCP", 9090)), (ONE, TWO)),)
WEB = ServiceFact("shop", "web", CLUSTER, (packed("10.96.0.1"), packed("fd00::1")), (HTTP, METRICS), slices=SLICES)
DB = ServiceFact("shop", "db", HEADLESS, (), (HTTP,), slices=SLICES)
RULES = Rules()


def ports(found):
    return sorted({entry.port for entry in found.entries})


def test_nothing_behind_nothing():
    assert entries(None, Wanted(), RULES) is NOTHING
    assert entries(ServiceFact("shop", "web", ABSENT, slices=SLICES), Wanted(), RULES) is NOTHING


def test_a_cluster_ip_per_address_and_port():
    assert len(entries(WEB, Wanted(), RULES).entries) == 4
    assert ports(entries(WEB, Wanted(port="http", protocol="tcp"), RULES)) == [80]
    assert entries(WEB, Wanted(port="nope", protocol="tcp"), RULES) == NOTHING
    assert entries(WEB, Wanted(port="http", protocol="udp"), RULES) == NOTHING


def test_rec_41_without_endpoints_a_cluster_ip_stays_and_a_headless_service_goes():
    bare = ServiceFact("shop", "web", CLUSTER, WEB.addresses, WEB.ports)
    assert entries(bare, Wanted(), RULES).exists
    assert entries(bare, Wanted(), Rules(ignore_empty=True)) is NOTHING
    assert not entries(ServiceFact("shop", "db", HEADLESS), Wanted(), RULES).exists
    assert entries(WEB, Wanted(), Rules(ignore_empty=True)).exists


def test_rec_41_headless_ports_are_the_slices():
    assert ports(entries(DB, Wanted(), RULES)) == [8080, 9090]
    assert ports(entries(DB, Wanted(port="metrics", protocol="tcp"), RULES)) == [9090]


def test_an_endpoint_label_asks_for_an_endpoint_of_every_kind_of_service():
    for fact in (WEB, DB):
        found = entries(fact, Wanted(endpoint="db-0"), RULES)
        assert {entry.address for entry in found.entries} == {ONE.address}
        assert entries(fact, Wanted(endpoint="10-0-0-2"), RULES).exists
        assert not entries(fact, Wanted(endpoint="10-0-0-1"), RULES).exists  # REC-51: it has a host name


def test_rec_10_without_endpoints_there_are_no_endpoint_names():
    rules = Rules(endpoints=False)
    assert not entries(DB, Wanted(), rules).exists
    assert not entries(WEB, Wanted(endpoint="db-0"), rules).exists
    assert entries(WEB, Wanted(), rules).exists


def test_an_alias_is_itself_only_and_no_address():
    alias = ServiceFact("shop", "ext", EXTERNAL, external_name="example.com")
    assert entries(alias, Wanted(), RULES).external == "example.com"
    assert entries(alias, Wanted(endpoint="a"), RULES) is NOTHING
    assert entries(ServiceFact("shop", "ext", EXTERNAL, external_name="192.0.2.1"), Wanted(), RULES) is NOTHING
    assert entries(ServiceFact("shop", "ext", EXTERNAL), Wanted(), RULES) is NOTHING


@pytest.mark.parametrize(("endpoint", "pod_names", "name"), [
    (ONE, False, "db-0"), (ONE, True, "db-0"), (TWO, False, "10-0-0-2"), (TWO, True, "pod-b"),
    (EndpointFact(packed("10.0.0.9"), "", "x" * 64), True, "10-0-0-9"),
    (EndpointFact(packed("fd00::7")), False, "fd00--7"), (EndpointFact(packed("fd00::")), False, "fd00--0"),
])  # fmt: skip
def test_rec_50_one_name_per_endpoint(endpoint, pod_names, name):
    assert endpoint_name(endpoint, pod_names=pod_names) == name


def test_rec_52_endpoints_may_share_a_host_name():
    shared = (SliceFact((PortFact("", "TCP", 80),), (EndpointFact(packed("10.0.0.1"), "db"), EndpointFact(packed("10.0.0.2"), "db"))),)
    found = entries(ServiceFact("shop", "db", HEADLESS, slices=shared), Wanted(endpoint="db"), RULES)
    assert [entry.host for entry in found.entries] == [("db",), ("db",)]


@pytest.mark.parametrize(("label", "address"), [
    ("10-1-2-3", "10.1.2.3"), ("fd00--7", "fd00::7"), ("2001-db8-0-0-0-0-0-1", "2001:db8::1"), ("--1", "::1"),
    ("--ffff-a01-203", "10.1.2.3"),
])  # fmt: skip
def test_pod_02_labels_that_are_addresses(label, address):
    assert decoded_address(label) == packed(address)


@pytest.mark.parametrize("label", ["web", "10-1-2", "10-1-2-256", "01-1-2-3", "g--1", "", "fe80--1%x", "%"])
def test_pod_03_labels_that_are_not(label):
    assert decoded_address(label) is None


def test_pod_04_the_text_is_compared_as_the_api_writes_it():
    assert pod_text("10-1-2-3") == "10.1.2.3"
    assert pod_text("fd00-0--1") == "fd00:0::1"


ZONAL = Rules(zonal=True)


@pytest.mark.parametrize(("wanted", "addresses"), [
    (Wanted(zone="zone-a", directive="pin"), {ONE.address}), (Wanted(zone="zone-c", directive="pin"), set()),
    (Wanted(zone="zone-b", directive="prefer"), {TWO.address}), (Wanted(zone="zone-c", directive="prefer"), {ONE.address, TWO.address}),
])  # fmt: skip
def test_ext_02_zonal_endpoints(wanted, addresses):
    found = entries(DB, wanted, ZONAL)
    assert found.exists
    assert {entry.address for entry in found.entries} == addresses


def test_ext_02_only_headless_services_have_zones():
    wanted = Wanted(zone="zone-a", directive="pin")
    assert entries(WEB, wanted, ZONAL) is NOTHING
    assert entries(DB, wanted, RULES) is NOTHING
    assert entries(ServiceFact("shop", "db", HEADLESS), wanted, ZONAL) is NOTHING


def test_ext_01_endpoints_of_an_import_need_their_cluster():
    imported = ServiceFact(
        "shop", "db", HEADLESS, imported=True, slices=(SliceFact((HTTP,), (ONE,), "east"), SliceFact((HTTP,), (TWO,), "west"))
    )
    assert len(entries(imported, Wanted(), RULES).entries) == 2
    assert entries(imported, Wanted(endpoint="10-0-0-2", cluster="west"), RULES).entries == (Entry(TWO.address, 80, ("10-0-0-2", "west")),)
    assert not entries(imported, Wanted(endpoint="10-0-0-2", cluster="east"), RULES).exists
