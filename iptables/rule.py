"""A small language for rules: typed parts in, the text that `iptables-save` prints out, and back.

Both variants and both families print a rule in one order: `-s -d -i -o -p`, then the matches as they were given, then the target. Whoever
builds rules in that order and with the tools' own spelling can compare text with text. `Rule` is for fixed rules and for reading; what
exists per Service or per endpoint is written by `service` and `firewall` directly from the same pieces (`comment`, `host`, `ports`,
`chance`), because an object per rule would cost more than the rule.

Other modes that need companion rules use this module too; of Services it knows nothing, of a node only how it tells its pods.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from re import compile as pattern
from typing import Final

from msgspec import Struct
from pointsman.routing.node import LocalDetector
from pointsman.routing.route import Family, Protocol

_PLAIN = pattern(r"[A-Za-z0-9 ./:_,;>()\[\]-]*")
_BARE = pattern(r"[A-Za-z0-9_.-]+")
_WORD = pattern(r'"(?:[^"\\]|\\.)*"|\S+')
_COMMENT_LIMIT = 255  # xt_comment keeps 256 bytes with the closing zero
_ADDRESSING = ("-s", "-d", "-i", "-o", "-p")
_ONE = 1 << 31

WHOLE_ADDRESS: Final = {Family.IPV4: "255.255.255.255", Family.IPV6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
"""The mask by which `recent` tells every address from every other."""


class Match(Struct, frozen=True, gc=False):
    """A match: its name and its options as separate words, unquoted (`("!", "--mark", "0x1/0x1")`)."""

    name: str
    options: tuple[str, ...] = ()


class Rule(Struct, frozen=True, gc=False):
    """One rule. A part that begins with `! ` is negated; an empty part is not matched; no target means that the rule only counts."""

    source: str = ""
    destination: str = ""
    input_interface: str = ""
    output_interface: str = ""
    protocol: str = ""
    matches: tuple[Match, ...] = ()
    target: str = ""
    target_options: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the rule as iptables-save prints it, without `-A CHAIN `."""
        words: list[str] = []
        parts = (self.source, self.destination, self.input_interface, self.output_interface, self.protocol)
        for option, part in zip(_ADDRESSING, parts, strict=True):
            if part:
                words += ["!", option, part[2:]] if part.startswith("! ") else [option, part]
        for match in self.matches:
            words += ["-m", match.name, *_options(match.name, match.options)]
        if self.target:
            words += ["-j", self.target, *self.target_options]
        return " ".join(words)


def _options(name: str, options: tuple[str, ...]) -> tuple[str, ...]:
    return (options[0], _quoted(options[1])) if name == "comment" else options


def parse(text: str) -> Rule:
    """Return the rule that a line of iptables-save (without `-A CHAIN `) means; `str` of it is the line again. Raises ValueError."""
    words = [_unquoted(word) for word in _WORD.findall(text)]
    parts: dict[str, str] = {}
    matches: list[Match] = []
    place = 0
    while place < len(words):
        negated = words[place] == "!"
        option = words[place + negated] if place + negated < len(words) else ""
        if option not in _ADDRESSING:
            break
        parts[option] = ("! " if negated else "") + _at(words, place + negated + 1, text)
        place += negated + 2
    while place < len(words) and words[place] == "-m":
        end = place + 2
        while end < len(words) and words[end] not in {"-m", "-j"}:
            end += 1
        matches.append(Match(_at(words, place + 1, text), tuple(words[place + 2 : end])))
        place = end
    target = ""
    if place < len(words):
        if words[place] != "-j":
            raise ValueError(f"cannot read {words[place]!r} in rule {text!r}")
        target = _at(words, place + 1, text)
    source, destination, input_interface, output_interface, protocol = (parts.get(option, "") for option in _ADDRESSING)
    rest = tuple(words[place + 2 :])
    return Rule(source, destination, input_interface, output_interface, protocol, tuple(matches), target, rest)


def _at(words: list[str], place: int, text: str) -> str:
    if place >= len(words):
        raise ValueError(f"rule {text!r} ends too early")
    return words[place]


def _unquoted(word: str) -> str:
    if not word.startswith('"'):
        return word
    return word[1:-1].replace('\\"', '"').replace("\\'", "'").replace("\\\\", "\\")


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else f'"{text}"'


