"""What a failed tool said: exit status and stderr of iptables-restore and ipset become a kind, words, and blame. Pure.

This is the only place that reads error text. Both variants and ipset were provoked to learn what they print; the tests do so again, so a
new version that words things differently is noticed there. Blame comes in two shapes: line numbers of the text that the tool was given,
and names (a chain, a set, an extension) where the tool names an object but not a usable line: the nft variant reports a jump to an absent
chain at the COMMIT line. Neither may be there: the kernel refuses a legacy table as a whole, at COMMIT; the caller then has to search.

Exit status 4 means "lock or resource" in the legacy variant only; the nft variant ends with 4 for every refusal of the kernel.
"""

import re
from typing import Final

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind


class Failure(Struct, frozen=True):
    """A failed run: kind, text, blamed lines (counted from 1), and names of absent or refused objects."""

    kind: ErrorKind
    text: str
    lines: tuple[int, ...] = ()
    chains: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()


_LINE: Final = re.compile(r"(?:Error occurred at line: |line (?=\d+ failed|\d+: )|Error in line )(\d+)", re.IGNORECASE)
_KERNEL_ERRNO: Final = re.compile(r"^line \d+: \w+ failed \(([^)]+)\)", re.MULTILINE)
_ABSENT_CHAIN: Final = re.compile(r"(?:Chain|target) [`']([^`']+)'(?: does not exist|:No such file)")
_ABSENT_MATCH: Final = re.compile(r"load match [`']([^`']+)'")
_ABSENT_SET: Final = re.compile(r"Set (\S+) doesn't exist")
_ABSENT_EXTENSION: Final = re.compile(r"Extension (\S+) revision \d+ not supported")
_NOISE: Final = re.compile(r"^(?:Try `.*|# Warning: .*|Ignoring deprecated .*|Warning: Extension .*|\s*)$")

# The first pattern that is found says the kind; the order goes from the reasons to the symptoms.
_KINDS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"holding the xtables lock|can't lock .*temporarily unavailable", ErrorKind.BUSY),
        (r"permission denied|operation not permitted|you must be root", ErrorKind.DENIED),
        (r"revision \d+ not supported|load match|unable to initialize table|can't initialize|type not supported", ErrorKind.UNSUPPORTED),
        (r"set \S+ doesn't exist|given name does not exist|chain '[^']+' does not exist|load target", ErrorKind.MISSING),
        (r"no chain/target/match by that name|does a matching rule exist|it's not added", ErrorKind.MISSING),
        (r"same name already exists|it's already added|file exists", ErrorKind.EXISTS),
        (r"in use by a kernel component|device or resource busy", ErrorKind.BUSY),
        (r"is full, cannot add|cannot allocate memory|memory allocation problem|message too long|no space left", ErrorKind.TOO_BIG),
        (r"resource temporarily unavailable|try again", ErrorKind.BUSY),
        (r"failed|error|invalid|bad |too long|syntax|unknown|expected", ErrorKind.INVALID),
    )
)
_BUILT_IN_TARGETS: Final = frozenset({"MARK", "MASQUERADE", "DNAT", "SNAT", "REJECT", "LOG", "TCPMSS", "NOTRACK", "CT", "SET"})


def judge(exit_status: int, stderr: str) -> Failure:
    """Return what a run that ended with a non-zero status failed of; `stderr` is the tool's whole error output."""
    targets = _unique(_ABSENT_CHAIN.findall(stderr))
    chains = tuple(name for name in targets if name not in _BUILT_IN_TARGETS)
    absent = [*_ABSENT_MATCH.findall(stderr), *_ABSENT_EXTENSION.findall(stderr)]
    extensions = _unique([*absent, *(target for target in targets if target in _BUILT_IN_TARGETS)])
    kind = next((kind for pattern, kind in _KINDS if pattern.search(stderr)), ErrorKind.OTHER)
    if extensions and kind is not ErrorKind.BUSY:
        kind = ErrorKind.UNSUPPORTED
    lines = tuple(dict.fromkeys(int(number) for number in _LINE.findall(stderr)))
    return Failure(kind, _words(exit_status, stderr, kind, extensions), lines, chains, _unique(_ABSENT_SET.findall(stderr)), extensions)


def _unique(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


_ADVICE: Final = {
    ErrorKind.DENIED: "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW",
    ErrorKind.TOO_BIG: "the kernel's limit is reached; fewer Services, more memory, or the nftables mode would help",
}


def _words(exit_status: int, stderr: str, kind: ErrorKind, extensions: tuple[str, ...]) -> str:
    said = "; ".join(line.strip() for line in stderr.splitlines() if not _NOISE.match(line)) or f"exit status {exit_status} and no words"
    refused = _KERNEL_ERRNO.search(stderr)
    if kind is ErrorKind.UNSUPPORTED and extensions:
        return f"{said} (the extension {', '.join(extensions)} is missing in the kernel or in the tools: load or install it)"
    if refused and refused.group(1) == "Too many links":
        return f"{said} (chains that jump to each other in a circle)"
    return f"{said} ({_ADVICE[kind]})" if kind in _ADVICE else said
