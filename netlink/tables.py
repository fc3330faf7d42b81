"""Whole tables of nftables: which of a name there are, and removing one with everything in it.

Done by the kernel's own messages, so it needs no `nft` program, which hosts with iptables only do not have, and no listing of a ruleset,
which takes seconds where there are many rules. A table goes in one transaction: no packet sees half of it. `takeover` removes the tables of
a service proxy that worked here before by this.
"""

import socket
from collections.abc import Iterable
from functools import partial

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.netlink import codec, nftables
from pointsman.netlink.channel import Channel

FAMILIES = {"ip": int(socket.AF_INET), "ip6": int(socket.AF_INET6)}
"""nft's words for the two families that tables of IPv4 and IPv6 have."""

_ABSENT = (ErrorKind.UNSUPPORTED, ErrorKind.INVALID)  # a kernel without nftables answers with one of these


async def find(name: str) -> tuple[str, ...]:
    """Return the families ("ip", "ip6") in which there is a table of this name; none in a kernel without nftables. Raises KernelError."""
    found: list[str] = []
    try:
        with Channel(nftables.PROTOCOL) as channel:
            for word, family in FAMILIES.items():
                answers = await channel.request(nftables.GET_TABLE, nftables.every_table(family), "nftables tables", flags=codec.DUMP)
                if name in map(_name, answers):
                    found.append(word)
    except KernelError as error:
        if error.kind not in _ABSENT:
            raise
    return tuple(found)


async def remove(name: str, families: Iterable[str]) -> None:
    """Remove a table of this name in each of the families; one that is gone already is no error. Raises KernelError."""
    with Channel(nftables.PROTOCOL) as channel:
        for word in families:
            make = partial(nftables.transaction, nftables.DELETE_TABLE, nftables.one_table(FAMILIES[word], name))
            try:
                await channel.exchange(make, f"nftables table {word} {name}")
            except KernelError as error:
                if error.kind is not ErrorKind.MISSING:
                    raise


def _name(message: codec.Message) -> str:
    try:
        return nftables.table_name(message)
    except codec.MalformedError as error:
        raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", "nftables tables") from error
