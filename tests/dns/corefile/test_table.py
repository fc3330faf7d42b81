"""Which directives there are, in which order they run, and how others are refused (COR-15 to COR-40)."""

import pytest
from fakes.corefiles import corefile, errors
from pointsman.dns.corefile.table import HINTS, PLACE_IN_CHAIN, READERS, REFUSED, REPEATABLE, refusal

CORE = [
    "bind",
    "bufsize",
    "cache",
    "errors",
    "forward",
    "health",
    "hosts",
    "kubernetes",
    "loadbalance",
    "log",
    "loop",
    "prometheus",
    "ready",
    "reload",
]
SHOULD = [
    "acl",
    "any",
    "chaos",
    "debug",
    "header",
    "minimal",
    "rewrite",
    "template",
    "timeouts",
    "autopath",
    "whoami",
    "cancel",
    "multisocket",
    "nsid",
    "local",
    "dns64",
]
REFUSES = [
    "transfer",
    "k8s_external",
    "file",
    "auto",
    "secondary",
    "etcd",
    "grpc",
    "route53",
    "azure",
    "clouddns",
    "dnssec",
    "sign",
    "tsig",
    "tls",
    "https",
    "quic",
    "dnstap",
    "geoip",
    "view",
    "metadata",
    "nomad",
    "erratic",
]


def test_cor_20_21_what_must_and_should_work_is_there():
    assert set(CORE) | set(SHOULD) <= set(READERS)


@pytest.mark.parametrize("name", REFUSES)
def test_cor_22_30_what_is_not_served_is_refused_by_name_and_line(name):
    ((line, text),) = errors(f".:53 {{\n whoami\n {name} x\n}}")
    assert line == 3
    assert f"the plugin '{name}' is supported by CoreDNS, not by this resolver" in text


def test_cor_30_what_nobody_knows_is_not_a_plugin_of_coredns():
    assert "not a CoreDNS plugin" in refusal("frobnicate")
    assert "did you mean cache or cancel?" in refusal("cahce")


def test_cor_40_what_is_gone_has_a_hint():
    assert "write forward" in refusal("proxy")
    assert "federation was removed" in refusal("federation")
    assert "property of forward" in refusal("except")
    assert not set(HINTS) & set(READERS)


def test_cor_15_the_order_is_fixed_whatever_the_file_says():
    order = [
        "timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "trace", "ready", "health", "pprof", "prometheus",
        "errors", "log", "local", "dns64", "any", "chaos", "loadbalance", "rewrite", "autopath", "acl", "cache", "header", "minimal",
        "template",
        "hosts", "kubernetes", "loop", "forward", "whoami",
    ]  # fmt: skip
    assert sorted(order, key=PLACE_IN_CHAIN.__getitem__) == order
    made = corefile(".:53 {\n forward . 192.0.2.1\n hosts\n cache\n rewrite type A AAAA\n}").blocks[0]
    assert [type(one).__name__ for one in made.options] == ["RewriteOptions", "CacheOptions", "HostsOptions", "ForwardOptions"]


@pytest.mark.parametrize("name", sorted(set(CORE) - REPEATABLE))
def test_cor_16_a_second_use_is_an_error(name):
    line = {"kubernetes": "kubernetes a.org"}.get(name, name)
    found = errors(f"a.org:53 {{\n {line}\n {line}\n}}")
    assert any(at == 3 and "can only be used once per Server Block" in text for at, text in found)


def test_no_directive_is_both_served_and_refused():
    assert not set(READERS) & set(REFUSED)