# --- pieces ----------------------------------------------------------------------------------------------------------


def noted(text: str) -> Match:
    """Return a comment match."""
    return Match("comment", ("--comment", comment_text(text)))


def comment_text(text: str) -> str:
    """Return text as it may stand in a comment: at most 255 characters, and whatever could end or split the line replaced by `_`."""
    if not _PLAIN.fullmatch(text):
        text = "".join(letter if _PLAIN.fullmatch(letter) else "_" for letter in text)
    return text[:_COMMENT_LIMIT]


def comment(text: str) -> str:
    """Return the text of a comment match."""
    return f"-m comment --comment {_quoted(comment_text(text))}"


def in_set(name: str, directions: str) -> Match:
    """Return a match of a set; directions are `dst`, or `dst,dst,src` for a set of three parts."""
    return Match("set", ("--match-set", name, directions))


def state(states: str) -> Match:
    """Return a match of connection-tracking states, such as `RELATED,ESTABLISHED` or `DNAT`."""
    return Match("conntrack", ("--ctstate", states))


def marked(bits: int, *, negated: bool = False) -> Match:
    """Return a match of mark bits, all set (or, negated, not)."""
    option = ("--mark", f"{bits:#x}/{bits:#x}")
    return Match("mark", ("!", *option) if negated else option)


def address_type(which: str, kind: str) -> Match:
    """Return a match of the address type: which is `src` or `dst`, kind for example `LOCAL`."""
    return Match("addrtype", (f"--{which}-type", kind))


def ports(protocol: Protocol, first: int, last: int | None = None) -> Match:
    """Return a match of destination ports, both ends included."""
    return Match(protocol.lower, ("--dport", str(first) if last is None else f"{first}:{last}"))


def reject(family: Family) -> Rule:
    """Return a rule that answers with ICMP port unreachable, whatever the protocol (SEM-23)."""
    return Rule(target="REJECT", target_options=("--reject-with", unreachable(family)))


def unreachable(family: Family) -> str:
    """Return the name of the ICMP answer."""
    return "icmp-port-unreachable" if family is Family.IPV4 else "icmp6-port-unreachable"


def host(address: str) -> str:
    """Return an address as `iptables-save` prints a single host."""
    return f"{canonical(address)}/128" if ":" in address else f"{address}/32"


def canonical(address: str) -> str:
    """Return an address as the C library prints it: IPv6 addresses that embed an IPv4 one end in dotted form."""
    if not address.startswith("::") or "." in address:
        return address
    number = int(IPv6Address(address))
    mapped, compatible = number >> 32 == 0xFFFF, number >> 32 == 0 and number >> 16
    if not (mapped or compatible):
        return address
    low = ".".join(str(byte) for byte in (number & 0xFFFFFFFF).to_bytes(4, "big"))
    return f"::ffff:{low}" if mapped else f"::{low}"


def network(cidr: str) -> str:
    """Return a CIDR as `iptables-save` prints it, host bits cleared; empty for the whole family, which it does not print at all."""
    found = ip_network(cidr, strict=False)
    return f"{canonical(str(found.network_address))}/{found.prefixlen}" if found.prefixlen else ""


@lru_cache(maxsize=4096)
def chance(one_of: int) -> str:
    """Return a match that is true once in `one_of` times, as the kernel rounds it (31 bits); with a space behind it, empty for always."""
    if one_of == 1:
        return ""
    return f"-m statistic --mode random --probability {round(_ONE / one_of) / _ONE:.11f} "


def everything(detector: LocalDetector) -> bool:
    """Return whether a detector takes every packet for a pod's: iptables has no match for the opposite."""
    return detector.by_source and not network(detector.value)


def pods(detector: LocalDetector, matches: tuple[Match, ...], target: str, *, negated: bool = False) -> Rule:
    """Return a rule for packets from this node's pods, or, negated, for all others (CFG-30 to CFG-34)."""
    sign = "! " if negated else ""
    if detector.by_source:
        return Rule(source=sign + network(detector.value), matches=matches, target=target)
    prefix = detector.mode is detector.mode.INTERFACE_NAME_PREFIX
    return Rule(input_interface=f"{sign}{detector.value}{'+' if prefix else ''}", matches=matches, target=target)
