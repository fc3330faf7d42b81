"""What the kernel says about this node: its addresses, its name, its sysctls.

Addresses come from rtnetlink, of the network namespace this process is in. The multicast groups only say *that* something changed; the list
is then read in full, because a list is right by itself while a sum of events is right only if none was lost. Bursts (a pod's interfaces
coming and going) are settled first. A list that cannot be read keeps the last good one and is tried again (pain 88: an interface list that
failed once took the node ports away). Our own channel reads it: pyroute2's sockets do not live on uvloop, and cost 22 MB.

IPv6 link-local addresses are left out: every pod's interface brings one, no Service frontend can be one, and each would make facts new.
Sources: rtnetlink(7); docs/services.md SEM-42, SEM-70.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from pointsman.dataplane.errors import KernelError
from pointsman.iptables.sysctl import TCP_BE_LIBERAL, read_sysctl
from pointsman.netlink import codec
from pointsman.netlink.channel import Channel, EventsLostError
from pointsman.proxy.facts import Host
from pointsman.routing.route import Family

log = logging.getLogger(__name__)

Addresses = Mapping[Family, tuple[str, ...]]

SETTLE = 0.1
"""Seconds to wait for more changes before the list is read."""

RETRY = 1.0
"""Seconds until a list that could not be read is tried again."""

SERVICE_DEVICE = "kube-ipvs0"
"""The device of the ipvs mode, ours or kube-proxy's."""

OOM_SCORE = Path("/proc/self/oom_score_adj")

_GET_ADDRESS = 22  # RTM_GETADDR
_GROUPS = (5, 9)  # RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR
_HEADER = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS (the peer's on point-to-point links), IFA_LOCAL (IPv4 only)
_SCOPE_LINK = 253


async def read_host() -> Host:
    """Return what the kernel says now; raises KernelError."""
    return Host(name=socket.gethostname(), addresses=await read_addresses(), tcp_be_liberal=bool(read_sysctl(TCP_BE_LIBERAL)))


def looked_again(host: Host) -> Host:
    """Return the same with the sysctls as they are by now."""
    return msgspec.structs.replace(host, tcp_be_liberal=bool(read_sysctl(TCP_BE_LIBERAL)))


async def read_addresses() -> Addresses:
    """Return all addresses of this network namespace, sorted; raises KernelError.

    IPv6 link-local addresses are left out, and those of the ipvs mode's device: they are Services', not this node's.
    """
    with Channel(socket.NETLINK_ROUTE) as channel:
        answer = await channel.request(_GET_ADDRESS, _HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "the kernel's addresses", flags=codec.DUMP)
    return addresses_in(answer, _index(SERVICE_DEVICE))


def _index(name: str) -> int:
    """Return the number of an interface, 0 if it is not there."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def addresses_in(answer: list[codec.Message], besides: int = 0) -> Addresses:
    """Return the addresses in the messages of a dump, besides those of one interface; messages that say nothing useful are passed over."""
    found: dict[Family, set[str]] = {family: set() for family in Family}
    for message in answer:
        if len(message.body) < _HEADER.size:
            continue
        number, _, _, scope, index = _HEADER.unpack_from(message.body)
        if besides and index == besides:
            continue
        attributes = dict(codec.attributes(message.body, _HEADER.size))
        raw = bytes(attributes.get(_LOCAL) or attributes.get(_ADDRESS) or b"")
        if number == socket.AF_INET and len(raw) == 4:
            found[Family.IPV4].add(socket.inet_ntop(socket.AF_INET, raw))
        elif number == socket.AF_INET6 and len(raw) == 16 and scope != _SCOPE_LINK:
            found[Family.IPV6].add(socket.inet_ntop(socket.AF_INET6, raw))
    return {family: tuple(sorted(addresses)) for family, addresses in found.items()}


async def watch_addresses(
    first: Addresses, read: Callable[[], Awaitable[Addresses]] = read_addresses, *, settle: float = SETTLE, retry: float = RETRY
) -> AsyncIterator[Addresses]:
    """Yield the addresses whenever they differ from the last ones, beginning with those that differ from `first`; never ends."""
    changed = asyncio.Event()
    changed.set()  # whatever happened between the first reading and the subscription
    with Channel(socket.NETLINK_ROUTE) as channel:
        for group in _GROUPS:
            channel.join(group)
        listening = asyncio.create_task(_listen(channel, changed), name="address changes")
        try:
            async for addresses in _settled(first, changed, read, settle, retry):
                yield addresses
        finally:
            listening.cancel()


def adjust_oom_score(score: int, path: Path = OOM_SCORE) -> None:
    """Ask the kernel to spare this process when memory is short (CFG-18); where that is not permitted, say so and go on."""
    try:
        path.write_text(f"{score}\n", encoding="ascii")
    except OSError as error:
        log.info("the memory-shortage score stays as it is", extra={"wanted": score, "error": error.strerror})


async def _settled(
    last: Addresses, changed: asyncio.Event, read: Callable[[], Awaitable[Addresses]], settle: float, retry: float
) -> AsyncIterator[Addresses]:
    while True:
        await changed.wait()
        await asyncio.sleep(settle)
        changed.clear()
        try:
            now = await read()
        except KernelError as error:
            log.warning("keeping the last known addresses", extra={"error": str(error), "retry_seconds": retry})
            await asyncio.sleep(retry)
            changed.set()
            continue
        if now != last:
            last = now
            yield now


async def _listen(channel: Channel, changed: asyncio.Event) -> None:
    """Set the event for every datagram; a lost one is a change too."""
    while True:
        try:
            await channel.receive()
        except EventsLostError:
            log.debug("address changes came too fast; reading all of them")
        except KernelError as error:
            log.warning("address changes cannot be followed at the moment", extra={"error": str(error), "retry_seconds": RETRY})
            await asyncio.sleep(RETRY)
        changed.set()
