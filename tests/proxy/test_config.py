import pytest
from msgspec import structs
from pointsman.proxy.config import Config, family_of, problems, split_host_port, warnings
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
        ("pod_bridge_interface", "a-name-longer-than-15"),
        ("pod_interface_name_prefix", "a b"),
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


def test_cfg_20_each_mode_has_its_periods_and_its_mark() -> None:
    config = Config(
        sync_period=11, min_sync_period=1, masquerade_bit=1, ipvs_sync_period=22, ipvs_min_sync_period=2,
        nftables_sync_period=33, nftables_min_sync_period=3, nftables_masquerade_bit=3, nftables_masquerade_all=True,
    )
    modes = [structs.replace(config, mode=mode) for mode in ("iptables", "ipvs", "nftables")]
    assert [(one.retry_period, one.write_period) for one in modes] == [(11, 1), (22, 2), (33, 3)]
    assert [(one.mark_bit, one.masquerade_every) for one in modes] == [(1, False), (1, False), (3, True)]


def test_masquerade_all_needs_no_cluster_cidr() -> None:
    assert warnings(structs.replace(GOOD, cluster_cidr=(), masquerade_all=True)) == ()


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:10256", ("127.0.0.1", 10256)), ("[::]:1", ("::", 1)), ("0.0.0.0:65535", ("0.0.0.0", 65535))]
)
def test_split_host_port(text: str, expected: tuple[str, int]) -> None:
    assert split_host_port(text) == expected


def test_family_of() -> None:
    assert family_of("10.0.0.1") is Family.IPV4
    assert family_of("10.0.0.1/8") is Family.IPV4
    assert family_of("fd00::/64") is Family.IPV6
    assert family_of("primary") is None
