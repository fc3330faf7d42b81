"""What NodeLocal DNSCache leaves on a node, and how it goes: its rules, known by their comments, and its device (NLD-20 to NLD-24).

A node-cache that was killed leaves rules and an address behind with nobody listening: then the node's pods have no DNS at all. So who takes
its place removes them. A node-cache that still runs would put them back once a minute, so it is named and waited for. Rules without its
comments, and a device of its name that is no dummy, are somebody else's.

The agent runs `take_over` once, beside its resolver.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator
from typing import Final

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.iptables.run import output_of
from pointsman.iptables.variant import Tools, Variant, find_tools, legacy_tables
from pointsman.netlink import route
from pointsman.netlink.channel import Channel
from pointsman.netlink.codec import MalformedError
from pointsman.proxy import peers
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

DEVICE: Final = "nodelocaldns"
PROGRAM: Final = "node-cache"
MARK: Final = '--comment "NodeLocal DNS Cache: '
TABLES: Final = ("raw", "filter")
POLL: Final = 2.0
"""Seconds between two looks whether node-cache has ended."""


async def take_over() -> None:
    """Remove what is left, as soon as no node-cache runs here; what cannot be removed is told."""
    told = False
    while found := await asyncio.to_thread(peers.running, PROGRAM):
        if not told:
            text = "NodeLocal DNSCache still runs here: remove its DaemonSet; what it leaves is removed as soon as it has ended"
            log.warning(text, extra={"pid": ", ".join(map(str, found))})
            told = True
        await asyncio.sleep(POLL)
    try:
        removed = await remove()
    except KernelError as error:
        log.warning("something of NodeLocal DNSCache stays; it is tried again at the next start", extra={"error": str(error)})
        return
    if removed:
        log.info("removed what NodeLocal DNSCache left", extra={"objects": len(removed), "named": ", ".join(removed[:5])})


async def remove(*, dry_run: bool = False) -> tuple[str, ...]:
    """Remove rules and device; return in words what was (or would be) removed. Raises KernelError."""
    removed: list[str] = []
    for variant in Variant:
        for family in Family:
            if variant is Variant.LEGACY and not set(TABLES) & set(legacy_tables(family)):
                continue  # asking would make the tables
            try:
                tools = await find_tools(family, variant)
            except KernelError as error:
                if error.kind is not ErrorKind.UNSUPPORTED:
                    raise
                continue
            removed += await _rules(tools, dry_run=dry_run)
    return (*removed, *await _device(dry_run=dry_run))


async def _rules(tools: Tools, *, dry_run: bool) -> list[str]:
    said: list[str] = []
    for table, rules in found((await output_of([tools.save])).splitlines()):
        if not dry_run:
            text = "".join(f"-D {rule}\n" for rule in rules)
            await output_of(tools.restore_command(), f"*{table}\n{text}COMMIT\n")
        said.append(f"{tools.variant.value} {tools.family.value} {table}: {len(rules)} rules of NodeLocal DNSCache")
    return said


def found(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield, by table, the rules with NodeLocal's comments in the output of iptables-save: chain and rule."""
    table, rules = "", list[str]()
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and MARK in line:
            rules.append(line[3:].rstrip("\n"))
        elif line.startswith("COMMIT"):
            if rules and table in TABLES:
                yield table, rules
            rules = []


async def _device(*, dry_run: bool) -> tuple[str, ...]:
    with Channel(socket.NETLINK_ROUTE) as channel:
        try:
            answers = await channel.request(route.GET_LINK, route.link_by_name(DEVICE), DEVICE)
            kind = route.link_kind(answers[0].body)
        except KernelError as error:
            if error.text.endswith("(ENODEV)"):
                return ()
            raise
        except (MalformedError, IndexError) as error:
            raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", DEVICE) from error
        if kind != "dummy":
            return ()
        if not dry_run:
            await channel.request(route.DELETE_LINK, route.link_by_name(DEVICE), DEVICE)
    return (f"device {DEVICE}",)
