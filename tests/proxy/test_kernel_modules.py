"""Modules whose settings are made before anything uses them."""

import logging
from pathlib import Path

import msgspec
import pytest
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.variant import Choice, Variant
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
    choosing(monkeypatch, Choice(Variant.NFT, "the test says so"))
    return tmp_path / "asked"


def choosing(monkeypatch: pytest.MonkeyPatch, found: Choice | KernelError) -> None:
    """Let the look at this machine's rules find something."""

    async def choose(wanted: str) -> Choice:
        assert wanted == "auto"
        if isinstance(found, KernelError):
            raise found
        return found

    monkeypatch.setattr(kernel_modules, "choose", choose)


def test_proc_05_what_is_absent_is_loaded_once_and_what_stays_absent_is_told(modprobe: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load(config(mode="ipvs"))
    load(config(mode="iptables"))
    assert modprobe.read_text() == "-a -q nf_conntrack ip_vs\n"
    told = {record.getMessage(): vars(record)["modules"] for record in caplog.records}
    assert told == {"kernel modules could not be loaded": "ip_vs", "loaded kernel modules": "nf_conntrack"}


def test_dep_04_the_modules_of_legacy_tables_are_loaded_where_the_agent_will_choose_them(
    modprobe: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choosing(monkeypatch, Choice(Variant.LEGACY, "most rules are there"))
    load(config(mode="iptables"))
    load(config(mode="iptables", iptables_variant="nft"))
    assert modprobe.read_text() == "-a -q nf_conntrack ip_tables ip6_tables\n"
    caplog.clear()
    choosing(monkeypatch, KernelError(ErrorKind.UNSUPPORTED, "not installed", "iptables"))
    load(config(mode="iptables"))
    assert modprobe.read_text().count("\n") == 1
    assert [record.getMessage() for record in caplog.records] == ["it cannot be told which iptables this machine uses"]


def test_a_machine_without_the_program_is_left_to_those_who_need_the_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kernel_modules, "absent", lambda config: ("nf_conntrack",))
    load(config(mode="iptables"))
