"""Kernel settings: absent ones are borne, equal ones are not written (pain 41, SEM-45)."""

import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import sysctl


def test_absent_or_odd_settings_have_no_value(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    assert sysctl.read_sysctl(sysctl.TCP_BE_LIBERAL) is None
    (tmp_path / "odd").write_text("4 4 1 7\n")
    assert sysctl.read_sysctl("odd") is None
    (tmp_path / "odd").write_text("1\n")
    assert sysctl.read_sysctl("odd") == 1


def test_an_absent_setting_cannot_be_written_and_is_named():
    with pytest.raises(KernelError, match=r"sysctl net\.no\.such: this kernel has no such setting") as caught:
        sysctl.write_sysctl("net/no/such", 1)
    assert caught.value.kind in {ErrorKind.MISSING, ErrorKind.DENIED}


def test_a_refused_write_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    (tmp_path / "net").mkdir()
    with pytest.raises(KernelError, match="sysctl -w net=1") as caught:
        sysctl.write_sysctl("net", 1)
    assert caught.value.kind is ErrorKind.DENIED


@pytest.mark.kernel
def test_sem_45_route_localnet_is_written_only_if_it_differs(scratch):
    assert sysctl.read_sysctl(sysctl.ROUTE_LOCALNET) == 0
    assert sysctl.allow_loopback_node_ports() is True
    assert sysctl.read_sysctl(sysctl.ROUTE_LOCALNET) == 1
    assert sysctl.allow_loopback_node_ports() is False
