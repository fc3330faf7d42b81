import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.proxy.config import Config
from pointsman.proxy.config_check import problems
from pointsman.proxy.flag_table import RUN_FLAGS
from pointsman.proxy.flags import FlagCommand, load


def command() -> click.Command:
    @click.command("run", cls=FlagCommand, flags=RUN_FLAGS)
    @click.pass_context
    def run(ctx: click.Context, **values: object) -> None:
        click.echo(repr(load(ctx, values, problems).config))

    return run


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command(), list(arguments))


def config(*arguments: str) -> Config:
    result = invoke("--manifests", "m", *arguments)
    assert result.exit_code == 0, result.output
    value = eval(result.output, {"Config": Config})
    assert isinstance(value, Config)
    return value


def test_defaults_are_those_of_the_configuration() -> None:
    assert config() == Config(manifests="m")


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--masquerade-all"], "masquerade_all", True),
        (["--ipvs-scheduler", "mh"], "ipvs_scheduler", "mh"),
        (["--ipvs-exclude-cidrs", "10.1.0.0/16,fd00::/64"], "ipvs_exclude_cidrs", ("10.1.0.0/16", "fd00::/64")),
        (["--ipvs-strict-arp"], "ipvs_strict_arp", True),
        (["--ipvs-strict-arp=false"], "ipvs_strict_arp", False),
        (["--ipvs-tcp-timeout", "15m"], "ipvs_tcp_timeout", 900.0),
        (["--ipvs-tcpfin-timeout=1m30s"], "ipvs_tcpfin_timeout", 90.0),
        (["--ipvs-udp-timeout", "0"], "ipvs_udp_timeout", 0.0),
        (["--ipvs-drain-cap", "0"], "ipvs_drain_cap", 0.0),
        (["--ipvs-drain-cap", "1h"], "ipvs_drain_cap", 3600.0),
        (["--ipvs-sync-period", "1m"], "ipvs_sync_period", 60.0),
        (["--ipvs-min-sync-period", "5s"], "ipvs_min_sync_period", 5.0),
        (["--masquerade-all=false"], "masquerade_all", False),
        (["--iptables-localhost-nodeports=false"], "localhost_node_ports", False),
        (["--masquerade-all", "--cluster-cidr", "10.0.0.0/8"], "cluster_cidr", ("10.0.0.0/8",)),
        (["--cluster-cidr=10.0.0.0/8,fd00::/64"], "cluster_cidr", ("10.0.0.0/8", "fd00::/64")),
        (["--cluster-cidr=10.0.0.0/8", "--cluster-cidr=11.0.0.0/8"], "cluster_cidr", ("11.0.0.0/8",)),
        (["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses", "fd00::/64"], "node_port_addresses", ("10.0.0.0/8", "fd00::/64")),
        (["--iptables-sync-period=1m30s"], "sync_period", 90.0),
        (["--iptables-min-sync-period", "100ms"], "min_sync_period", 0.1),
        (["-v", "4"], "verbosity", 4),
        (["-v=4"], "verbosity", 4),
        (["-v4"], "verbosity", 4),
        (["--v=4"], "verbosity", 4),
        (["--v", "4"], "verbosity", 4),
        (["--healthz-bind-address="], "healthz_bind_address", ""),
        (["--hostname-override", "Node-1"], "hostname_override", "node-1"),
    ],
)
def test_cfg_40_flags_have_kube_proxys_grammar(arguments: list[str], field: str, value: object) -> None:
    assert getattr(config(*arguments), field) == value


def test_cfg_41_everything_wrong_is_told_at_once_with_status_2() -> None:
    wrong = ["--proxy-mode=magic", "--iptables-sync-period", "soon", "--masquerade-all=perhaps"]
    result = invoke(*wrong, "--no-such-flag", "value", "stray", "-x", "--cluster-cidr")
    assert result.exit_code == 2
    for line in (
        "--proxy-mode=magic: 'magic' is unknown",
        "--iptables-sync-period=soon: 'soon' is no duration",
        "--masquerade-all=perhaps: 'perhaps' is neither",
        "--no-such-flag: unknown flag",
        "'stray': unexpected argument",
        "-x: unknown flag",
        "--cluster-cidr: needs a value",
        "7 problems",
    ):
        assert line in result.output


def test_an_unreadable_value_is_told_once_and_not_judged_again() -> None:
    result = invoke("--manifests=m", "--iptables-sync-period=soon")
    assert result.exit_code == 2
    assert "1 problem in" in result.output


def test_a_misspelt_flag_is_answered_with_the_one_that_was_meant() -> None:
    result = invoke("--manifests=m", "--node-port-addresses=primary")
    assert result.exit_code == 2
    assert "--node-port-addresses: unknown flag; did you mean --nodeport-addresses?" in result.output


def test_help_tells_defaults_as_go_writes_them() -> None:
    text = " ".join(invoke("--help").output.split())
    for default in ("14", "true", "false", "30s", "0.0.0.0:10256", "ClusterCIDR"):
        assert f"[default: {default}]" in text


def test_a_switch_does_not_swallow_the_next_argument() -> None:
    result = invoke("--manifests=m", "--masquerade-all", "false")
    assert result.exit_code == 2
    assert "'false': unexpected argument" in result.output


def test_help_lists_every_flag() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for flag in RUN_FLAGS:
        assert f"--{flag.name}" in result.output or flag.short


WORDS = st.one_of(
    st.sampled_from([f"--{flag.name}{value}" for flag in RUN_FLAGS for value in ("", "=", "=x", "=1", "=true", "=10.0.0.0/8", "=-1s")]),
    st.sampled_from(["--", "-", "-v", "-v=", "-vv", "---", "--=", "stray", "", "--config=/nonexistent", "--help-", "-x=1"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),  # what a command line can hold
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=6))
def test_cfg_41_whatever_is_written_is_answered_in_words(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code in {0, 2}, (arguments, result.output, result.exception)
    assert "Config(" in result.output or "problem" in result.output or "Usage" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ipvs-scheduler", "fastest"),
        ("--ipvs-drain-cap", "-1s"),
        ("--ipvs-tcp-timeout", "soon"),
        ("--ipvs-udp-timeout", "-5s"),
        ("--ipvs-exclude-cidrs", "10.1.0.0/99"),
        ("--ipvs-strict-arp=perhaps",),
        ("--ipvs-sync-period", "0"),
    ],
)
def test_values_that_ipvs_cannot_use_are_refused_by_the_name_of_their_flag(arguments: tuple[str, ...]) -> None:
    result = invoke("--manifests", "m", "--proxy-mode", "ipvs", *arguments)
    assert result.exit_code == 2
    assert arguments[0].partition("=")[0] in result.output
