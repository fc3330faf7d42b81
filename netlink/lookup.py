"""Where this node's packets to an address go out: the kernel's own answer, per address.

Explanations need it for rules that ask for an interface, and to know behind which one a pod is. An address to which there is no way has no
entry: that is an answer too. Source: rtnetlink(7), RTM_GETROUTE.
"""

import socket
import struct
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from pointsman.dataplane.errors import KernelError
from pointsman.netlink import codec
from pointsman.netlink.channel import Channel

_GET_ROUTE: Final = 26
_HEADER: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, prefix lengths, tos, table, protocol, scope, type, flags
_DESTINATION, _OUTPUT = 1, 4
_AF: Final = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}


def question(address: str) -> bytes:
    """Return the body of the request for the way to an address. Raises ValueError for what is no address."""
    found = ip_address(address)
    header = _HEADER.pack(_AF[found.version], found.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return header + codec.attribute(_DESTINATION, found.packed)


def interface(answer: codec.Message) -> int:
    """Return the number of the interface in an answer, 0 if it names none. Raises MalformedError."""
    if len(answer.body) < _HEADER.size:
        raise codec.MalformedError(f"route of {len(answer.body)} bytes: too short")
    raw = dict(codec.attributes(answer.body, _HEADER.size)).get(_OUTPUT)
    return int(struct.unpack("=I", raw)[0]) if raw is not None and len(raw) == 4 else 0


async def leads(addresses: Iterable[str]) -> Mapping[str, str]:
    """Return the name of the interface towards each address; raises KernelError only if the kernel cannot be asked at all."""
    found: dict[str, str] = {}
    with Channel(socket.NETLINK_ROUTE) as channel:
        for address in dict.fromkeys(addresses):
            try:
                answers = await channel.request(_GET_ROUTE, question(address), address)
                found.update((address, socket.if_indextoname(interface(one))) for one in answers[:1] if interface(one))
            except (KernelError, OSError):  # no way there, or the interface has gone meanwhile
                continue
    return found
