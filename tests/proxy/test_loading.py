import pytest
from pointsman.proxy.config import Config, ConfigProblem
from pointsman.proxy.config_check import problems
from pointsman.proxy.config_file import read as read_file
from pointsman.proxy.flag_table import RUN_FLAGS
from pointsman.proxy.loading import Loaded, Source, load, read, told, with_port

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def loaded(file: str | None = None, **texts: str) -> Loaded:
    source = None if file is None else Source("config.conf", read_file((HEAD + file).encode()))
    return load(RUN_FLAGS, {field: (text,) for field, text in texts.items()}, source, problems)


def test_defaults_are_those_of_the_configuration() -> None:
    found = loaded()
    assert found.config == Config()
    assert set(found.origins.values()) == {"default"}
    assert set(found.origins) == set(Config.__struct_fields__)
    assert (found.problems, found.remarks) == ((), ())


def test_every_value_knows_where_it_came_from() -> None:
    found = loaded("iptables:\n  syncPeriod: 5s\n", hostname_override="n1", socket="/run/x.sock")
    assert found.config.sync_period == 5
    assert found.origins["sync_period"] == "config.conf:4 iptables.syncPeriod"
    assert found.origins["hostname_override"] == "--hostname-override"
    assert found.origins["socket"] == "--socket"
    assert found.origins["mode"] == "default"


def test_cfg_22_a_file_wins_over_kube_proxys_flags_and_whoever_gave_one_is_told() -> None:
    found = loaded("mode: iptables\n", mode="ipvs", sync_period="5s")
    assert found.config == Config()
    assert found.remarks == (
        "--proxy-mode has no effect beside --config; say it in config.conf",
        "--iptables-sync-period has no effect beside --config; say it in config.conf",
    )


def test_cfg_22_some_flags_win_over_the_file() -> None:
    file = "hostnameOverride: other\nlogging:\n  verbosity: 1\n  format: text\n"
    found = loaded(file, hostname_override="n1", verbosity="4", logging_format="json", master="https://x", takeover="false")
    config = found.config
    assert (config.hostname_override, config.verbosity, config.logging_format, config.master, config.takeover) == (
        "n1", 4, "json", "https://x", False,
    )
    assert found.remarks == ()


def test_what_means_nothing_here_is_told() -> None:
    found = loaded(vmodule="a=1", proxy_port_range="1-2")
    assert found.remarks == ("--proxy-port-range has no effect here", "--vmodule has no effect here")


def test_actions_are_no_settings() -> None:
    found = loaded(init_only="true", write_config_to="/x")
    assert dict(found.actions) == {"init_only": True, "write_config_to": "/x"}
    assert found.config == Config()


@pytest.mark.parametrize(
    ("texts", "healthz", "metrics"),
    [
        ({}, "0.0.0.0:10256", "127.0.0.1:10249"),
        ({"bind_address": "::"}, "[::]:10256", "[::1]:10249"),
        ({"bind_address": "fd00::1"}, "[::]:10256", "[::1]:10249"),
        ({"healthz_bind_address": "127.0.0.1", "metrics_bind_address": "::"}, "127.0.0.1:10256", "[::]:10249"),
        ({"healthz_bind_address": "", "metrics_bind_address": ""}, "", ""),
        ({"healthz_port": "0", "metrics_port": "0"}, "", ""),
        ({"healthz_port": "11", "metrics_port": "12"}, "0.0.0.0:11", "127.0.0.1:12"),
        ({"healthz_port": "11", "healthz_bind_address": "10.0.0.1"}, "10.0.0.1:11", "127.0.0.1:10249"),
        ({"healthz_port": "11", "healthz_bind_address": "10.0.0.1:7"}, "10.0.0.1:7", "127.0.0.1:10249"),
        ({"healthz_port": "11", "bind_address": "::"}, "[::]:11", "[::1]:10249"),
    ],
)
def test_cfg_02_and_03_addresses_are_completed(texts: dict[str, str], healthz: str, metrics: str) -> None:
    config = loaded(**texts).config
    assert (config.healthz_bind_address, config.metrics_bind_address) == (healthz, metrics)


