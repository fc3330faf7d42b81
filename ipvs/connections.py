"""The kernel's table of IPVS connections, read from /proc: netlink does not tell them. The parser is pure.

A line is a connection (client, virtual server, real server, state, seconds left) or a **template**: the memory of a persistent virtual
server that this client belongs to that real server, shown with client port 0. Addresses of IPv4 are eight hexadecimal digits, those of
IPv6 are written out. What a newer kernel adds at the end of a line is passed over; a line that cannot be read is skipped and counted, for
one odd line should not hide the others. Source: net/netfilter/ipvs/ip_vs_conn.c.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from msgspec import Struct

PATH: Final = "/proc/thread-self/net/ip_vs_conn"

_HEADING: Final = "Pro"


class Connection(Struct, frozen=True, gc=False):
    """One line: `protocol` and `state` as the kernel names them, addresses as text, seconds until it is forgotten if nothing passes."""

    protocol: str
    client: str
    client_port: int
    virtual: str
    virtual_port: int
    real: str
    real_port: int
    state: str
    seconds_left: int

    @property
    def template(self) -> bool:
        """Return whether this is a client's persistence rather than a connection."""
        return self.client_port == 0


class Table(Struct, frozen=True, gc=False):
    """The connections that could be read, and how many lines could not."""

    connections: tuple[Connection, ...]
    unreadable: int


def parse(lines: Iterable[str]) -> Table:
    """Read the lines of the file, heading included."""
    found: list[Connection] = []
    unreadable = 0
    for line in lines:
        words = line.split()
        if not words or words[0] == _HEADING:
            continue
        try:
            found.append(_connection(words))
        except (ValueError, IndexError):
            unreadable += 1
    return Table(tuple(found), unreadable)


def _connection(words: list[str]) -> Connection:
    protocol, client, client_port, virtual, virtual_port, real, real_port, state, left = words[:9]
    return Connection(
        protocol=protocol,
        client=_address(client),
        client_port=_port(client_port),
        virtual=_address(virtual),
        virtual_port=_port(virtual_port),
        real=_address(real),
        real_port=_port(real_port),
        state=state,
        seconds_left=int(left),
    )


def _address(text: str) -> str:
    if ":" in text:
        return str(IPv6Address(text))
    if len(text) != 8:
        raise ValueError(text)
    return str(IPv4Address(int(text, 16)))


def _port(text: str) -> int:
    port = int(text, 16)
    if not 0 <= port <= 0xFFFF:
        raise ValueError(text)
    return port


def read() -> Table:
    """Read the table of the calling thread's network namespace; raises FileNotFoundError where the kernel has no IPVS."""
    with open(PATH, encoding="ascii", errors="replace") as lines:  # noqa: PTH123 - a file of the kernel, read line by line
        return parse(lines)


def of_virtual(table: Table, address: str, port: int, protocol: str) -> Iterator[Connection]:
    """Yield the connections, without templates, that clients have with a virtual server."""
    for one in table.connections:
        if one.virtual == address and one.virtual_port == port and one.protocol == protocol and not one.template:
            yield one
