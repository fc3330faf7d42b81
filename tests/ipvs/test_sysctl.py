"""pains 17, 18, 21 and 28: settings by kernel version, ARP by interface."""

import pytest
from pointsman.dataplane.errors import KernelError
from pointsman.ipvs import sysctl


@pytest.mark.parametrize(("release", "expected"), [
    ("6.1.0-13-amd64", (6, 1)), ("5.9", (5, 9)), ("4.19.0+", (4, 19)), ("gibberish", (0, 0)),
])
def test_a_kernel_tells_its_version(release, expected):
    assert sysctl.kernel_version(release) == expected


@pytest.mark.parametrize(("version", "expected"), [((4, 19), 0), ((5, 8), 0), ((5, 9), 1), ((6, 1), 1), ((3, 10), None)])
def test_pain_17_and_18_reused_ports_by_kernel_version(version, expected):
    assert sysctl.wanted(version).get("net/ipv4/vs/conn_reuse_mode") == expected


def test_pain_21_affinity_to_a_draining_server_ends():
    assert sysctl.wanted((6, 1))["net/ipv4/vs/expire_quiescent_template"] == 1


def tree(root, files):
    for path, value in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{value}\n")


def test_pain_28_strict_arp_is_set_per_interface(tmp_path):
    tree(tmp_path, {f"net/ipv4/conf/{name}/arp_ignore": 0 for name in ("all", "default", "lo", "eth0", "kube-ipvs0", "pod1")})
    assert dict(sysctl.strict_arp(tmp_path)) == {
        "net/ipv4/conf/eth0/arp_ignore": 1, "net/ipv4/conf/eth0/arp_announce": 2,
        "net/ipv4/conf/pod1/arp_ignore": 1, "net/ipv4/conf/pod1/arp_announce": 2,
    }


def test_only_what_differs_is_written_and_what_cannot_be_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.iptables.sysctl.ROOT", tmp_path)
    settings = sysctl.wanted((6, 1))
    monkeypatch.setattr(sysctl, "wanted", lambda _: settings)
    tree(tmp_path, {path: 0 if path.endswith("conntrack") else value for path, value in settings.items()})
    assert sysctl.ensure(arp=False) == {"net/ipv4/vs/conntrack": 1}
    assert sysctl.ensure(arp=False) == {}
    (tmp_path / "net/ipv4/vs/conntrack").unlink()
    (tmp_path / "net/ipv4/vs").rmdir() if not any((tmp_path / "net/ipv4/vs").iterdir()) else None
    monkeypatch.setattr(sysctl, "wanted", lambda _: {"net/ipv4/absent/conntrack": 1})
    with pytest.raises(KernelError, match=r"net\.ipv4\.absent\.conntrack"):
        sysctl.ensure(arp=False)


def test_an_interface_that_goes_meanwhile_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.iptables.sysctl.ROOT", tmp_path)
    monkeypatch.setattr(sysctl, "wanted", lambda _: {})
    tree(tmp_path, {"net/ipv4/conf/eth0/arp_ignore": 0, "net/ipv4/conf/eth0/arp_announce": 0})
    gone = {"net/ipv4/conf/pod1/arp_ignore": 1, "net/ipv4/conf/eth0/arp_ignore": 1}
    monkeypatch.setattr(sysctl, "strict_arp", gone.items)
    assert sysctl.ensure(arp=True) == {"net/ipv4/conf/eth0/arp_ignore": 1}


def test_pain_28_an_interface_that_may_not_be_set_is_named_and_hinders_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.iptables.sysctl.ROOT", tmp_path)
    monkeypatch.setattr(sysctl, "wanted", lambda _: {})
    names = ("eth0", "eth1", "pod1")
    tree(tmp_path, {f"net/ipv4/conf/{name}/{kind}": 0 for name in names for kind in ("arp_ignore", "arp_announce")})
    refused = tmp_path / "net/ipv4/conf/eth1/arp_ignore"
    refused.unlink()
    refused.mkdir()  # which root cannot write either
    settings = {f"net/ipv4/conf/{name}/arp_ignore": 1 for name in names}
    monkeypatch.setattr(sysctl, "strict_arp", settings.items)
    assert sysctl.ensure_arp() == ({"net/ipv4/conf/eth0/arp_ignore": 1, "net/ipv4/conf/pod1/arp_ignore": 1}, {"eth1"})
    with pytest.raises(KernelError, match=r"net\.ipv4\.conf\.eth1\.arp_ignore"):
        sysctl.ensure(arp=True)
