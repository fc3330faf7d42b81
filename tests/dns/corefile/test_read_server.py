"""Directives about the server itself, and the small ones."""

import pytest
from fakes.corefiles import errors, loaded, options
from pointsman.dns.corefile import options as kinds
from pointsman.dns.corefile.read_server import COMBINED_LOG, COMMON_LOG


def wrong(*lines):
    return [text for _, text in errors(".:53 {\n" + "\n".join(lines) + "\n}")]


def test_errors_with_consolidation():
    made = options(kinds.ErrorsOptions, "errors stdout {", "stacktrace", 'consolidate 5m "^a .* b$" warning show_first', "}")
    assert made.stacktrace
    assert made.consolidate == (kinds.Consolidation(300, "^a .* b$", "^a .* b$", "warning", True),)
    assert "written to stdout only" in wrong("errors /var/log/x")[0]
    assert "the period is longer than 0" in wrong("errors {", "consolidate 0 x", "}")[0]


def test_obs_30_31_health_ready_prometheus():
    assert options(kinds.HealthOptions, "health localhost:8090 {", "lameduck 1m", "}") == kinds.HealthOptions(
        place=options(kinds.HealthOptions, "health localhost:8090 {", "lameduck 1m", "}").place, address="localhost:8090", lameduck=60
    )
    assert options(kinds.ReadyOptions, "ready {", "monitor continuously", "}").monitor == "continuously"
    assert options(kinds.PrometheusOptions, "prometheus").address == "localhost:9153"
    assert "monitor: it is until-ready or continuously" in wrong("ready {", "monitor x", "}")[0]


def test_obs_42_43_log():
    made = options(kinds.LogOptions, "log")
    assert (made.zones, made.format, made.classes) == ((".",), COMMON_LOG, frozenset({"all"}))
    made = options(kinds.LogOptions, 'log example.org Example.net "{combined} {local}" {', "class denial error", "}")
    assert (made.zones, made.classes) == (("example.org.", "example.net."), frozenset({"denial", "error"}))
    assert made.format == COMBINED_LOG + " {local}"
    assert "{/kubernetes/ns}" in wrong('log . "{/kubernetes/ns}"')[0]
    assert "class" in wrong("log {", "class nothing", "}")[0]


@pytest.mark.parametrize(
    ("text", "interval", "jitter"),
    [("reload", 30, 15), ("reload 10s", 10, 5), ("reload 60s 5s", 60, 5), ("reload 2s 2s", 2, 1), ("reload 10s 0", 10, 0)],
)
def test_reload_has_a_jitter_of_at_most_half_its_interval(text, interval, jitter):
    made = options(kinds.ReloadOptions, text)
    assert (made.interval, made.jitter) == (interval, jitter)


def test_reload_refuses_what_is_too_short():
    assert "greater or equal to 2s" in wrong("reload 1s")[0]
    assert "at least 1s" in wrong("reload 10s 500ms")[0]


def test_cor_14_bind_may_repeat_and_leave_out():
    made = loaded(".:53 {\n bind lo eth0 {\n  except 127.0.0.1\n }\n bind ::1\n whoami\n}").must().blocks[0]
    assert made.addresses == ("lo", "eth0", "::1")
    assert made.all(kinds.BindOptions)[0].exclude == ("127.0.0.1",)


def test_wir_35_bufsize():
    assert options(kinds.BufsizeOptions, "bufsize").size == 1232
    assert options(kinds.BufsizeOptions, "bufsize 4096").size == 4096
    assert "from 512 to 4096" in wrong("bufsize 100")[0]


def test_timeouts():
    made = options(kinds.TimeoutsOptions, "timeouts {", "read 5s", "maxtcpqueries -1", "}")
    assert (made.read, made.idle, made.queries) == (5, None, None)
    assert "at least one of" in wrong("timeouts")[0]
    assert "maxtcpqueries 0" in wrong("timeouts {", "maxtcpqueries 0", "}")[0]


def test_wir_61_header():
    made = options(kinds.HeaderOptions, "header {", "response set ra aa", "query clear rd", "}")
    assert made.rules == (kinds.HeaderRule(True, True, ("ra", "aa")), kinds.HeaderRule(False, False, ("rd",)))
    assert "unknown selector 'set'" in wrong("header {", "set ra", "}")[0]


def test_wir_54_loadbalance_weighted_is_refused_and_round_robin_is_not():
    assert options(kinds.LoadbalanceOptions, "loadbalance round_robin")
    assert "supported by CoreDNS, not by this resolver" in wrong("loadbalance weighted /file")[0]
    assert "supported by CoreDNS" in wrong("loadbalance {", "prefer 10.0.0.0/8", "}")[0]


def test_dns64():
    assert options(kinds.Dns64Options, "dns64").prefix == "64:ff9b::/96"
    made = options(kinds.Dns64Options, "dns64 2001:db8::/96 {", "translate_all", "allow_ipv4", "}")
    assert (made.prefix, made.translate_all, made.allow_ipv4) == ("2001:db8::/96", True, True)
    assert "its length is" in wrong("dns64 2001:db8::/95")[0]


def test_small_ones():
    assert options(kinds.ChaosOptions, "chaos v1 ada bob").authors == ("ada", "bob")
    assert options(kinds.NsidOptions, "nsid the node").identity == "the node"
    assert options(kinds.CancelOptions, "cancel 1s").timeout == 1
    assert not options(kinds.LocalOptions, "local {", "localhost_prefix off", "}").prefix
    assert options(kinds.LoopOptions, "loop").zone == "."
    for line in ("any x", "minimal x", "whoami x", "loop x"):
        assert "Wrong argument count" in wrong(line)[0]


@pytest.mark.parametrize("line", ["pprof", "trace", "multisocket 4", "root /x"])
def test_cor_30_what_only_says_how_the_process_runs_is_accepted_with_a_warning(line):
    found = loaded(f".:53 {{\n whoami\n {line}\n}}")
    assert found.corefile is not None
    assert ["no effect" in one.text for one in found.findings] == [True]
