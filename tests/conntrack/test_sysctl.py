"""CT-20 to CT-22 on a tree of files in place of /proc and /sys."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.conntrack import sysctl
from pointsman.conntrack.sysctl import Limits, most_entries, wanted

USUAL = Limits(max_per_core=32768, minimum=131072, tcp_established=86400, tcp_close_wait=3600)


@pytest.mark.parametrize(
    ("per_core", "minimum", "cpus", "expected"),
    [(32768, 131072, 2, 131072), (32768, 131072, 8, 262144), (0, 131072, 8, 0), (32768, 0, 1, 32768), (32768, 0, 128, 1 << 20)],
)
def test_ct_20_the_table_grows_with_the_cpus(per_core, minimum, cpus, expected):
    assert most_entries(Limits(max_per_core=per_core, minimum=minimum), cpus) == expected


@given(per_core=st.integers(1, 10**6), minimum=st.integers(0, 10**7), cpus=st.integers(1, 512))
def test_ct_20_the_table_is_never_below_the_minimum(per_core, minimum, cpus):
    assert most_entries(Limits(max_per_core=per_core, minimum=minimum), cpus) >= minimum


def test_ct_22_nothing_is_wanted_of_what_is_zero():
    assert wanted(Limits(), 4) == {}
    assert wanted(Limits(tcp_be_liberal=True, udp=30, udp_stream=180.9), 4) == {
        "net/netfilter/nf_conntrack_tcp_be_liberal": 1,
        "net/netfilter/nf_conntrack_udp_timeout": 30,
        "net/netfilter/nf_conntrack_udp_timeout_stream": 180,
    }


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of two CPUs with connection tracking, whose settings are files."""
    for name, value in (("max", 1000), ("tcp_timeout_established", 432000), ("tcp_timeout_close_wait", 3600), ("udp_timeout", 30)):
        place = tmp_path / f"net/netfilter/nf_conntrack_{name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{value}\n")
    (tmp_path / "hashsize").write_text("256\n")
    monkeypatch.setattr("pointsman.iptables.sysctl.ROOT", tmp_path)
    monkeypatch.setattr(sysctl, "count_cpus", lambda: 2)
    monkeypatch.setattr(sysctl._grow_hash, "__defaults__", (tmp_path / "hashsize",))
    return tmp_path


def test_ct_22_only_what_differs_is_written(host):
    written, errors = sysctl.ensure(USUAL)
    assert errors == ()
    assert written == (
        "net.netfilter.nf_conntrack_max = 131072",
        "net.netfilter.nf_conntrack_tcp_timeout_established = 86400",
        "hashsize = 32768",
    )
    assert sysctl.ensure(USUAL) == ((), ())


def test_ct_22_what_others_change_later_is_seen(host):
    sysctl.ensure(USUAL)
    assert sysctl.drifted(USUAL) == {}
    (host / "net/netfilter/nf_conntrack_tcp_timeout_established").write_text("432000\n")
    (host / "net/netfilter/nf_conntrack_tcp_timeout_close_wait").unlink()
    assert sysctl.drifted(USUAL) == {"net/netfilter/nf_conntrack_tcp_timeout_established": (432000, 86400)}


def test_ct_21_a_hash_table_that_is_large_enough_stays(host):
    (host / "hashsize").write_text("65536\n")
    sysctl.ensure(USUAL)
    assert (host / "hashsize").read_text() == "65536\n"


def test_what_cannot_be_set_is_named_and_the_rest_is_set(host):
    refused = host / "net/netfilter/nf_conntrack_max"
    refused.unlink()
    refused.mkdir()
    written, errors = sysctl.ensure(USUAL)
    assert written == ("net.netfilter.nf_conntrack_tcp_timeout_established = 86400",)
    assert [error.subject for error in errors] == ["sysctl net.netfilter.nf_conntrack_max"]


def test_ct_21_a_hash_table_that_cannot_be_grown_is_named(host):
    (host / "hashsize").unlink()
    _, (error,) = sysctl.ensure(USUAL)
    assert error.subject == str(host / "hashsize")
    assert "cannot be set to 32768" in error.text


@pytest.mark.parametrize(("text", "expected"), [("0\n", 1), ("0-3\n", 4), ("0-1,4,6-7\n", 5)])
def test_ct_20_cpus_are_counted_as_the_host_has_them(tmp_path, text, expected):
    (tmp_path / "online").write_text(text)
    assert sysctl.count_cpus(tmp_path / "online") == expected


def test_ct_20_without_a_topology_the_system_is_asked(tmp_path):
    assert sysctl.count_cpus(tmp_path / "nothing") == os.cpu_count()


def test_this_host_has_cpus():
    assert sysctl.count_cpus() >= 1


def test_how_full_the_table_is_can_be_asked(host):
    assert sysctl.usage() == (0, 1000)
    (host / "net/netfilter/nf_conntrack_count").write_text("7\n")
    assert sysctl.usage() == (7, 1000)
