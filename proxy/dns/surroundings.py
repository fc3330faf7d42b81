"""What a node must have so that queries come to its resolver: addresses that are its own, and lists by which the kernel knows it alive.

An address is made local by a route of ours in the kernel's local table, not by giving it to a device: nobody takes it for one of the node's
addresses, and whoever removes devices does not remove it. The kernel tells when one of them goes (`watch`): without it, packets that
the rules take aside would leave this node untracked. Routes are compared with what is wanted now and then, too, and put back (NLD-43);
removing them is done by what they say of themselves, so a process without memory can do it (`remove`).

`node` says which addresses; the resolver names them in the lists (`dns.heartbeat`), here they are only taken back when it is gone.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.dns import heartbeat
from pointsman.iptables.local_dns import LISTS
from pointsman.netlink import codec, route
from pointsman.netlink.channel import Channel, EventsLostError, kernel_error
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

FOLDER: Final = Path("/proc/net/xt_recent")
ROUTES: Final = "routes"
"""The subject of an error in reading them."""
REPAIR: Final = 10.0
"""Seconds between two looks whether the routes are still there, if nothing is heard."""
PAUSES: Final = (0.1, 1.0)
"""Seconds from one look to the next if something is heard: at first, and at most, where it never ends."""
_HARMLESS: Final = (errno.EEXIST, errno.ESRCH, errno.ENOENT)


def lists(addresses: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return which addresses belong into which list."""
    found: dict[str, tuple[str, ...]] = {}
    for address in addresses:
        family = Family.IPV6 if ":" in address else Family.IPV4
        path = str(FOLDER / LISTS[family])
        found[path] = (*found.get(path, ()), address)
    return found


def take_back(addresses: Iterable[str]) -> None:
    """Have queries go where the Service rules lead them, from the next packet on."""
    for path, some in lists(addresses).items():
        heartbeat.write(path, some, "-")


async def present() -> tuple[str, ...]:
    """Return the addresses that are local by routes of ours. Raises KernelError."""
    with Channel(socket.NETLINK_ROUTE, filtered=True) as channel:
        return await _present(channel)


async def ensure(wanted: Sequence[str]) -> tuple[str, ...]:
    """Make these addresses local and no others of ours; return in words what was changed. Raises KernelError."""
    with Channel(socket.NETLINK_ROUTE, filtered=True) as channel:
        there = await _present(channel)
        missing = [address for address in wanted if address not in there]
        surplus = [address for address in there if address not in wanted]
        requests = [(route.NEW_ROUTE, route.CREATE, route.local_route(address)) for address in missing]
        requests += [(route.DELETE_ROUTE, 0, route.local_route(address)) for address in surplus]
        failed = await channel.batch(requests, "local routes")
        for place, number in failed.items():
            if number not in _HARMLESS:
                raise kernel_error(number, f"local route of {(*missing, *surplus)[place]}")
    return (*(f"local route of {one} added" for one in missing), *(f"local route of {one} removed" for one in surplus))


async def watch(gone: Callable[[], None]) -> None:
    """Call `gone` whenever a local route of ours was removed, or may have been, until cancelled. Raises KernelError."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        for group in route.ROUTE_GROUPS:
            channel.join(group)
        gone()  # whatever happened before
        while True:
            try:
                told = codec.messages(await channel.receive())
                ours = any(True for _ in route.local_routes(one for one in told if one.type == route.DELETE_ROUTE))
            except (EventsLostError, codec.MalformedError):
                ours = True
            if ours:
                gone()


async def keep(arrange: Callable[[], Awaitable[None]], moved: asyncio.Event) -> None:
    """Call `arrange` now, when something has moved, and now and then, until cancelled.

    Who removes a route of ours whenever it is there is no reason to do nothing else: looks are further and further apart meanwhile.
    """
    shortest, longest = PAUSES
    pause = shortest
    while True:
        moved.clear()
        await arrange()
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest) if moved.is_set() else shortest
        with suppress(TimeoutError):
            async with asyncio.timeout(REPAIR):
                await moved.wait()


async def remove(*, dry_run: bool = False) -> tuple[str, ...]:
    """Remove all routes of ours; return in words what was (or would be) removed. Raises KernelError."""
    there = await present()
    if not dry_run:
        take_back(there)
        await ensure(())
    return tuple(f"local route of {address}" for address in there)


async def _present(channel: Channel) -> tuple[str, ...]:
    found: list[str] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            answers = await channel.request(route.GET_ROUTE, route.every_local_route(family), ROUTES, flags=codec.DUMP)
            found += route.local_routes(answers)
        except codec.MalformedError as error:
            raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", ROUTES) from error
        except KernelError as error:
            if error.kind is not ErrorKind.MISSING:  # a namespace without any address yet has no such table
                raise
    return tuple(found)
