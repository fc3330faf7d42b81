"""SOA and name servers (REC-90 to REC-98)."""

from fakes.dns_cluster import ask, catalog_of, endpoint, endpoint_slice, outcome, plugin, service, texts
from pointsman.dns.apex import external_target, name_servers, soa
from pointsman.dns.facts import packed
from pointsman.dns.names import wire

ZONE = wire("cluster.local")
DNS = service("kube-dns", "10.96.0.10", namespace="kube-system")
SLICE = endpoint_slice("kube-dns", endpoint("10.0.0.53"), namespace="kube-system")


def catalog(*objects):
    return catalog_of(*objects, namespaces=("shop", "kube-system"))


def test_rec_98_the_service_whose_address_is_ours_is_the_name_server():
    cluster = plugin(catalog(DNS, SLICE), local=("169.254.20.10", "10.96.0.10"))
    found = ask(cluster, "cluster.local", "NS")
    assert texts(found.answer) == ["NS kube-dns.kube-system.svc.cluster.local."]
    assert texts(found.additional) == ["A 10.96.0.10"]
    assert outcome(ask(cluster, "ns.dns.cluster.local")) == ["A 10.96.0.10"]


def test_rec_94_a_resolver_in_a_pod_is_found_by_its_endpoint():
    cluster = plugin(catalog(DNS, SLICE), local=("127.0.0.1", "10.0.0.53"))
    assert outcome(ask(cluster, "cluster.local", "NS")) == ["NS kube-dns.kube-system.svc.cluster.local."]


def test_rec_94_a_headless_service_gives_its_endpoints():
    headless = service("kube-dns", "None", namespace="kube-system")
    found = ask(plugin(catalog(headless, SLICE), local=("10.0.0.53",)), "cluster.local", "NS")
    assert texts(found.answer) == ["NS 10-0-0-53.kube-dns.kube-system.svc.cluster.local."]
    assert texts(found.additional) == ["A 10.0.0.53"]


def test_rec_94_nobody_knows_us():
    found = ask(plugin(catalog(), local=("192.0.2.1", "fd00::53")), "cluster.local", "NS")
    assert texts(found.answer) == ["NS ns.dns.cluster.local."]
    assert texts(found.additional) == ["A 192.0.2.1", "AAAA fd00::53"]
    assert outcome(ask(plugin(catalog(), local=("127.0.0.1", "::1")), "cluster.local", "NS")) == "NODATA"
    assert name_servers(catalog(), (packed("::1"),), ZONE) == {}


def test_rec_95_ns_in_any_letter_case():
    assert outcome(ask(plugin(catalog(DNS), local=("10.96.0.10",)), "Cluster.Local", "NS")) == [
        "NS kube-dns.kube-system.svc.Cluster.Local."
    ]


def test_rec_90_the_soa_record():
    record = soa(ZONE, 30, 2**32 + 5)
    assert record.rdata[-20:] == b"".join(number.to_bytes(4, "big") for number in (5, 7200, 1800, 86400, 30))
    assert record.ttl == 30


def test_rec_60_the_final_dot_of_an_alias_is_optional():
    assert external_target("example.com") == external_target("example.com.") == wire("example.com")
    assert external_target("exa..mple") is None
