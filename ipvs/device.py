"""Our device: a dummy link whose addresses are those of the Services, so that the kernel delivers their packets to itself (IPVS-10).

The link is never brought up: addresses of a link that is down are local all the same, and a link that is down announces nothing. Whatever
is on it is ours; a link of our name that is no dummy belongs to somebody else, is not touched, and is an error. Adding what is there and
removing what is not are no errors.
"""

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence

from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs.keys import AddressKey
from pointsman.ipvs.names import DEVICE
from pointsman.netlink import route
from pointsman.netlink.channel import Channel, kernel_error
from pointsman.netlink.codec import DUMP, MalformedError
from pointsman.routing.route import Family

_AF = {Family.IPV4: int(socket.AF_INET), Family.IPV6: int(socket.AF_INET6)}
_GONE = (errno.EADDRNOTAVAIL, errno.ENODEV)


async def observe(family: Family) -> tuple[AddressKey, ...]:
    """Return the addresses of one family on our device; none if there is no device. Raises KernelError."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        index = await _index(channel)
        if not index:
            return ()
        answers = await channel.request(route.GET_ADDRESS, route.every_address(_AF[family]), DEVICE, flags=DUMP)
    wanted = ":" if family is Family.IPV6 else "."
    try:
        return tuple(AddressKey(address) for address in route.addresses(answers, index) if wanted in address)
    except MalformedError as error:
        raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", DEVICE) from error


async def local_addresses(family: Family) -> frozenset[str]:
    """Return the addresses of one family on all links but our device. Raises KernelError."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        ours = await _index(channel)
        answers = await channel.request(route.GET_ADDRESS, route.every_address(_AF[family]), "addresses", flags=DUMP)
    try:
        return frozenset(route.addresses(answers, ours, besides=True))
    except MalformedError as error:
        raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", "addresses") from error


async def bind(keys: Sequence[AddressKey]) -> Mapping[AddressKey, KernelError]:
    """Put addresses on our device, which is made if need be; return which failed."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        index = await _index(channel) or await _make(channel)
        requests = [(route.NEW_ADDRESS, route.CREATE | route.REPLACE, route.address(key.address, index)) for key in keys]
        return _failed(keys, await channel.batch(requests, DEVICE), (errno.EEXIST,))


async def unbind(keys: Sequence[AddressKey]) -> Mapping[AddressKey, KernelError]:
    """Take addresses off our device; return which failed."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        index = await _index(channel)
        if not index:
            return {}
        requests = [(route.DELETE_ADDRESS, 0, route.address(key.address, index)) for key in keys]
        return _failed(keys, await channel.batch(requests, DEVICE), _GONE)


async def exists() -> bool:
    """Return whether our device is there."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        return bool(await _index(channel))


async def remove() -> None:
    """Remove our device with all its addresses; it may be gone already."""
    with Channel(socket.NETLINK_ROUTE) as channel:
        if await _index(channel):
            await channel.request(route.DELETE_LINK, route.link_by_name(DEVICE), DEVICE)


def _failed(keys: Sequence[AddressKey], found: Mapping[int, int], harmless: Iterable[int]) -> dict[AddressKey, KernelError]:
    wrong = ((keys[place], number) for place, number in found.items() if number not in harmless)
    return {key: kernel_error(number, f"{key.address} on {DEVICE}") for key, number in wrong}


async def _index(channel: Channel) -> int:
    """Return the index of our device, 0 if it is not there. Raises KernelError if another kind of link has its name."""
    try:
        answers = await channel.request(route.GET_LINK, route.link_by_name(DEVICE), DEVICE)
    except KernelError as error:
        if error.text.endswith("(ENODEV)"):
            return 0
        raise
    try:
        kind = route.link_kind(answers[0].body)
        if kind != "dummy":
            text = f"is a link of kind {kind or 'physical'}, not ours: rename or remove it, Services need a dummy link of this name"
            raise KernelError(ErrorKind.EXISTS, text, DEVICE)
        return route.link_index(answers[0].body)
    except (MalformedError, IndexError) as error:
        raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", DEVICE) from error


async def _make(channel: Channel) -> int:
    try:
        await channel.request(route.NEW_LINK, route.link_by_name(DEVICE, "dummy"), DEVICE, flags=4 | route.CREATE | route.EXCLUSIVE)
    except KernelError as error:
        if error.kind is ErrorKind.UNSUPPORTED:
            text = "this kernel has no dummy links: load the module dummy, or use a kernel built with CONFIG_DUMMY"
            raise KernelError(ErrorKind.UNSUPPORTED, text, DEVICE) from error
        if error.kind is not ErrorKind.EXISTS:
            raise
    return await _index(channel)
