import pytest
from msgspec import structs
from pointsman.proxy.config import Config
from pointsman.proxy.config_check import family_problems, problems, warnings
from pointsman.routing.route import Family

GOOD = Config(manifests="objects", cluster_cidr=("10.244.0.0/16",), node_port_addresses=("primary",))


def broken(**changes: object) -> dict[str, str]:
    return {problem.field: problem.text for problem in problems(structs.replace(GOOD, **changes))}


def test_a_good_configuration_has_neither_problems_nor_warnings() -> None:
    assert problems(GOOD) == ()
    assert warnings(GOOD) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", ""),
        ("masquerade_bit", 32),
        ("masquerade_bit", -1),
        ("sync_period", 0.0),
        ("min_sync_period", -1.0),
        ("min_sync_period", 31.0),
        ("drift_check_period", 0.0),
        ("oom_score_adj", -1001),
        ("verbosity", -1),
        ("bind_address", "node-1"),
        ("healthz_bind_address", "10256"),
        ("healthz_bind_address", "127.0.0.1:0"),
        ("healthz_bind_address", "127.0.0.1:65536"),
        ("healthz_bind_address", "::1:10256"),
        ("healthz_bind_address", "localhost:10256"),
        ("cluster_cidr", ("10.244.0.0",)),
        ("cluster_cidr", ("10.0.0.0/8", "10.1.0.0/16")),
        ("cluster_cidr", ("10.0.0.0/8", "fd00::/64", "10.1.0.0/16")),
        ("node_port_addresses", ("primary", "10.0.0.0/8")),
        ("node_port_addresses", ("10.0.0.300/8",)),
        ("detect_local_mode", "Magic"),
        ("metrics_bind_address", "127.0.0.1"),
        ("conntrack_min", -1),
        ("conntrack_max_per_core", -1),
        ("conntrack_udp_timeout", -1.0),
        ("conntrack_tcp_established_timeout", 1e9),
        ("kube_api_burst", -1),
        ("config_sync_period", 0.0),
        ("show_hidden_metrics_for_version", "1.16"),
        ("feature_gates", (("NoSuchGate", True),)),
        ("logging_format", "xml"),
        ("iptables_variant", "ebtables"),
        ("external_ips", "some"),
        ("external_ip_ranges", ("10.0.0.0/8",)),
        ("socket", "relative.sock"),
        ("socket", "/" + "x" * 107),
    ],
)
def test_cfg_23_one_wrong_value_is_one_problem_of_its_field(field: str, value: object) -> None:
    assert list(broken(**{field: value})) == [field]


@pytest.mark.parametrize(
    ("mode", "field"), [("BridgeInterface", "pod_bridge_interface"), ("InterfaceNamePrefix", "pod_interface_name_prefix")]
)
def test_cfg_23_a_detector_needs_its_parameter(mode: str, field: str) -> None:
    assert list(broken(detect_local_mode=mode)) == [field]
    assert broken(detect_local_mode=mode, **{field: "cali"}) == {}


@pytest.mark.parametrize("value", ["a-name-longer-than-15", "a b", "eth+"])
def test_cfg_23_a_detectors_parameter_is_a_name_of_an_interface(value: str) -> None:
    assert list(broken(detect_local_mode="BridgeInterface", pod_bridge_interface=value)) == ["pod_bridge_interface"]
    assert broken(pod_bridge_interface=value) == {}


@pytest.mark.parametrize(
    ("mode", "field", "value"),
    [
        ("ipvs", "ipvs_sync_period", 0.0),
        ("ipvs", "ipvs_min_sync_period", 31.0),
        ("ipvs", "ipvs_min_sync_period", -1.0),
        ("ipvs", "ipvs_scheduler", "random"),
        ("ipvs", "ipvs_tcp_timeout", -1.0),
        ("ipvs", "ipvs_drain_cap", -1.0),
        ("ipvs", "ipvs_exclude_cidrs", ("10.0.0.1",)),
        ("nftables", "nftables_sync_period", 0.0),
        ("nftables", "nftables_min_sync_period", 31.0),
        ("nftables", "nftables_masquerade_bit", 32),
    ],
)
def test_cfg_23_what_only_another_mode_reads_is_not_judged(mode: str, field: str, value: object) -> None:
    assert list(broken(mode=mode, **{field: value})) == [field]
    assert broken(**{field: value}) == {}


