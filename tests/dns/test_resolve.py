"""Names to answers: the worked examples and the conformance list of the records (REC, POD, EXT), read by dnspython."""

import dns.flags
import pytest
from fakes.dns_cluster import (
    ask,
    catalog_of,
    endpoint,
    endpoint_slice,
    import_slice,
    outcome,
    plugin,
    pod,
    query_of,
    service,
    service_import,
    texts,
)
from pointsman.dns.catalog import label, service_key
from pointsman.dns.facts import packed
from pointsman.dns.feed import Change, Synced
from pointsman.dns.names import wire
from pointsman.dns.owners import number
from pointsman.dns.resolve import Resolver, Settings, is_reverse

CLUSTER = (
    service("web", "10.96.1.1", ports=((80, "http"), (9090, "metrics"))),
    endpoint_slice("web", endpoint("10.0.0.7"), endpoint("10.0.0.8", ready=False)),
    service("dual", "10.96.1.2", "fd00::2"),
    service("empty", "10.96.1.3"),
    service("noports", "10.96.1.4", ports=()),
    service("db", "None", ports=((5432, "pg"),)),
    endpoint_slice("db", endpoint("10.0.1.1", "db-0"), endpoint("10.0.1.2", "DB-1"), ports=((15432, "pg"),)),
    endpoint_slice("db", endpoint("fd00::1:1", "db-0"), ports=((15432, "pg"),), family="IPv6", suffix="v6"),
    service("down", "None"),
    endpoint_slice("down", endpoint("10.0.1.9", ready=False)),
    service("hidden", "10.96.9.9", namespace="unseen"),
    pod("p", "10.1.2.3"),
)
ORDINARY = ("A", "AAAA", "SRV", "TXT", "MX", "HTTPS", "CNAME")


@pytest.fixture(scope="module")
def catalog():
    return catalog_of(*CLUSTER)


@pytest.fixture(scope="module")
def cluster(catalog):
    return plugin(catalog, pods="insecure")


def got(cluster, name, qtype="A"):
    return outcome(ask(cluster, f"{name}.cluster.local" if name else "cluster.local", qtype))


EXAMPLES = [
    ("web.shop.svc", "A", ["A 10.96.1.1"]),
    ("web.shop.svc", "AAAA", "NODATA"),
    ("web.shop.svc", "SRV", ["SRV 0 50 80 web.shop.svc.cluster.local.", "SRV 0 50 9090 web.shop.svc.cluster.local."]),
    ("_http._tcp.web.shop.svc", "SRV", ["SRV 0 100 80 web.shop.svc.cluster.local."]),
    ("http.tcp.web.shop.svc", "A", ["A 10.96.1.1"]),
    ("_nope._tcp.web.shop.svc", "SRV", "NXDOMAIN"),
    ("_nope._tcp.web.shop.svc", "A", "NXDOMAIN"),
    ("_http._udp.web.shop.svc", "SRV", "NXDOMAIN"),
    ("10-0-0-7.web.shop.svc", "A", ["A 10.0.0.7"]),
    ("10-0-0-8.web.shop.svc", "A", "NXDOMAIN"),
    ("db-0.db.shop.svc", "A", ["A 10.0.1.1"]),
    ("db-0.db.shop.svc", "AAAA", ["AAAA fd00::1:1"]),
    ("db-1.db.shop.svc", "A", ["A 10.0.1.2"]),
    ("db-1.db.shop.svc", "AAAA", "NODATA"),
    ("10-0-1-1.db.shop.svc", "A", "NXDOMAIN"),
    ("db.shop.svc", "A", ["A 10.0.1.1", "A 10.0.1.2"]),
    ("down.shop.svc", "A", "NXDOMAIN"),
    ("empty.shop.svc", "A", ["A 10.96.1.3"]),
    ("_http._tcp.empty.shop.svc", "SRV", ["SRV 0 100 80 empty.shop.svc.cluster.local."]),
    ("noports.shop.svc", "A", ["A 10.96.1.4"]),
    ("noports.shop.svc", "SRV", "NODATA"),
    ("dual.shop.svc", "SRV", ["SRV 0 50 80 dual.shop.svc.cluster.local."]),
    ("dual.shop.svc", "AAAA", ["AAAA fd00::2"]),
    ("hidden.unseen.svc", "A", "NXDOMAIN"),
    ("nosuch.shop.svc", "A", "NXDOMAIN"),
    ("a.b.c.web.shop.svc", "A", "NXDOMAIN"),
    ("_tcp.web.shop.svc", "SRV", "NXDOMAIN"),
    ("google.com.shop.svc", "A", "NXDOMAIN"),
    ("*.shop.svc", "A", "NXDOMAIN"),
    ("any.shop.svc", "A", "NXDOMAIN"),
    ("other", "A", "NXDOMAIN"),
    ("10-1-2-3.shop.pod", "A", ["A 10.1.2.3"]),
    ("10-1-2-3.shop.pod", "AAAA", "NODATA"),
    ("10-1-2-3.shop.pod", "SRV", ["SRV 0 100 0 10-1-2-3.shop.pod.cluster.local."]),
    ("x.10-1-2-3.shop.pod", "SRV", ["SRV 0 100 0 10-1-2-3.shop.pod.cluster.local."]),
    ("fd00--7.shop.pod", "AAAA", ["AAAA fd00::7"]),
    ("web.shop.pod", "A", "NXDOMAIN"),
    ("10-1-2-3.nosuch.pod", "A", "NXDOMAIN"),
    ("x.10-1-2-3.shop.pod", "A", ["A 10.1.2.3"]),
    ("x.y.z.10-1-2-3.shop.pod", "A", "NXDOMAIN"),
    ("dns-version", "TXT", ['TXT "1.1.0"']),
    ("dns-version", "A", "NXDOMAIN"),
    ("ns.dns", "A", ["A 10.96.0.10"]),
    ("ns.dns", "TXT", "NODATA"),
    ("dns", "A", "NXDOMAIN"),
]


