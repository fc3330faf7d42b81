"""A Corefile as a whole: read, checked, and made into settings, with everything that was found on the way.

`load` is pure: text, a library of imports and an environment go in. It never stops at the first error. What comes out is the settings of
every server block, its plugins in the order in which they run, and a fingerprint of all that was read, imports included: two Corefiles with
the same fingerprint mean the same, whatever their comments (OBS-50).

The command line prints the findings; the resolver builds its chains; the agent learns which addresses and ports to listen on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct
from pointsman.dns.corefile import keys
from pointsman.dns.corefile.findings import CorefileError, Finding, Findings, Place, WrongError
from pointsman.dns.corefile.keys import Key
from pointsman.dns.corefile.options import AutopathOptions, BindOptions, KubernetesOptions, Options
from pointsman.dns.corefile.parser import Block, Directive, File, Library, parse
from pointsman.dns.corefile.table import PLACE_IN_CHAIN, READERS, REPEATABLE, refusal

Kind = TypeVar("Kind", bound=Options)

NO_BLOCK = "there is no server block: write at least one, such as .:53 { forward . /etc/resolv.conf }"


class ServerBlock(Struct, frozen=True):
    """What is served for some keys, by plugins in the order in which they run."""

    keys: tuple[Key, ...]
    options: tuple[Options, ...]
    place: Place

    def one(self, kind: type[Kind]) -> Kind | None:
        """Return the settings of a plugin, None if the block does not have it."""
        return next(iter(self.all(kind)), None)

    def all(self, kind: type[Kind]) -> tuple[Kind, ...]:
        """Return the settings of every directive of a plugin, in file order."""
        return tuple(one for one in self.options if isinstance(one, kind))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return what bind names, addresses or interfaces; nothing means everywhere."""
        return tuple(address for bind in self.all(BindOptions) for address in bind.addresses)


class Corefile(Struct, frozen=True):
    """All server blocks of a Corefile, and the SHA-512 of what was read."""

    blocks: tuple[ServerBlock, ...]
    fingerprint: str

    def one(self, kind: type[Kind]) -> Kind | None:
        """Return the first settings of a plugin in any block: for what a process has once, such as reload or prometheus."""
        return next(iter(self.all(kind)), None)

    def all(self, kind: type[Kind]) -> tuple[Kind, ...]:
        """Return the settings of a plugin in all blocks."""
        return tuple(one for block in self.blocks for one in block.all(kind))


class Loaded(Struct, frozen=True):
    """What became of a Corefile: its settings, None if there is an error, and every finding."""

    corefile: Corefile | None
    findings: tuple[Finding, ...]
    fingerprint: str

    def must(self) -> Corefile:
        """Return the settings; raises CorefileError with every error if there are none."""
        if self.corefile is None:
            raise CorefileError([finding for finding in self.findings if finding.error])
        return self.corefile


def load(root: File, library: Library, environment: Mapping[str, str]) -> Loaded:
    """Read a Corefile. One without a server block is an error: as a rule it is just being written, or was cut by a full disk."""
    findings = Findings()
    blocks = parse(root, library, environment, findings)
    if not blocks and not findings.fatal:
        findings.error(Place(root.name, 1), NO_BLOCK)
    served = tuple(made for block in blocks if (made := _server_block(block, findings)))
    _overlaps(served, findings)
    fingerprint = hashlib.sha512(msgspec.json.encode([_content(block) for block in blocks])).hexdigest()
    return Loaded(None if findings.fatal else Corefile(served, fingerprint), tuple(findings), fingerprint)


def _content(block: Block) -> object:
    """Return what of a block counts for the fingerprint: its words, not where they stand."""

    def words(one: Directive) -> list[object]:
        return [one.name, [token.text for token in one.args], [[line.name, *(token.text for token in line.args)] for line in one.lines]]

    lines = [words(one) for one in block.directives]
    return [[token.text for token in block.keys], lines]


def _server_block(block: Block, findings: Findings) -> ServerBlock | None:
    """Return the settings of a block; what is wrong is noted."""
    found: dict[Key, None] = {}
    for token in block.keys:
        try:
            made = keys.keys(token.text)
        except ValueError as error:
            findings.error(token.place, str(error))
            continue
        if made[0].scheme != "dns":
            scheme = f"{made[0].scheme}:// listeners are supported by CoreDNS, not by this resolver"
            findings.error(token.place, f"{scheme}: only plain DNS is listened for")
            continue
        for key in made:
            if key in found:
                findings.error(token.place, f"cannot serve {key} - it is already defined: the key stands twice in one block")
            found[key] = None
    zones = tuple(dict.fromkeys(key.zone for key in found))
    options: list[tuple[int, Options]] = []
    for directive in _once(block.directives, findings):
        try:
            options.append((PLACE_IN_CHAIN[directive.name], READERS[directive.name](directive, zones, findings)))
        except WrongError as error:
            findings.wrong(error)
    options.sort(key=lambda one: one[0])
    made_block = ServerBlock(tuple(found), tuple(option for _, option in options), block.keys[0].place)
    _together(made_block, findings)
    return made_block if found else None


def _once(directives: Sequence[Directive], findings: Findings) -> Sequence[Directive]:
    """Return the directives that are served; unknown, refused and repeated ones are noted."""
    kept: list[Directive] = []
    seen: dict[str, Place] = {}
    for directive in directives:
        if directive.name not in READERS:
            findings.error(directive.place, refusal(directive.name))
        elif directive.name in seen and directive.name not in REPEATABLE:
            first = seen[directive.name]
            text = f"this plugin can only be used once per Server Block: {directive.name} stands at {first.file}:{first.line} already"
            findings.error(directive.place, text)
        else:
            seen[directive.name] = directive.place
            kept.append(directive)
    return kept


def _together(block: ServerBlock, findings: Findings) -> None:
    """Note what plugins of one block need of each other."""
    autopath, kubernetes = block.one(AutopathOptions), block.one(KubernetesOptions)
    if autopath and autopath.source == "@kubernetes":
        if kubernetes is None:
            findings.error(autopath.place, "autopath @kubernetes needs kubernetes in the same block")
        elif kubernetes.pods != "verified":
            text = f"autopath @kubernetes never acts with pods {kubernetes.pods}: write pods verified into kubernetes"
            findings.warning(autopath.place, text)


def _overlaps(blocks: Sequence[ServerBlock], findings: Findings) -> None:
    """Note keys that two blocks serve at the same address (COR-11)."""
    taken: dict[tuple[Key, str], Place] = {}
    for block in blocks:
        for key in block.keys:
            for address in block.addresses or ("",):
                if other := taken.get((key, address)):
                    at = f" on {address}" if address else ""
                    findings.error(block.place, f"cannot serve {key}{at} - it is already defined at {other.file}:{other.line}")
                taken.setdefault((key, address), block.place)
    for (key, address), place in taken.items():
        if address and (other := taken.get((key, ""))):
            there = f"the block at {other.file}:{other.line} serves it on all addresses"
            text = f"cannot serve {key} on {address} - {there}: bind that one, too"
            findings.error(place, text)