def test_cfg_20_the_sync_period_of_iptables_is_not_judged_in_another_mode() -> None:
    assert broken(mode="ipvs", sync_period=0.0) == {}
    assert broken(mode="nftables", min_sync_period=99.0) == {}


def test_cfg_24_a_family_that_the_host_does_not_serve_is_an_error_where_nothing_else_is_given() -> None:
    only = structs.replace(GOOD, bind_address="192.0.2.1")
    assert family_problems(only, [Family.IPV4]) == ()
    assert [one.field for one in family_problems(only, [Family.IPV6])] == ["bind_address", "cluster_cidr"]
    assert family_problems(structs.replace(GOOD, cluster_cidr=("10.0.0.0/8", "fd00::/64")), [Family.IPV6]) == ()
    assert family_problems(structs.replace(GOOD, detect_local_mode="NodeCIDR"), [Family.IPV6]) == ()


def test_a_gate_that_switches_nothing_here_is_a_warning() -> None:
    config = structs.replace(GOOD, feature_gates=(("TopologyAwareHints", False), ("WatchList", False), ("MultiCIDRServiceAllocator", True)))
    (found,) = warnings(config)
    assert found.field == "feature_gates"
    assert found.text == "TopologyAwareHints=false has no effect: hints are always honoured"


def test_cfg_23_everything_wrong_is_told_at_once() -> None:
    found = broken(mode="magic", masquerade_bit=40, sync_period=-1.0, cluster_cidr=("x",), socket="")
    assert set(found) == {"mode", "masquerade_bit", "sync_period", "cluster_cidr", "socket"}
    assert "'magic'" in found["mode"]
    assert "iptables" in found["mode"]


def test_external_ip_ranges_need_a_range() -> None:
    assert list(broken(external_ips="ranges")) == ["external_ip_ranges"]
    assert broken(external_ips="ranges", external_ip_ranges=("192.0.2.0/24", "2001:db8::/32")) == {}


def test_a_dual_pair_of_cluster_cidrs_is_fine_in_either_order() -> None:
    assert broken(cluster_cidr=("fd00::/48", "10.0.0.0/8")) == {}


def test_no_health_server_is_fine() -> None:
    assert broken(healthz_bind_address="") == {}


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"node_port_addresses": ()}, "node_port_addresses", "consider 'primary'"),
        ({"node_port_addresses": ("10.0.0.0/8",)}, "node_port_addresses", "IPv6"),
        ({"cluster_cidr": ()}, "cluster_cidr", "masqueraded"),
        ({"detect_local_mode": "NodeCIDR"}, "cluster_cidr", "no effect"),
        ({"bind_address": "::"}, "bind_address", "another family"),
    ],
)
def test_cfg_24_what_is_probably_not_meant_is_a_warning(changes: dict[str, object], field: str, text: str) -> None:
    config = structs.replace(GOOD, **changes)
    assert problems(config) == ()
    (found,) = warnings(config)
    assert found.field == field
    assert text in found.text


def test_masquerade_all_needs_no_cluster_cidr() -> None:
    assert warnings(structs.replace(GOOD, cluster_cidr=(), masquerade_all=True)) == ()


def test_pain_28_who_answers_arp_is_said_where_addresses_become_this_nodes() -> None:
    (found,) = warnings(structs.replace(GOOD, mode="ipvs"))
    assert found.field == "ipvs_strict_arp"
    assert "MetalLB" in found.text
    assert warnings(structs.replace(GOOD, mode="ipvs", ipvs_strict_arp=True)) == ()
