"""IP addresses and CIDRs as text: parsed generously, written canonically.

Everything downstream compares addresses as text, so there must be one text per address. Kubernetes reads addresses the old way: leading
zeros of an IPv4 number are decimal (IN-18), and an IPv4-mapped IPv6 address *is* the IPv4 address. Both are normalised here, once, when an
object enters `routing`; a canonical address contains a colon if and only if it is IPv6.

Most addresses are canonical already and come by the hundred thousand, so two patterns recognise those (and return the very same string);
only the rest takes the slow way through `ipaddress`.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network

from pointsman.routing.route import Family

BITS = {Family.IPV4: 32, Family.IPV6: 128}
"""The length of an address."""

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_CANONICAL_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch
_SLOPPY_IPV4 = re.compile(r"0*[0-9]{1,3}(?:\.0*[0-9]{1,3}){3}").fullmatch
_GROUP = "[1-9a-f][0-9a-f]{0,3}"
# One `::` that stands for two or more groups, and no other zero group: nothing is left to shorten.
_PLAIN_IPV6 = rf"(?=(?:[^:]*:){{1,6}}[^:]*$){_GROUP}(?::{_GROUP})*::{_GROUP}(?::{_GROUP})*"
_CANONICAL_IPV6 = re.compile(_PLAIN_IPV6).fullmatch

ORDINARY = {
    Family.IPV4: re.compile(rf"(?!0\.|127\.|169\.254\.|22[4-9]|2[345][0-9]){_OCTET}(?:\.{_OCTET}){{3}}").fullmatch,
    Family.IPV6: re.compile(rf"(?!fe[89ab]|ff){_PLAIN_IPV6}").fullmatch,
}
"""Per family a match that admits, in one step, most canonical addresses that are not special; it never admits any other text."""

_MAPPED_PREFIX = 96
_MAX_PREFIX_DIGITS = 6


def parse_address(text: str) -> str | None:
    """Return the canonical text of an address (IPv4 for an IPv4-mapped one), None if it is none."""
    if _CANONICAL_IPV4(text) or _CANONICAL_IPV6(text):
        return text
    return _parse_ipv6(text) if ":" in text else _parse_sloppy_ipv4(text)


def parse_cidr(text: str) -> str | None:
    """Return the canonical text of a CIDR, host bits cleared, None if it is none."""
    address, slash, bits = text.partition("/")
    canonical = parse_address(address)
    if not slash or canonical is None or not (bits.isascii() and bits.isdigit() and len(bits) <= _MAX_PREFIX_DIGITS):
        return None
    length, family = int(bits), family_of(canonical)
    if ":" in address and family is Family.IPV4:
        if length < _MAPPED_PREFIX:
            canonical = f"::ffff:{canonical}"
        else:
            length -= _MAPPED_PREFIX
    if length > BITS[family_of(canonical)]:
        return None
    return str(ip_network(f"{canonical}/{length}", strict=False))


def family_of(text: str) -> Family:
    """Return the family of a canonical address or CIDR."""
    return Family.IPV6 if ":" in text else Family.IPV4


def contains(cidr: str, address: str) -> bool:
    """Return whether a canonical CIDR holds a canonical address; never across families."""
    return CidrSet((cidr,)).find(address) is not None


_SPECIAL_IPV4 = ("0.0.0.0", "127.", "169.254.", "22", "23", "255.255.255.255")  # noqa: S104
_SPECIAL_IPV6 = ("::", "fe8", "fe9", "fea", "feb", "ff")


def special(address: str) -> str:
    """Return what makes a canonical address unfit to be one machine's: `loopback`, `multicast` ..., or the empty string."""
    if ":" in address:
        if not address.startswith(_SPECIAL_IPV6):
            return ""
    elif not address.startswith(_SPECIAL_IPV4):
        return ""
    value = ip_address(address)
    if value.is_unspecified:
        return "unspecified"
    if value.is_loopback:
        return "loopback"
    if value.is_link_local:
        return "link-local"
    if value.is_multicast:
        return "multicast"
    return "broadcast" if address == "255.255.255.255" else ""


class CidrSet:
    """CIDRs, asked which of them holds an address: one look per prefix length, however many there are."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        """Take canonical CIDRs of either family."""
        self._networks: dict[tuple[Family, int], dict[int, str]] = {}
        for cidr in cidrs:
            address, _, bits = cidr.partition("/")
            family, length = family_of(address), int(bits)
            shift = BITS[family] - length
            self._networks.setdefault((family, length), {})[int(ip_address(address)) >> shift] = cidr

    def find(self, address: str) -> str | None:
        """Return the longest CIDR that holds a canonical address, None if none does."""
        if not self._networks:
            return None
        family, number = family_of(address), int(ip_address(address))
        found: tuple[int, str] | None = None
        for (of, length), networks in self._networks.items():
            if of is family and (found is None or length > found[0]):
                cidr = networks.get(number >> (BITS[family] - length))
                if cidr is not None:
                    found = (length, cidr)
        return found[1] if found else None


def _parse_sloppy_ipv4(text: str) -> str | None:
    if not _SLOPPY_IPV4(text):
        return None
    numbers = [int(part[-3:]) for part in text.split(".")]
    return ".".join(map(str, numbers)) if max(numbers) <= 0xFF else None


def _parse_ipv6(text: str) -> str | None:
    head, colon, tail = text.rpartition(":")
    if "." in tail:
        embedded = _parse_sloppy_ipv4(tail)
        if embedded is None:
            return None
        value = int(IPv4Address(embedded))
        text = f"{head}{colon}{value >> 16:x}:{value & 0xFFFF:x}"
    if "%" in text:
        return None
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(address)