def test_cfg_02_in_a_file_empty_means_the_default_and_older_flags_mean_nothing() -> None:
    found = loaded('healthzBindAddress: ""\nmetricsBindAddress: 0.0.0.0\n', healthz_port="0")
    assert (found.config.healthz_bind_address, found.config.metrics_bind_address) == ("0.0.0.0:10256", "0.0.0.0:10249")
    assert loaded('bindAddress: "::"\n').config.metrics_bind_address == "[::1]:10249"


def test_sem_44_nftables_accepts_node_ports_on_the_nodes_own_addresses() -> None:
    found = loaded("mode: nftables\n")
    assert found.config.node_port_addresses == ("primary",)
    assert found.origins["node_port_addresses"] == "default of the mode"
    assert loaded("mode: nftables\nnodePortAddresses: [10.0.0.0/8]\n").config.node_port_addresses == ("10.0.0.0/8",)
    assert loaded("mode: iptables\n").config.node_port_addresses == ()


def test_cfg_40_the_periods_of_iptables_flags_are_those_of_nftables_too() -> None:
    config = loaded(mode="nftables", sync_period="7s", min_sync_period="2s", masquerade_all="true").config
    assert (config.retry_period, config.write_period, config.masquerade_every) == (7, 2, True)


def test_problems_are_told_where_they_were_written() -> None:
    found = loaded("mode: magic\niptables:\n  masqueradeBit: 40\n  syncPeriod: soon\n", socket="x", hostname_override="n")
    assert found.problems == (
        "config.conf:6: iptables.syncPeriod: 'soon' is no duration; write it as 30s, 1m30s or 100ms",
        "config.conf:3: mode: 'magic' is unknown; this version knows: iptables, ipvs, nftables",
        "config.conf:5: iptables.masqueradeBit: 40 is no bit of a 32-bit mark; use 0 to 31",
        "--socket=x: 'x' is no absolute path",
    )


def test_remarks_of_the_file_are_told_with_their_lines() -> None:
    assert loaded("nonsense: 1\n").remarks == ("config.conf:3: nonsense: is not known",)


def test_a_value_that_cannot_be_read_is_not_judged_again() -> None:
    assert len(loaded(sync_period="soon").problems) == 1


def test_flags_that_cannot_be_read_keep_their_defaults() -> None:
    values, found = read(RUN_FLAGS, {"masquerade_bit": ("x",), "manifests": ("m",)})
    assert values == {"manifests": "m"}
    assert [problem.field for problem in found] == ["masquerade_bit"]


def test_lists_add_up_where_kube_proxys_do() -> None:
    texts = {
        "node_port_addresses": ("10.0.0.0/8", "fd00::/64"),
        "cluster_cidr": ("10.0.0.0/8", "11.0.0.0/8"),
        "feature_gates": ("A=true", "B=1"),
    }
    values, _ = read(RUN_FLAGS, texts)
    assert values == {
        "node_port_addresses": ("10.0.0.0/8", "fd00::/64"), "cluster_cidr": ("11.0.0.0/8",), "feature_gates": (("A", True), ("B", True)),
    }


def test_problems_are_told_in_the_words_of_the_command_line() -> None:
    lines = told({"mode": ("x",)}, [ConfigProblem("mode", "bad"), ConfigProblem("verbosity", "bad")])
    assert lines == ["--proxy-mode=x: bad", "-v: bad"]


def test_only_an_address_gets_a_port() -> None:
    assert [with_port(text, 5) for text in ("10.0.0.1", "::1", "10.0.0.1:7", "[::1]:7", "x", "")] == [
        "10.0.0.1:5", "[::1]:5", "10.0.0.1:7", "[::1]:7", "x", "",
    ]
