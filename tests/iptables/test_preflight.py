"""Everything that is wrong is told at once, with what to do, and nothing is written (pains 40, 41; PROC-09)."""

import fcntl
import subprocess
import sys

import pytest
from fakes.scratch import shell
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables import preflight as module
from pointsman.iptables import variant as variants
from pointsman.iptables.preflight import PROBES, Probe, family_error, is_network_ours, missing_capabilities, preflight
from pointsman.iptables.run import find_program
from pointsman.iptables.variant import legacy_tables
from pointsman.routing.route import Family

pytestmark = pytest.mark.kernel

ABSENT = (
    Probe("ipvs", "nat", "-m ipvs --vport 80 -j ACCEPT", "NETFILTER_XT_MATCH_IPVS"),
    Probe("nosuchmatch", "nat", "-m nosuchmatch -j ACCEPT", "NOSUCH"),
    Probe("NOSUCHTARGET", "filter", "-j NOSUCHTARGET", "NOSUCH"),
)


async def test_this_machine_has_all_and_nothing_is_written(scratch, family, variant):
    assert await preflight(family, variant) == ()
    assert legacy_tables(family) == ()
    assert shell("nft list ruleset; ipset list -n") == ""


async def test_where_our_rules_stand_nothing_is_tried(scratch, family, variant, monkeypatch):
    monkeypatch.setattr(module, "PROBES", ABSENT)
    tool = f"{'ip6' if family is Family.IPV6 else 'ip'}tables-{variant.value}"
    shell(f"{tool} -t nat -N KUBE-SERVICES; {tool} -t nat -N KUBE-NODEPORTS; {tool} -t nat -A KUBE-SERVICES -j KUBE-NODEPORTS")
    assert await preflight(family, variant), "rules of kube-proxy say nothing about what we need"
    shell(f"{tool} -t nat -N KUBE-DST; {tool} -t nat -I KUBE-SERVICES -j KUBE-DST")
    assert await preflight(family, variant) == ()


async def test_all_absent_extensions_are_named_at_once(scratch, family, variant, monkeypatch):
    monkeypatch.setattr(module, "PROBES", (*PROBES, *ABSENT))
    errors = await preflight(family, variant)
    assert [error.subject for error in errors] == [f"iptables extension {probe.name} for {family.value}" for probe in ABSENT]
    assert all(error.kind is ErrorKind.UNSUPPORTED and "CONFIG_" in error.text for error in errors)
    assert family_error(errors) is None


async def test_without_the_right_to_make_namespaces_extensions_are_still_tried(scratch, family, variant, monkeypatch):
    monkeypatch.setattr(module, "find_program", lambda name: None if name == "unshare" else find_program(name))
    assert await preflight(family, variant) == ()
    monkeypatch.setattr(module, "PROBES", (*PROBES, *ABSENT))
    assert {error.subject.split()[2] for error in await preflight(family, variant)} >= {"ipvs", "nosuchmatch"}


async def test_missing_programs_and_permission_together(monkeypatch):
    monkeypatch.setattr(module, "_own_status", lambda: "CapEff:\t0000000000000000\n")
    monkeypatch.setattr(module, "find_program", lambda _: None)
    monkeypatch.setattr(variants, "find_program", lambda _: None)
    errors = await preflight(Family.IPV4, variants.Variant.NFT)
    assert [error.kind for error in errors] == [ErrorKind.DENIED, ErrorKind.UNSUPPORTED, ErrorKind.UNSUPPORTED]
    assert "CAP_NET_ADMIN" in str(errors[0])
    assert "package iptables" in str(errors[1])
    assert "package ipset" in str(errors[2])


async def test_a_lock_that_cannot_be_opened_is_one_error_and_blames_no_extension(scratch, monkeypatch, tmp_path):
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "absent" / "lock"))
    errors = {str(error) for each in Family for error in await preflight(each, variants.Variant.LEGACY)}
    assert len(errors) == 1
    assert f"let the program write {tmp_path}/absent/lock" in errors.pop()


async def test_pain_37_a_lock_that_is_held_says_nothing_about_the_kernel(scratch, family, monkeypatch, tmp_path):
    lock = tmp_path / "lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    monkeypatch.setattr(variants.Tools, "restore_command", lambda tools, *extra: (tools.restore, "--noflush", "-w", "1", *extra))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await preflight(family, variants.Variant.LEGACY) == ()


async def test_proc_09_a_kernel_without_one_family_is_told_apart(monkeypatch, tmp_path):
    """The tools of such a kernel cannot initialise the table; that error concerns one family only."""
    for name in ("ip6tables-legacy-save", "ip6tables-legacy-restore"):
        (tmp_path / name).write_text(
            "#!/bin/sh\n[ \"$1\" = -V ] && { echo 'ip6tables-restore v1.8.9 (legacy)'; exit; }\n"
            "cat >/dev/null; echo \"ip6tables-restore v1.8.9 (legacy): ip6tables-restore: unable to initialize table 'nat'\" >&2\n"
            "echo 'Error occurred at line: 1' >&2; exit 2\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(variants, "find_program", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    errors = await preflight(Family.IPV6, variants.Variant.LEGACY)
    assert len(errors) == 1
    assert family_error(errors) is errors[0]
    assert "no IPv6 table nat" in str(errors[0])
    assert family_error((KernelError(ErrorKind.DENIED, "no"),)) is None


@pytest.mark.parametrize(("text", "expected"), [
    ("CapEff:\t0000000000003000\n", ()), ("CapEff:\t000001ffffffffff\n", ()),
    ("CapEff:\t0000000000001000\n", ("CAP_NET_RAW",)), ("CapEff:\t0000000000002000\n", ("CAP_NET_ADMIN",)),
    ("CapEff:\t0000000000000000\n", ("CAP_NET_ADMIN", "CAP_NET_RAW")), ("", ("CAP_NET_ADMIN", "CAP_NET_RAW")),
])  # fmt: skip
def test_missing_capabilities_are_named(text, expected):
    assert missing_capabilities(text) == expected


def test_the_network_of_the_host_is_not_ours_in_a_user_namespace():
    """All capabilities are there, and count for nothing: the kernel would deny each write."""
    program = (
        "from pointsman.iptables.preflight import is_network_ours, missing_capabilities, _own_status\n"
        "print(is_network_ours(), missing_capabilities(_own_status()))"
    )

    def said(*namespaces: str) -> str:
        command = ["unshare", "--user", "--map-root-user", *namespaces, sys.executable, "-c", program]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert said() == "False ()"
    assert said("--net") == "True ()"
    assert is_network_ours()


async def test_a_process_that_may_not_write_is_told_why(monkeypatch):
    monkeypatch.setattr(module, "_own_status", lambda: "CapEff:\t0000000000001000\n")
    monkeypatch.setattr(module, "is_network_ours", lambda: False)
    first, second = await preflight(Family.IPV4, variants.Variant.NFT)
    assert (first.kind, second.kind) == (ErrorKind.DENIED, ErrorKind.DENIED)
    assert str(first).startswith("capabilities: missing in this process: CAP_NET_RAW; run as root")
    assert str(second).startswith("network namespace: belongs to the host")
