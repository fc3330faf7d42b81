"""A flow: one entry of the kernel's connection tracking, in the words of `conntrack -L`. Pure.

An entry holds two directions. The original one is what the client sent: from its address to the frontend. The reply one is what comes back,
as it arrives: from the backend, to the client or to whom it was masqueraded as. So the reply's source is where the flow really goes, and a
flow was translated exactly if that differs from the original destination.

`wire` makes flows from bytes, `classify` says what is to be thought of them, commands print them.
"""

from enum import IntFlag
from typing import Final

from msgspec import Struct
from pointsman.routing.route import Family, Protocol

NUMBERS: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}
"""Numbers of the protocols that Services have."""

PROTOCOLS: Final = {number: protocol for protocol, number in NUMBERS.items()}

_NAMES: Final = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "icmpv6", 132: "sctp", 136: "udplite"}


class Status(IntFlag):
    """What the kernel notes of an entry (linux/netfilter/nf_conntrack_common.h)."""

    EXPECTED = 1 << 0
    SEEN_REPLY = 1 << 1
    ASSURED = 1 << 2
    CONFIRMED = 1 << 3
    SRC_NAT = 1 << 4
    DST_NAT = 1 << 5
    DYING = 1 << 9
    NAT_CLASH = 1 << 12
    OFFLOAD = 1 << 14


class Direction(Struct, frozen=True, gc=False):
    """One direction: addresses as text, ports (0 where the protocol has none)."""

    source: str
    destination: str
    source_port: int
    destination_port: int


class Counters(Struct, frozen=True, gc=False):
    """What went one way, as long as the kernel counts (`net.netfilter.nf_conntrack_acct`)."""

    packets: int
    bytes: int


class Flow(Struct, frozen=True, gc=False):
    """One entry. `state` is the protocol's (`ESTABLISHED`), empty where it has none; `timeout` is in seconds, -1 if the kernel has none.

    `began` is in seconds since the epoch where the kernel notes it (`net.netfilter.nf_conntrack_timestamp`), else 0. `identity` tells this
    entry from a later one between the same ends. A `zone` other than 0 is a table of somebody else's.
    """

    family: Family
    protocol: int
    original: Direction
    reply: Direction
    status: int = 0
    state: str = ""
    timeout: int = -1
    mark: int = 0
    zone: int = 0
    identity: int = 0
    use: int = 0
    began: float = 0.0
    sent: Counters | None = None
    returned: Counters | None = None

    @property
    def protocol_name(self) -> str:
        """Return the protocol as `conntrack -L` names it."""
        return _NAMES.get(self.protocol, "unknown")

    @property
    def translated(self) -> bool:
        """Return whether the flow goes elsewhere than to where the client sent it."""
        first, back = self.original, self.reply
        return first.destination != back.source or first.destination_port != back.source_port

    @property
    def masqueraded(self) -> bool:
        """Return whether the backend sees another address than the client's."""
        return self.original.source != self.reply.destination

    @property
    def frontend(self) -> str:
        """Return where the client sent it, `ip:port`."""
        return place(self.original.destination, self.original.destination_port)

    @property
    def backend(self) -> str:
        """Return where it really goes, `ip:port`."""
        return place(self.reply.source, self.reply.source_port)

    @property
    def client(self) -> str:
        """Return who sent it, `ip:port`."""
        return place(self.original.source, self.original.source_port)

    def line(self) -> str:
        """Return the entry as `conntrack -L` prints it, without the identity."""
        words = [f"{self.protocol_name:<8} {self.protocol}"]
        words += [str(self.timeout)] if self.timeout >= 0 else []
        words += [self.state] if self.state else []
        words += [_direction(self.original), *_counters(self.sent)]
        words += [] if self.status & Status.SEEN_REPLY else ["[UNREPLIED]"]
        words += [_direction(self.reply), *_counters(self.returned)]
        words += ["[OFFLOAD]"] if self.status & Status.OFFLOAD else ["[ASSURED]"] if self.status & Status.ASSURED else []
        words.append(f"mark={self.mark}")
        words += [f"zone={self.zone}"] if self.zone else []
        words.append(f"use={self.use}")
        return " ".join(words)


def place(address: str, port: int) -> str:
    """Return `ip:port`, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _direction(one: Direction) -> str:
    return f"src={one.source} dst={one.destination} sport={one.source_port} dport={one.destination_port}"


def _counters(one: Counters | None) -> list[str]:
    return [f"packets={one.packets} bytes={one.bytes}"] if one is not None else []
