"""The addresses of this host by interface, for Corefiles that bind to interfaces by name (COR-14)."""

import socket

from pointsman.dataplane.errors import KernelError
from pointsman.netlink import codec, route
from pointsman.netlink.channel import Channel


async def interfaces() -> dict[str, tuple[str, ...]]:
    """Return the addresses of each interface, without IPv6 link-local ones; nothing where the kernel does not tell."""
    try:
        with Channel(socket.NETLINK_ROUTE) as channel:
            answers = await channel.request(route.GET_ADDRESS, route.every_address(0), "addresses", flags=codec.DUMP)
    except KernelError:
        return {}
    found = {name: tuple(route.addresses(answers, index)) for index, name in socket.if_nameindex()}
    return {name: addresses for name, addresses in found.items() if addresses}