@pytest.mark.parametrize(("name", "qtype", "wanted"), EXAMPLES, ids=[f"{name} {qtype}" for name, qtype, _ in EXAMPLES])
def test_worked_examples(cluster, name, qtype, wanted):
    """Section 1.14, REC-31 to REC-46, POD-02 to POD-06, REC-80."""
    assert got(cluster, name, qtype) == wanted


@pytest.mark.parametrize("name", ["", "svc", "pod", "shop.svc", "shop.pod"])
@pytest.mark.parametrize("qtype", [*ORDINARY, "PTR", "ANY", "DS"])
def test_rec_32_nodes_without_records_exist(cluster, name, qtype):
    assert got(cluster, name, qtype) == "NODATA"


@pytest.mark.parametrize("qtype", ["TXT", "MX", "HTTPS", "SVCB", "CNAME", "PTR", "ANY", "DS", "CAA", "NAPTR", "DNSKEY", "HINFO"])
def test_rec_70_existence_comes_before_the_type(cluster, qtype):
    assert got(cluster, "web.shop.svc", qtype) == "NODATA"
    assert got(cluster, "nosuch.shop.svc", qtype) == "NXDOMAIN"


@pytest.mark.parametrize("name", ["web.shop.svc", "nosuch.shop.svc", "svc", "no"])
def test_rec_92_soa_is_answered_at_the_apex_only(cluster, name):
    assert got(cluster, name, "SOA") == "NODATA"
    assert len(got(cluster, "", "SOA")) == 1


@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
def test_axf_01_transfers_are_refused(cluster, qtype):
    assert got(cluster, "", qtype) == "REFUSED"


def test_pod_01_disabled_pods():
    cluster = plugin(catalog_of(*CLUSTER), pods="disabled")
    assert got(cluster, "pod") == "NODATA"
    assert got(cluster, "shop.pod") == got(cluster, "10-1-2-3.shop.pod") == "NXDOMAIN"


def test_pod_04_verified_pods():
    cluster = plugin(catalog_of(*CLUSTER), pods="verified")
    assert got(cluster, "10-1-2-3.shop.pod") == ["A 10.1.2.3"]
    assert got(cluster, "10-1-2-3.shop.pod", "AAAA") == "NODATA"
    assert got(cluster, "10-1-2-4.shop.pod") == "NXDOMAIN"


def test_rec_110_until_pods_are_known_no_name_of_a_pod_is_denied():
    catalog = catalog_of(*CLUSTER)
    catalog.finish(Synced(imports_known=True))
    verified, insecure = plugin(catalog, pods="verified"), plugin(catalog, pods="insecure")
    assert got(verified, "10-1-2-3.shop.pod") == ["A 10.1.2.3"]
    assert outcome(ask(verified, "10-1-2-4.shop.pod.cluster.local")) == "SERVFAIL"
    assert got(verified, "nosuch.shop.svc") == "NXDOMAIN"
    assert got(insecure, "10-1-2-4.shop.pod") == ["A 10.1.2.4"]
    catalog.apply(Change(pods_known=True))
    assert got(verified, "10-1-2-4.shop.pod") == "NXDOMAIN"


