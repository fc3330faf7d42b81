"""What ipsets hold, as `ipset save` prints them, and whether a packet is a member. Pure.

Every element is text in ipset's own spelling, so membership in a hash of addresses is a look-up of text; sets of networks, which other
programs use for their policies, are searched. Types that are not covered here answer None, nobody knows, and never a guess.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from ipaddress import ip_address, ip_network

from msgspec import Struct
from pointsman.iptables.rule import canonical

_KNOWN = {"ip", "port", "net", "number"}


class SavedSet(Struct, frozen=True, dict=True):
    """An ipset: the kinds of its parts (`ip`, `port`, `net`), its type, and its elements with what they carry (`skbmark 0x1`)."""

    parts: tuple[str, ...]
    kind: str
    elements: Mapping[str, str]

    def find(self, words: Sequence[str]) -> str | None:
        """Return the element for the parts of a packet, None if there is none; `knows` tells whether it can be answered at all."""
        text = ",".join(words)
        if text in self.elements:
            return text
        if "net" not in self.parts:
            return None
        found = [element for element in self.elements if self._covers(element, words)]
        return max(found, key=lambda one: int(one.rpartition("/")[2]) if "/" in one else 128, default=None)

    @cached_property
    def knows(self) -> bool:
        """Return whether membership can be told for this type."""
        return self.kind.startswith(("hash:", "bitmap:port")) and set(self.parts) <= _KNOWN

    def _covers(self, element: str, words: Sequence[str]) -> bool:
        for kind, have, asked in zip(self.parts, element.split(","), words, strict=False):
            if kind == "net":
                if ip_address(asked) not in ip_network(have, strict=False):
                    return False
            elif have != asked:
                return False
        return True


def member(found: SavedSet | None, words: Iterable[str]) -> bool | None:
    """Return whether a packet is in a set; None if the set was not read, or is of a type that is not covered."""
    if found is None or not found.knows:
        return None
    return found.find(tuple(words)) is not None


def spelled(kind: str, address: str, protocol: str, port: int) -> str:
    """Return a part of an element for one direction of a packet; a bitmap has bare ports (`kind` `number`)."""
    if kind == "port":
        return f"{protocol}:{port}"
    return str(port) if kind == "number" else canonical(address)


def saved_sets(lines: Iterable[str]) -> dict[str, SavedSet]:
    """Return the sets by name."""
    kinds: dict[str, tuple[tuple[str, ...], str]] = {}
    elements: dict[str, dict[str, str]] = {}
    for raw in lines:
        verb, _, rest = raw.rstrip("\n").partition(" ")
        name, _, text = rest.partition(" ")
        if verb == "create":
            kind = text.partition(" ")[0]
            parts = ("number",) if kind == "bitmap:port" else tuple(kind.partition(":")[2].split(","))
            kinds[name], elements[name] = (parts, kind), {}
        elif verb == "add" and name in elements:
            element, _, carried = text.partition(" ")
            elements[name][element] = carried
    return {name: SavedSet(parts, kind, elements[name]) for name, (parts, kind) in kinds.items()}
