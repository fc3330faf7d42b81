"""Which iptables this machine uses, found without touching what is not there (DEP-04, pain 40)."""

import pytest
from fakes.scratch import shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import variant as module
from pointsman.iptables.variant import Tools, Variant, choose, find_tools, legacy_tables, parse_version
from pointsman.routing.route import Family

HINTS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")


@pytest.mark.parametrize(("text", "expected"), [
    ("iptables-restore v1.8.9 (nf_tables)\n", ((1, 8, 9), Variant.NFT)),
    ("iptables v1.8.9 (legacy)", ((1, 8, 9), Variant.LEGACY)),
    ("iptables v1.6.1", ((1, 6, 1), Variant.LEGACY)),
    ("iptables-nft-restore v1.8.11 (nf_tables)", ((1, 8, 11), Variant.NFT)),
    ("busybox", None),
])  # fmt: skip
def test_versions(text, expected):
    assert parse_version(text) == expected


@pytest.mark.parametrize(("version", "random", "options"), [
    ((1, 8, 9), True, ("-w", "5")),
    ((1, 8, 4), True, ("-w", "5", "-W", "100000")),
    ((1, 6, 1), False, ()),
])  # fmt: skip
def test_ipt_41_sem_22_options_follow_the_version(version, random, options):
    tools = Tools(Variant.LEGACY, Family.IPV4, "save", "restore", version)
    assert tools.random_fully is random
    assert tools.restore_command("--test") == ("restore", "--noflush", "--counters", *options, "--test")


async def test_the_operators_word_counts():
    choice = await choose("legacy")
    assert (choice.variant, choice.reason) == (Variant.LEGACY, "set by the operator")


@pytest.mark.kernel
@pytest.mark.parametrize("hint", HINTS)
async def test_dep_04_kubelets_chain_decides(scratch, variant, hint):
    shell(f"iptables-{variant.value} -t mangle -N {hint}")
    other = Variant.NFT if variant is Variant.LEGACY else Variant.LEGACY
    shell(f"iptables-{other.value} -t filter -A INPUT -j ACCEPT")
    choice = await choose()
    assert choice.variant is variant
    assert hint in choice.reason


@pytest.mark.kernel
async def test_dep_04_kubelets_chain_counts_only_in_mangle(scratch):
    shell("iptables-legacy -t filter -N KUBE-KUBELET-CANARY")
    shell("iptables-nft -A INPUT -j ACCEPT")
    assert (await choose()).variant is Variant.NFT


@pytest.mark.kernel
async def test_dep_04_more_rules_win_over_both_families(scratch, variant, family):
    tool = f"ip{'6' * (family is Family.IPV6)}tables-{variant.value}"
    shell(f"{tool} -A INPUT -j ACCEPT; {tool} -A OUTPUT -j ACCEPT")
    other = Variant.NFT if variant is Variant.LEGACY else Variant.LEGACY
    shell(f"iptables-{other.value} -A INPUT -j ACCEPT")
    choice = await choose()
    assert choice.variant is variant
    assert "most rules" in choice.reason


@pytest.mark.kernel
async def test_pain_40_looking_creates_no_legacy_tables(scratch):
    choice = await choose()
    assert "iptables -V" in choice.reason
    assert legacy_tables(Family.IPV4) == legacy_tables(Family.IPV6) == ()
    assert shell("iptables-nft-save 2>&1") == ""


@pytest.mark.kernel
@pytest.mark.parametrize("wanted", ["auto", "by name"])
async def test_pain_40_rules_of_a_service_proxy_in_the_other_variant_are_counted(scratch, variant, wanted):
    """A proxy that ran in the other variant before: its rules go on taking packets."""
    other = Variant.NFT if variant is Variant.LEGACY else Variant.LEGACY
    shell(f"iptables-{variant.value} -t mangle -N KUBE-IPTABLES-HINT")
    word = variant.value if wanted == "by name" else wanted
    assert (await choose(word)).beside == 0
    for tool in (f"iptables-{other.value}", f"ip6tables-{other.value}"):
        shell(f"{tool} -t nat -N KUBE-SERVICES; {tool} -t nat -N KUBE-SVC-X; {tool} -t nat -A KUBE-SERVICES -j KUBE-SVC-X")
        shell(f"{tool} -A INPUT -j ACCEPT")
    choice = await choose(word)
    assert (choice.variant, choice.beside) == (variant, 2)


@pytest.mark.kernel
async def test_only_one_variant_installed(scratch, monkeypatch):
    monkeypatch.setattr(module, "find_program", lambda name: f"/usr/sbin/{name}" if name.startswith("iptables-legacy") else None)
    choice = await choose()
    assert choice.variant is Variant.LEGACY
    assert "only the tools" in choice.reason


async def test_plain_tools_serve_if_they_are_of_the_variant(monkeypatch, tmp_path):
    """On some systems only `iptables-restore` exists."""
    for name in ("iptables-save", "iptables-restore"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'iptables-restore v1.8.7 (nf_tables)'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(module, "find_program", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    tools = await find_tools(Family.IPV4, Variant.NFT)
    assert (tools.restore, tools.version) == (str(tmp_path / "iptables-restore"), (1, 8, 7))
    with pytest.raises(KernelError, match="install the Debian package iptables") as caught:
        await find_tools(Family.IPV4, Variant.LEGACY)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    newer = tmp_path / "newer"
    newer.write_text("#!/bin/sh\necho 'iptables-restore v1.8.11 (nf_tables)'\n")
    newer.chmod(0o755)
    newer.rename(tmp_path / "iptables-restore")
    assert (await find_tools(Family.IPV4, Variant.NFT)).version == (1, 8, 11)


async def test_no_tools_at_all(monkeypatch):
    """Pain 41."""
    monkeypatch.setattr(module, "find_program", lambda _: None)
    with pytest.raises(KernelError, match="install the Debian package iptables"):
        await choose()
