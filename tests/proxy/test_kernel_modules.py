"""Modules whose settings are made before anything uses them."""

import logging
from pathlib import Path

import msgspec
import pytest
from pointsman.proxy import kernel_modules
from pointsman.proxy.config import Config
from pointsman.proxy.kernel_modules import absent, load


def config(**values: object) -> Config:
    return msgspec.structs.replace(Config(), **values)


def test_proc_05_what_leaves_no_sign_is_absent(tmp_path: Path) -> None:
    assert absent(config(mode="iptables"), tmp_path) == ("nf_conntrack",)
    assert absent(config(mode="ipvs"), tmp_path) == ("nf_conntrack", "ip_vs")
    assert absent(config(mode="iptables", iptables_variant="legacy"), tmp_path) == ("nf_conntrack", "ip_tables", "ip6_tables")
    assert absent(config(mode="nftables", iptables_variant="legacy"), tmp_path) == ("nf_conntrack",)
    for sign in ("sys/net/netfilter/nf_conntrack_max", "sys/net/ipv4/vs", "net/ip_tables_names"):
        (tmp_path / sign).mkdir(parents=True)
    assert absent(config(mode="ipvs", iptables_variant="legacy"), tmp_path) == ("ip6_tables",)


@pytest.fixture
def modprobe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for the program: a script that writes its arguments, and a /proc that is empty."""
    program = tmp_path / "bin" / "modprobe"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nmkdir -p {tmp_path}/proc/sys/net/netfilter/nf_conntrack_max\n')
    program.chmod(0o755)
    (tmp_path / "proc").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(kernel_modules, "absent", lambda config: absent(config, tmp_path / "proc"))
    return tmp_path / "asked"


def test_proc_05_what_is_absent_is_loaded_once_and_what_stays_absent_is_told(modprobe: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load(config(mode="ipvs"))
    load(config(mode="iptables"))
    assert modprobe.read_text() == "-a -q nf_conntrack ip_vs\n"
    told = {record.getMessage(): vars(record)["modules"] for record in caplog.records}
    assert told == {"kernel modules could not be loaded": "ip_vs", "loaded kernel modules": "nf_conntrack"}


def test_a_machine_without_the_program_is_left_to_those_who_need_the_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kernel_modules, "absent", lambda config: ("nf_conntrack",))
    load(config(mode="iptables"))
