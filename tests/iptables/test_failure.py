"""What the tools say when they fail: recorded words by table, and the installed tools provoked to say them."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pointsman.dataplane.errors import ErrorKind
from pointsman.iptables.failure import Failure, judge
from pointsman.iptables.variant import Variant

LEGACY = "iptables-restore v1.8.9 (legacy): "
NFT = "iptables-nft-restore v1.8.9 (nf_tables): "
HINT = "\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n"

SAID = [
    (2, f'{LEGACY}Bad IP address "1.2.3.400"\nError occurred at line: 4{HINT}', ErrorKind.INVALID, {"lines": (4,)}),
    (2, f"{LEGACY}Couldn't load match `nosuch':No such file or directory\n\nError occurred at line: 3{HINT}", ErrorKind.UNSUPPORTED,
     {"lines": (3,), "extensions": ("nosuch",)}),
    (2, f"{LEGACY}Couldn't load target `KUBE-ZZZ':No such file or directory\n\nError occurred at line: 3{HINT}", ErrorKind.MISSING,
     {"lines": (3,), "chains": ("KUBE-ZZZ",)}),
    (2, f"{LEGACY}Couldn't load target `MASQUERADE':No such file or directory\n\nError occurred at line: 3{HINT}", ErrorKind.UNSUPPORTED,
     {"lines": (3,), "extensions": ("MASQUERADE",)}),
    (1, "Warning: Extension ipvs revision 0 not supported, missing kernel module?\niptables-restore: line 4 failed\n",
     ErrorKind.UNSUPPORTED, {"lines": (4,), "extensions": ("ipvs",)}),
    (2, f"{LEGACY}Set NOSET doesn't exist.\n\nError occurred at line: 3{HINT}", ErrorKind.MISSING, {"lines": (3,), "sets": ("NOSET",)}),
    (1, "iptables-restore: line 4 failed\n", ErrorKind.INVALID, {"lines": (4,)}),
    (1, "iptables-nft-restore: line 4 failed: Bad rule (does a matching rule exist in that chain?).\n", ErrorKind.MISSING, {"lines": (4,)}),
    (1, "iptables-nft-restore: line 2 failed: No chain/target/match by that name.\n", ErrorKind.MISSING, {"lines": (2,)}),
    (2, f"{NFT}Chain 'KUBE-ZZZ' does not exist\nError occurred at line: 4{HINT}", ErrorKind.MISSING,
     {"lines": (4,), "chains": ("KUBE-ZZZ",)}),
    (4, f"{NFT}\nline 5: CHAIN_DEL failed (Device or resource busy): chain KUBE-Y\n", ErrorKind.BUSY, {"lines": (5,)}),
    (4, f"{NFT}\nline 4: RULE_APPEND failed (Invalid argument): rule in chain X\n", ErrorKind.INVALID, {"lines": (4,)}),
    (4, f"{NFT}\nline 6: RULE_APPEND failed (Too many links): rule in chain OUTPUT\n", ErrorKind.INVALID, {"lines": (6,)}),
    (4, f"{NFT}Could not fetch rule set generation id: Permission denied (you must be root)\n", ErrorKind.DENIED, {}),
    (4, "Fatal: can't open lock file /run/xtables.lock: Permission denied\n", ErrorKind.DENIED, {}),
    (4, "Can't lock x: Resource temporarily unavailable\nAnother app is currently holding the xtables lock.\n", ErrorKind.BUSY, {}),
    (2, f"{LEGACY}iptables-restore: unable to initialize table 'nat'\nError occurred at line: 1{HINT}", ErrorKind.UNSUPPORTED,
     {"lines": (1,)}),
    (1, "iptables-restore: COMMIT expected at line 3\n", ErrorKind.INVALID, {}),
    (1, "ipset v7.17: Error in line 3: Hash is full, cannot add more elements\n", ErrorKind.TOO_BIG, {"lines": (3,)}),
    (1, "ipset v7.17: Error in line 1: Set cannot be destroyed: it is in use by a kernel component\n", ErrorKind.BUSY, {"lines": (1,)}),
    (1, "ipset v7.17: Error in line 1: The set with the given name does not exist\n", ErrorKind.MISSING, {"lines": (1,)}),
    (1, "ipset v7.17: Error in line 1: Set cannot be created: set with the same name already exists\n", ErrorKind.EXISTS, {"lines": (1,)}),
    (1, "ipset v7.17: Kernel error received: Operation not permitted\n", ErrorKind.DENIED, {}),
    (-9, "", ErrorKind.OTHER, {}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "stderr", "kind", "blame"), SAID)
def test_what_was_said_is_understood(status, stderr, kind, blame):
    failure = judge(status, stderr)
    assert failure.kind is kind
    expected = {"lines": (), "chains": (), "sets": (), "extensions": (), **blame}
    assert {name: getattr(failure, name) for name in expected} == expected
    assert "Try `" not in failure.text
    assert failure.text


def test_words_say_what_to_do():
    assert "load or install it" in judge(2, "Couldn't load match `recent':No such file or directory\nError occurred at line: 3\n").text
    assert "CAP_NET_ADMIN" in judge(4, "Permission denied (you must be root)\n").text
    assert "exit status 3" in judge(3, "").text
    assert "circle" in judge(4, "line 6: RULE_APPEND failed (Too many links): rule in chain OUTPUT\n").text


@given(st.integers(1, 255), st.text(max_size=200))
def test_any_words_make_a_failure(status, stderr):
    failure = judge(status, stderr)
    assert isinstance(failure, Failure)
    assert failure.text


PROVOKED = {
    "address": (":KUBE-X - [0:0]\n-A KUBE-X -p tcp -j DNAT --to-destination 1.2.3.400:80\n", ErrorKind.INVALID, {"lines": (3,)}),
    "match": (":KUBE-X - [0:0]\n-A KUBE-X -m nosuch -j ACCEPT\n", ErrorKind.UNSUPPORTED, {"extensions": ("nosuch",)}),
    "chain": (":KUBE-X - [0:0]\n-A KUBE-X -j KUBE-ZZZ\n", ErrorKind.MISSING, {"chains": ("KUBE-ZZZ",)}),
    "set": (":KUBE-X - [0:0]\n-A KUBE-X -m set --match-set NOSET dst -j ACCEPT\n", ErrorKind.MISSING, {"sets": ("NOSET",)}),
    "module": (":KUBE-X - [0:0]\n-A KUBE-X -m ipvs --vport 80 -j ACCEPT\n", ErrorKind.UNSUPPORTED, {"extensions": ("ipvs",)}),
    "name": (":KUBE-XXXXXXXXXXXXXXXXXXXXXXXXXXXX - [0:0]\n", ErrorKind.INVALID, {"lines": (2,)}),
    "deletion": (":KUBE-X - [0:0]\n-D KUBE-X -j ACCEPT\n", None, {"lines": (3,)}),
}


@pytest.mark.kernel
@pytest.mark.parametrize("case", PROVOKED)
def test_the_installed_tools_still_say_so(scratch, variant, case):
    text, kind, blame = PROVOKED[case]
    command = [f"iptables-{variant.value}-restore", "--noflush", "-w", "5"]
    done = subprocess.run(command, input=f"*nat\n{text}COMMIT\n", capture_output=True, text=True, check=False)
    failure = judge(done.returncode, done.stderr)
    assert done.returncode != 0
    assert kind is None or failure.kind is kind, done.stderr
    assert {name: getattr(failure, name) for name in blame} == blame, done.stderr


@pytest.mark.kernel
def test_the_legacy_kernel_gives_no_reason(scratch):
    """The blamed line is COMMIT: nobody is named, so the culprit must be searched for."""
    text = "*filter\n:KUBE-X - [0:0]\n-A KUBE-X -j MASQUERADE\nCOMMIT\n"
    command = [f"iptables-{Variant.LEGACY.value}-restore", "--noflush", "-w", "5"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert judge(done.returncode, done.stderr) == Failure(ErrorKind.INVALID, "iptables-restore: line 4 failed", (4,))
