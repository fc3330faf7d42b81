"""The kubernetes directive: REC-12 to REC-22 and COR-40."""

import pytest
from fakes.corefiles import errors, loaded, options
from pointsman.dns.corefile.options import Fallthrough, KubernetesOptions


def test_rec_12_to_22_all_options_are_read():
    made = options(
        KubernetesOptions, "kubernetes Cluster.Local 10.0.0.0/16 clusterset.local {", "ttl 60", "pods verified", "fallthrough in-addr.arpa",
        "endpoint_pod_names", "ignore empty_service", "labels app in (a, b),tier=x", "namespace_labels team!=y",
        "startup_timeout 10s", "zonal", "multicluster ClusterSet.local",
        "kubeconfig /k/config ctx", "apiserver_qps 5", "}",
    )  # fmt: skip
    assert made.zones == ("cluster.local.", "0.10.in-addr.arpa.", "clusterset.local.")
    assert (made.ttl, made.pods, made.fallthrough) == (60, "verified", Fallthrough(("in-addr.arpa.",)))
    assert (made.endpoint_pod_names, made.ignore_empty, made.zonal) == (True, True, True)
    assert (made.labels, made.namespace_labels, made.startup_timeout) == ("app in (a, b),tier=x", "team!=y", 10.0)
    assert made.multicluster == ("clusterset.local.",)
    assert made.kubeconfig == ("/k/config", "ctx")


def test_rec_12_the_zones_are_the_block_s_keys():
    assert loaded("cluster.local {\n kubernetes\n}").must().one(KubernetesOptions).zones == ("cluster.local.",)


def test_rec_18_namespaces_and_noendpoints():
    made = options(KubernetesOptions, "kubernetes a.org {", "namespaces one TWO", "noendpoints", "}")
    assert (made.namespaces, made.endpoints) == (("one", "two"), False)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ttl 3601", "from 0 to 3600"),
        ("pods maybe", "disabled or insecure or verified"),
        ("ignore all", "only empty_service"),
        ("upstream", "removed from CoreDNS 1.7"),
        ("resyncperiod 5m", "removed from CoreDNS 1.5"),
        ("transfer to *", "zone transfers are not served"),
        ("federation x", "unknown property"),
        ("labels a=b c=d", "is not a label selector"),
        ("multicluster clusterset.local", "is not authoritative for the multicluster zone clusterset.local."),
        ("bogus", "unknown property 'bogus'"),
        ("startup_timeout soon", "is not a duration"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, part):
    ((line, found),) = errors(f"cluster.local {{\n kubernetes {{\n  {text}\n }}\n}}")
    assert line == 3
    assert part in found


def test_rec_09_22_options_that_exclude_each_other():
    found = errors("a.org {\n kubernetes {\n  namespaces x\n  namespace_labels a=b\n  zonal\n  noendpoints\n }\n}")
    assert [line for line, _ in found] == [4, 5]


def test_ext_01_multicluster_without_a_zone_has_no_effect_and_says_so():
    found = loaded("a.org {\n kubernetes {\n  multicluster\n }\n}")
    assert found.must().one(KubernetesOptions).multicluster == ()
    assert ["multicluster names no zone" in str(finding) for finding in found.findings] == [True]


def test_rec_12_a_zone_that_is_not_reverse_is_needed():
    assert "non-reverse zone name must be used" in errors(".:53 {\n kubernetes in-addr.arpa\n}")[0][1]
