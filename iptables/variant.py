"""Which iptables this machine uses: legacy or nft, with which tools, and why we think so.

The two variants are two sets of tables in one kernel; rules in the wrong one are duplicates at best (pain 40). What decides, in this
order (DEP-04): the operator's word; kubelet's chain KUBE-IPTABLES-HINT or KUBE-KUBELET-CANARY in `mangle` of nft, then of legacy; the
variant that holds more rules; what plain `iptables -V` says it is.

Looking must not change anything: the legacy tools create a table by looking at it, and nft's tools then warn of it for ever. So legacy
tables are only read when this network namespace has some, which `/proc/net/ip_tables_names` tells without touching them.

`preflight` tells what is missing, `kernel` uses the `Tools`. Versions: `--random-fully` needs 1.6.2 (SEM-22), `--wait` 1.4.20.
"""

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.run import find_program, lines, output_of
from pointsman.routing.route import Family

_HINTS: Final = (":KUBE-IPTABLES-HINT ", ":KUBE-KUBELET-CANARY ")
_PROXY_RULES: Final = ("-A KUBE-SERVICES ", "-A KUBE-SVC-", "-A KUBE-SVL-", "-A KUBE-SEP-")
_PREFIX: Final = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_NAMES: Final = {Family.IPV4: Path("/proc/net/ip_tables_names"), Family.IPV6: Path("/proc/net/ip6_tables_names")}
_VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:\s+\((\w+)\))?")


class Variant(Enum):
    """The two implementations; the value is the word in the tools' names and in settings."""

    LEGACY = "legacy"
    NFT = "nft"


class Tools(Struct, frozen=True):
    """The programs of one variant and one family, with their version."""

    variant: Variant
    family: Family
    save: str
    restore: str
    version: tuple[int, int, int]

    @property
    def random_fully(self) -> bool:
        """Return whether MASQUERADE may take `--random-fully` (SEM-22)."""
        return self.version >= (1, 6, 2)

    def restore_command(self, *extra: str) -> tuple[str, ...]:
        """Return the command that changes tables by the text on its standard input and leaves the rest of them alone (IPT-30, IPT-41)."""
        wait = ("-w", "5") if self.version >= (1, 6, 2) else ()
        # Newer tools wait for the lock without asking again and again, and only warn of the option.
        interval = ("-W", "100000") if (1, 6, 2) <= self.version < (1, 8, 5) else ()
        return (self.restore, "--noflush", "--counters", *wait, *interval, *extra)


class Choice(Struct, frozen=True):
    """The chosen variant, the reason in words, and how many rules of a service proxy stand in the other one, where they work as well."""

    variant: Variant
    reason: str
    beside: int = 0


def parse_version(text: str) -> tuple[tuple[int, int, int], Variant] | None:
    """Return version and variant from the answer to `-V`; None when it is none. Tools before 1.8 name no variant: they are legacy."""
    if (found := _VERSION.search(text)) is None:
        return None
    variant = Variant.NFT if found[4] == "nf_tables" else Variant.LEGACY
    return (int(found[1]), int(found[2]), int(found[3])), variant


async def find_tools(family: Family, variant: Variant) -> Tools:
    """Return the tools of a variant: those with the variant's name, or the plain ones if they are of this variant.

    Raises KernelError(UNSUPPORTED) that says which package to install.
    """
    plain = _PREFIX[family]
    for prefix in (f"{plain}-{variant.value}", plain):
        save, restore = find_program(f"{prefix}-save"), find_program(f"{prefix}-restore")
        if save is None or restore is None:
            continue
        said = await _version(restore)
        if said is not None and said[1] is variant:
            return Tools(variant, family, save, restore, said[0])
    raise KernelError(
        ErrorKind.UNSUPPORTED,
        f"neither {plain}-{variant.value}-restore nor a {plain}-restore of this variant is installed: install the Debian package iptables "
        "(1.8 or newer has both variants), or choose the other variant",
        f"iptables variant {variant.value}",
    )


async def _version(program: str) -> tuple[tuple[int, int, int], Variant] | None:
    """Return what a program says of itself. It is asked once, and again when another file is in its place."""
    key = _identity(program)
    if key not in _SAID:
        _SAID[key] = parse_version(await output_of([program, "-V"]))
    return _SAID[key]


def _identity(program: str) -> tuple[str, int, int]:
    file = Path(program).stat()
    return program, file.st_ino, file.st_mtime_ns


_SAID: Final[dict[tuple[str, int, int], tuple[tuple[int, int, int], Variant] | None]] = {}


async def choose(wanted: str = "auto") -> Choice:
    """Return which variant to use; `wanted` is "legacy", "nft" or "auto". Raises KernelError when there are no tools at all."""
    present: dict[Variant, _Sight] = {}
    missing: KernelError | None = None
    for variant in (Variant.NFT, Variant.LEGACY):
        if variant.value == wanted:
            continue
        try:
            present[variant] = await _look(variant)
        except KernelError as error:
            missing = error
    chosen, reason = (Variant(wanted), "set by the operator") if wanted != "auto" else await _decide(present, missing)
    return Choice(chosen, reason, sum(sight.proxies for variant, sight in present.items() if variant is not chosen))


async def _decide(present: Mapping[Variant, "_Sight"], missing: KernelError | None) -> tuple[Variant, str]:
    if not present:
        assert missing is not None
        raise missing
    for variant, sight in present.items():
        if sight.hint:
            return variant, f"kubelet's chain {sight.hint} is in table mangle of the {variant.value} variant"
    if len(present) == 1:
        (variant,) = present
        return variant, "only the tools of this variant are installed and usable"
    legacy, nft = present[Variant.LEGACY].rules, present[Variant.NFT].rules
    if legacy != nft:
        variant = Variant.LEGACY if legacy > nft else Variant.NFT
        return variant, f"most rules of this machine are there ({nft} in nft, {legacy} in legacy)"
    return await _default()


class _Sight(Struct):
    rules: int = 0
    proxies: int = 0  # of them in KUBE-SERVICES and the chains per Service, kube-proxy's or ours
    hint: str = ""


async def _look(variant: Variant) -> _Sight:
    """Count the rules of a variant in both families and look for kubelet's chains; creates no table."""
    sight = _Sight()
    for family in (Family.IPV4, Family.IPV6):
        try:
            tools = await find_tools(family, variant)
        except KernelError:
            if family is Family.IPV4:
                raise
            continue
        if variant is Variant.LEGACY and not legacy_tables(family):
            continue
        await _read(tools, sight)
    return sight


async def _read(tools: Tools, sight: _Sight) -> None:
    table = ""

    def take(some: list[str]) -> None:
        nonlocal table
        for line in some:
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith("-A "):
                sight.rules += 1
                sight.proxies += line.startswith(_PROXY_RULES)
            elif table == "mangle" and not sight.hint and line.startswith(_HINTS):
                sight.hint = line[1:].split(" ", 1)[0]

    await lines([tools.save], take)


def legacy_tables(family: Family) -> tuple[str, ...]:
    """Return the legacy tables that exist in this network namespace; looking does not create any."""
    try:
        return tuple(_NAMES[family].read_text(encoding="ascii").split())
    except OSError:  # the module is not loaded, or we may not look: then there is nothing that we could write beside
        return ()


async def _default() -> tuple[Variant, str]:
    plain = find_program("iptables")
    said = parse_version(await output_of([plain, "-V"])) if plain is not None else None
    if said is None:
        return Variant.NFT, "no rules of either variant, and no plain iptables that says which one is usual here"
    return said[1], f"no rules tell the variants apart, and iptables -V is {said[1].value}"
