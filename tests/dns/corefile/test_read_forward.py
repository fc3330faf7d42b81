"""The forward directive: FWD-01, FWD-02, FWD-10 to FWD-25."""

import pytest
from fakes.corefiles import errors, loaded, options
from pointsman.dns.corefile.options import ForwardOptions, Upstream


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", Upstream("192.0.2.1")),
        ("192.0.2.1:5300", Upstream("192.0.2.1", 5300)),
        ("dns://192.0.2.1", Upstream("192.0.2.1")),
        ("2001:db8::1", Upstream("2001:db8::1")),
        ("[2001:db8::1]:5300", Upstream("2001:db8::1", 5300)),
        ("tls://192.0.2.1", Upstream("192.0.2.1", 853, "tls")),
        ("tls://192.0.2.1:8853%dns.example", Upstream("192.0.2.1", 8853, "tls", "dns.example")),
        ("tls://192.0.2.1%dns.example", Upstream("192.0.2.1", 853, "tls", "dns.example")),
        ("tls://[2001:db8::1]:8853", Upstream("2001:db8::1", 8853, "tls")),
        ("/etc/resolv.conf", Upstream(file="/etc/resolv.conf")),
    ],
)
def test_fwd_02_where_to(text, expected):
    assert options(ForwardOptions, f"forward . {text}").upstreams == (expected,)


def test_fwd_02_duplicates_go_and_the_first_stays():
    made = options(ForwardOptions, "forward . 192.0.2.2 192.0.2.1 192.0.2.2:53")
    assert [one.address for one in made.upstreams] == ["192.0.2.2", "192.0.2.1"]


def test_fwd_10_to_24_all_options_are_read():
    made = options(
        ForwardOptions, "forward Example.org 192.0.2.1 {", "except a.example.org b.example.org", "policy sequential", "force_tcp",
        "max_concurrent 1000", "max_fails 0", "max_connect_attempts 0", "health_check 5s no_rec domain Example.net", "expire 20s",
        "max_age 1m", "max_idle_conns 4", "read_timeout 500ms", "tls /cert /key /ca", "tls_servername x.example", "failover SERVFAIL",
        "next NXDOMAIN REFUSED", "next_on_nodata", "failfast_all_unhealthy_upstreams", "}",
    )  # fmt: skip
    assert (made.zone, made.exclude, made.policy) == ("example.org.", ("a.example.org.", "b.example.org."), "sequential")
    assert (made.force_tcp, made.max_concurrent, made.max_fails, made.max_attempts) == (True, 1000, 0, 0)
    assert (made.health_interval, made.health_recursion, made.health_domain) == (5.0, False, "example.net.")
    assert (made.expire, made.max_age, made.max_idle, made.read_timeout) == (20, 60, 4, 0.5)
    assert (made.tls, made.tls_server_name) == (("/cert", "/key", "/ca"), "x.example")
    assert (made.failover, made.next, made.next_on_nodata, made.fail_fast) == ((2,), (3, 5), True, True)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("forward .", "Wrong argument count"),
        ("forward . dns.example", "host names as upstreams are not looked up"),
        ("forward . https://192.0.2.1/dns-query", "DNS over HTTPS is supported by CoreDNS"),
        ("forward . 192.0.2.1:0", "from 1 to 65535"),
        ("forward . " + " ".join(f"192.0.2.{n}" for n in range(16)), "more than 15 TOs"),
        ("forward 10.0.0.0/12 192.0.2.1", "this one is 16"),
        ("forward . 192.0.2.1 {\n policy best\n}", "random or round_robin or sequential"),
        ("forward . 192.0.2.1 {\n failover NOERROR\n}", "nothing to fail over from"),
        ("forward . 192.0.2.1 {\n health_check 1s sometimes\n}", "unknown option sometimes"),
        ("forward . 192.0.2.1 {\n max_age 5s\n expire 10s\n}", "must not be less than expire"),
        ("forward . 192.0.2.1 {\n doh_method GET\n}", "supported by CoreDNS"),
        ("forward . 192.0.2.1 {\n read_timeout 0\n}", "read_timeout"),
        ("forward . tls://192.0.2.1%a.example {\n tls_servername b.example\n}", "both set"),
    ],
)
def test_what_is_wrong_is_told(text, part):
    found = errors(f".:53 {{\n{text}\n}}")
    assert len(found) == 1
    assert part in found[0][1]


def test_all_wrong_upstreams_are_told_at_once():
    assert len(errors(".:53 {\n forward . a.example https://x b.example\n}")) == 3


def test_force_tcp_beats_prefer_udp_with_a_warning():
    found = loaded(".:53 {\n forward . 192.0.2.1 {\n  force_tcp\n  prefer_udp\n }\n}")
    assert found.corefile is not None
    assert "beats prefer_udp" in found.findings[0].text
