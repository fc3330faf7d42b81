"""A resolv.conf, as far as this program reads one: its nameservers and search list. Pure; who reads the file is the caller."""

import ipaddress

from msgspec import Struct


class ResolvConf(Struct, frozen=True):
    """What a resolv.conf says; addresses in their canonical form, with a scope if one was written."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def parse(text: str) -> ResolvConf:
    """Read the text; lines that mean nothing are passed over, as resolvers do."""
    nameservers: dict[str, None] = {}
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            address = canonical(words[1])
            if address:
                nameservers.setdefault(address)
        elif words[0] in {"search", "domain"}:
            search = tuple(words[1:])
    return ResolvConf(tuple(nameservers), search)


def canonical(address: str) -> str:
    """Return an address in its canonical form, empty if it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""
