"""What IPVS holds: virtual servers and the real servers behind them, as keys and values compared by value. Pure.

A **virtual server** is where clients connect: address, port and protocol, or a mark that packets carry (the kernel looks for marks first).
Its value says how it picks a real server. A **real server** belongs to one virtual server and is what a connection ends at; its value says
with which weight and by which kind of forwarding. Counters and loads are what the kernel reports beside them: they are no part of the
value, so that a busy server equals itself.

The values are lossless: what `answers` decodes `wire` encodes to the same, also what other programs made. Only the kernel's own mark
"hashed" is left out, for no program may set it. Scheduler names are plain strings because a kernel may have schedulers that nobody has
heard of; `schedulers` lists those that exist everywhere. Sources: include/uapi/linux/ip_vs.h; ipvsadm(8).
"""

from enum import Enum, IntFlag

from msgspec import Struct
from pointsman.routing.route import Family, Protocol


class Forwarding(Enum):
    """How packets get to a real server."""

    __hash__ = object.__hash__

    MASQUERADE = 0  # the destination address is translated, the answer comes back through us
    LOCAL = 1       # the real server is this machine
    TUNNEL = 2      # the packet travels inside another one; the answer goes straight to the client
    DIRECT = 3      # the packet is handed to the real server's link-layer address; the answer goes straight to the client
    BYPASS = 4      # a cache cluster's way round itself


class TunnelKind(Enum):
    """What the packet travels inside of, where forwarding is TUNNEL."""

    __hash__ = object.__hash__

    IPIP = 0
    GUE = 1
    GRE = 2


class ServerFlag(IntFlag):
    """Options of a virtual server; what the three scheduler flags mean, each scheduler decides (`schedulers`)."""

    NONE = 0
    PERSISTENT = 0x01   # a client keeps its real server
    ONE_PACKET = 0x04   # UDP: every datagram is scheduled anew
    SCHEDULER_1 = 0x08  # sh, mh: fall back to another real server if the chosen one has weight 0
    SCHEDULER_2 = 0x10  # sh, mh: the source port counts too
    SCHEDULER_3 = 0x20


class VirtualKey(Struct, frozen=True, gc=False, order=True):
    """Identity of a virtual server: address, port and protocol; or `mark` (not 0, the whole packet mark), and then none of the others.

    Addresses are normalised text.
    """

    family: Family
    protocol: Protocol | None = None
    address: str = ""
    port: int = 0
    mark: int = 0

    def __str__(self) -> str:
        """Return `TCP 10.96.0.1:80`, or `mark 7 IPv4`."""
        if self.protocol is None:
            return f"mark {self.mark} {self.family.value}"
        return f"{self.protocol.value} {endpoint(self.address, self.port)}"


class VirtualServer(Struct, frozen=True, gc=False):
    """How a virtual server picks: scheduler and flags, and whether a client stays with its real server.

    `persistence_seconds` counts only with the flag PERSISTENT, from the client's last connection; `persistence_prefix` puts clients of one
    network together (None: each address on its own). `persistence_engine` is the kernel's name of one (`sip`), empty for addresses.
    """

    scheduler: str = "rr"
    flags: ServerFlag = ServerFlag.NONE
    persistence_seconds: int = 0
    persistence_prefix: int | None = None
    persistence_engine: str = ""


class RealKey(Struct, frozen=True, gc=False, order=True):
    """Identity of a real server: its virtual server, its address and port. Only tunnels may lead to the other family."""

    virtual: VirtualKey
    address: str
    port: int

    def __str__(self) -> str:
        """Return `10.244.1.7:8080 of TCP 10.96.0.1:80`."""
        return f"{endpoint(self.address, self.port)} of {self.virtual}"


class Tunnel(Struct, frozen=True, gc=False):
    """The outer packet of forwarding TUNNEL: `port` for GUE (0 otherwise), `flags` 1 = checksum, 2 = remote checksum offload."""

    kind: TunnelKind = TunnelKind.IPIP
    port: int = 0
    flags: int = 0


PLAIN_TUNNEL = Tunnel()


class RealServer(Struct, frozen=True, gc=False):
    """How much a real server takes and how it is reached.

    Weight 0 takes no new connection and keeps those that it has. Above `upper` connections it takes no more until they are fewer than
    `lower`; 0 is no limit.
    """

    weight: int = 1
    forwarding: Forwarding = Forwarding.MASQUERADE
    upper: int = 0
    lower: int = 0
    tunnel: Tunnel = PLAIN_TUNNEL


class Counters(Struct, frozen=True, gc=False, rename="camel"):
    """Connections, packets and bytes; either all since the last zeroing, or per second."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


NOTHING = Counters()


class Statistics(Struct, frozen=True, gc=False):
    """What passed in total, and per second (a moving average); the kernel renews both every two seconds."""

    total: Counters = NOTHING
    rate: Counters = NOTHING


class Load(Struct, frozen=True, gc=False):
    """Connections that a real server has now: active, closing or idle, and clients that are bound to it by persistence."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0


class Timeouts(Struct, frozen=True, gc=False):
    """Seconds until an idle connection is forgotten: established TCP, TCP after FIN, and UDP. 0 in a request leaves what is there."""

    tcp: int = 0
    tcp_fin: int = 0
    udp: int = 0


class Facts(Struct, frozen=True, gc=False):
    """The kernel's IPVS: its version, and how many rows its connection table has."""

    version: tuple[int, int, int]
    table_rows: int


def endpoint(address: str, port: int) -> str:
    """Return `ip:port`, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