def test_rec_24_case_of_the_question_and_of_targets(cluster):
    """WIR-24, REC-44, REC-33: owners and the zone part as asked, names of objects as stored."""
    message = ask(cluster, "_HTTP._tcp.WEB.Shop.svc.Cluster.LOCAL", "SRV")
    assert message.answer[0].name.to_text() == "_HTTP._tcp.WEB.Shop.svc.Cluster.LOCAL."
    assert message.answer[0][0].target.to_text() == "web.shop.svc.Cluster.LOCAL."
    denial = ask(cluster, "nosuch.Cluster.LOCAL")
    assert denial.authority[0].name.to_text() == "Cluster.LOCAL."
    assert denial.authority[0][0].mname.to_text() == "ns.dns.Cluster.LOCAL."


@pytest.mark.parametrize("asked", [1, 2, 3, 101])
def test_rec_43_weights(asked):
    name, addresses = "many", [f"10.3.{n >> 8}.{n & 255}" for n in range(asked)]
    cluster = plugin(catalog_of(service(name, "None"), endpoint_slice(name, *map(endpoint, addresses))))
    query = query_of("many.shop.svc.cluster.local", "SRV", use_edns=0, payload=65000)
    with pytest.raises(StopIteration) as done:
        cluster.answer(query).send(None)
    reply = done.value.value
    assert {record.rdata[2:4] for record in reply.answer} == {max(1, 100 // asked).to_bytes(2, "big")}
    assert len(reply.answer) == len(reply.additional) == asked


def test_rec_43_additional_has_every_address_once(cluster):
    found = ask(cluster, "db.shop.svc.cluster.local", "SRV", use_edns=0, payload=4000)
    assert texts(found.answer) == ["SRV 0 33 15432 DB-1.db.shop.svc.cluster.local.", "SRV 0 33 15432 db-0.db.shop.svc.cluster.local."]
    assert texts(found.additional) == ["A 10.0.1.1", "A 10.0.1.2", "AAAA fd00::1:1"]


def test_wir_20_flags_and_rec_91_the_authority(cluster):
    found = ask(cluster, "web.shop.svc.cluster.local")
    assert found.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD
    assert not found.authority
    denial = ask(cluster, "no.cluster.local")
    assert texts(denial.authority) == ["SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 5"]
    assert denial.authority[0].ttl == 5


def test_rec_90_the_soa_of_a_long_ttl_is_kept_five_minutes_at_most():
    denial = ask(plugin(catalog_of(), ttl=3600), "no.cluster.local")
    assert (denial.authority[0].ttl, denial.authority[0][0].minimum) == (300, 3600)


def test_rec_07_and_11_namespaces(catalog):
    assert got(plugin(catalog, namespaces=("other",)), "web.shop.svc") == "NXDOMAIN"
    assert got(plugin(catalog, namespaces=("shop",)), "web.shop.svc") == ["A 10.96.1.1"]


def test_rec_16_endpoints_named_by_their_pods():
    alone, two = (endpoint("10.0.0.1", pod="db-abc"),), (endpoint("10.0.0.1", pod="db-abc"), endpoint("10.0.0.2", pod="db-xyz"))
    for endpoints in (alone, two):
        cluster = catalog_of(service("db", "None"), endpoint_slice("db", *endpoints))
        assert got(plugin(cluster, endpoint_pod_names=True), "db-abc.db.shop.svc") == ["A 10.0.0.1"]
        assert got(plugin(cluster), "db-abc.db.shop.svc") == "NXDOMAIN"


def test_rec_17_empty_services_may_be_ignored(catalog):
    ignoring = plugin(catalog, ignore_empty=True)
    assert got(ignoring, "empty.shop.svc") == "NXDOMAIN"
    assert got(ignoring, "web.shop.svc") == ["A 10.96.1.1"]


def test_ext_02_zonal_names():
    objects = (service("db", "None"), endpoint_slice("db", endpoint("10.0.0.1", zone="eu.a"), endpoint("10.0.0.2", zone="eu.b")))
    zonal = plugin(catalog_of(*objects), zonal=True)
    assert got(zonal, "EU.a.pin._zone.db.shop.svc") == ["A 10.0.0.1"]
    assert got(zonal, "eu.c.pin._zone.db.shop.svc") == "NODATA"
    assert got(zonal, "eu.c.prefer._zone.db.shop.svc") == ["A 10.0.0.1", "A 10.0.0.2"]
    assert got(zonal, "eu.a.other._zone.db.shop.svc") == "NXDOMAIN"
    assert got(plugin(catalog_of(*objects)), "eu.a.pin._zone.db.shop.svc") == "NXDOMAIN"
    assert texts(ask(zonal, "eu.a.pin._zone.db.shop.svc.cluster.local", "SRV").answer) == [
        "SRV 0 100 8080 10-0-0-1.db.shop.svc.cluster.local."
    ]


CLUSTERSET = (
    service_import("db", headless=True), service_import("web", "10.96.0.80", "fd00:96::50"), service_import("new"),
    service_import("none", ports=()),
    import_slice("db", "east", endpoint("10.0.0.1"), endpoint("10.0.0.2", "one")), import_slice("db", "West", endpoint("10.1.0.1")),
    import_slice("web", "east", endpoint("10.0.0.3")),
)  # fmt: skip


def both(catalog, *more, **options):
    zones = ("cluster.local.", "clusterset.local.", *more)
    return plugin(catalog, zones=zones, multicluster=("clusterset.local.",), **options)


def clusterset(catalog=None, **options):
    made = both(catalog or catalog_of(*CLUSTERSET), **options)
    return lambda name, qtype="A": outcome(ask(made, f"{name}.clusterset.local", qtype))


@pytest.mark.parametrize(("name", "qtype", "expected"), [
    ("db.shop.svc", "A", ["A 10.0.0.1", "A 10.0.0.2", "A 10.1.0.1"]),
    ("_http._tcp.db.shop.svc", "A", ["A 10.0.0.1", "A 10.0.0.2", "A 10.1.0.1"]),
    ("http._tcp.db.shop.svc", "A", ["A 10.0.0.1", "A 10.0.0.2", "A 10.1.0.1"]),
    ("_https._tcp.db.shop.svc", "A", "NXDOMAIN"),
    ("10-1-0-1.west.db.shop.svc", "A", ["A 10.1.0.1"]),
    ("10-1-0-1.WEST.db.shop.svc", "AAAA", "NODATA"),
    ("one.east.db.shop.svc", "A", ["A 10.0.0.2"]),
    ("one.west.db.shop.svc", "A", "NXDOMAIN"),
    ("one.db.shop.svc", "A", "NXDOMAIN"),
    ("east.db.shop.svc", "A", "NXDOMAIN"),
    ("10-1-0-1.east.db.shop.svc", "A", "NXDOMAIN"),
    ("a.one.east.db.shop.svc", "A", "NXDOMAIN"),
    ("one.east.db.shop.svc", "SRV", ["SRV 0 100 8080 one.east.db.shop.svc.clusterset.local."]),
    ("10-1-0-1.west.db.shop.svc", "SRV", ["SRV 0 100 8080 10-1-0-1.West.db.shop.svc.clusterset.local."]),
    ("web.shop.svc", "A", ["A 10.96.0.80"]),
    ("web.shop.svc", "AAAA", ["AAAA fd00:96::50"]),
    ("web.shop.svc", "SRV", ["SRV 0 50 80 web.shop.svc.clusterset.local."]),
    ("10-0-0-3.east.web.shop.svc", "A", ["A 10.0.0.3"]),
    ("new.shop.svc", "A", "NODATA"),
    ("_http._tcp.new.shop.svc", "SRV", "NODATA"),
    ("_https._tcp.new.shop.svc", "SRV", "NXDOMAIN"),
    ("none.shop.svc", "A", "NXDOMAIN"),
    ("nosuch.shop.svc", "A", "NXDOMAIN"),
    ("web.other.svc", "A", "NXDOMAIN"),
    ("shop.svc", "A", "NODATA"),
    ("dns-version", "TXT", ['TXT "1.1.0"']),
])  # fmt: skip
def test_ext_01_the_clusterset(name, qtype, expected):
    assert clusterset()(name, qtype) == expected


def test_ext_01_imports_are_in_their_zones_only_and_have_no_ptr():
    catalog = catalog_of(*CLUSTERSET, service("mine", "10.96.0.7"))
    all_three = both(catalog, "in-addr.arpa.")
    assert got(all_three, "web.shop.svc") == got(all_three, "db.shop.svc") == "NXDOMAIN"
    assert outcome(ask(all_three, "mine.shop.svc.clusterset.local")) == "NXDOMAIN"
    assert [outcome(ask(all_three, f"{each}.in-addr.arpa", "PTR")) for each in ("80.0.96.10", "1.0.0.10")] == ["NXDOMAIN"] * 2
    assert outcome(ask(all_three, "7.0.96.10.in-addr.arpa", "PTR")) == ["PTR mine.shop.svc.cluster.local."]


def test_ext_01_a_zone_below_a_multicluster_zone_is_one_too():
    below = plugin(catalog_of(*CLUSTERSET), zones=("a.clusterset.local.", "clusterset.local."), multicluster=("clusterset.local.",))
    assert outcome(ask(below, "web.shop.svc.a.clusterset.local")) == ["A 10.96.0.80"]


def test_ext_01_ignore_empty_service_noendpoints_and_zonal():
    some = catalog_of(*CLUSTERSET, service_import("empty", "10.96.0.81"))
    assert clusterset(some)("empty.shop.svc") == ["A 10.96.0.81"]
    ignoring = clusterset(some, ignore_empty=True)
    assert ignoring("empty.shop.svc") == ignoring("new.shop.svc") == "NXDOMAIN"
    assert ignoring("web.shop.svc") == ["A 10.96.0.80"]
    without = clusterset(some, endpoints=False, ignore_empty=True)
    assert without("one.east.db.shop.svc") == ["A 10.0.0.2"]  # noendpoints is about this cluster's slices
    assert without("web.shop.svc") == ["A 10.96.0.80"]
    assert clusterset(some, zonal=True)("a.pin._zone.db.shop.svc") == "NXDOMAIN"


def test_ext_01_slices_that_name_no_cluster_or_an_odd_one_are_named_without_it():
    names = clusterset(catalog_of(
        service_import("db", headless=True),
        import_slice("db", None, endpoint("10.0.0.1")), import_slice("db", "a..b", endpoint("10.0.0.2")),
    ))  # fmt: skip
    assert names("10-0-0-1.db.shop.svc") == ["A 10.0.0.1"]
    assert names("10-0-0-2.db.shop.svc") == "NXDOMAIN"
    assert names("db.shop.svc", "SRV") == [
        "SRV 0 50 8080 10-0-0-1.db.shop.svc.clusterset.local.", "SRV 0 50 8080 10-0-0-2.a.b.db.shop.svc.clusterset.local.",
    ]  # fmt: skip


def test_ext_01_until_imports_are_known_their_zones_deny_nothing():
    catalog = catalog_of(*CLUSTERSET)
    catalog.finish(Synced())
    zones = both(catalog)
    assert outcome(ask(zones, "nosuch.shop.svc.clusterset.local")) == "SERVFAIL"
    assert outcome(ask(zones, "shop.svc.clusterset.local")) == "NODATA"
    assert got(zones, "nosuch.shop.svc") == "NXDOMAIN"
    catalog.apply(Change(imports_known=True))
    assert outcome(ask(zones, "nosuch.shop.svc.clusterset.local")) == "NXDOMAIN"


def test_ext_01_the_serial_is_that_of_imports():
    catalog = catalog_of(*CLUSTERSET)
    catalog.apply(Change(imports_serial=1_800_000_000))
    zones = both(catalog)
    serials = [ask(zones, name, "SOA").answer[0][0].serial for name in ("cluster.local", "ClusterSet.local")]
    assert serials == [1_700_000_000, 1_800_000_000]
    assert ask(zones, "nosuch.shop.svc.clusterset.local").authority[0][0].serial == 1_800_000_000


@pytest.mark.parametrize(("name", "qtype", "tags"), [
    ("web.shop.svc.cluster.local", "A", {service_key("shop", "web"), label("shop")}),
    ("x.nosuch.shop.svc.cluster.local", "A", {service_key("shop", "nosuch"), label("shop")}),
    ("shop.svc.cluster.local", "A", {label("shop")}),
    ("other.cluster.local", "A", set()),
    ("7.0.0.10.in-addr.arpa", "PTR", {number(packed("10.0.0.7"))}),
])  # fmt: skip
def test_every_answer_says_on_what_it_rests(catalog, name, qtype, tags):
    resolver = Resolver(Settings((wire("cluster.local"), wire("in-addr.arpa"))), catalog)
    assert set(resolver.resolve(query_of(name, qtype)).life.tags) == tags


def test_rec_30_the_longest_zone_wins_and_names_elsewhere_are_nobodys(catalog):
    resolver = Resolver(Settings((wire("local"), wire("cluster.local"))), catalog)
    assert resolver.zone_of(wire("a.cluster.local")) == wire("cluster.local")
    assert resolver.zone_of(wire("a.local")) == wire("local")
    assert resolver.resolve(query_of("example.com")) is None
    assert is_reverse(wire("96.10.in-addr.arpa"))
    assert not is_reverse(wire("cluster.local"))
