"""The kernel's IPVS in ipvsadm's vocabulary, for programs: add, edit, delete, list, zero, timeouts, statistics and connections.

    async with await Ipvsadm.open() as ipvsadm:
        web = VirtualKey(Family.IPV4, Protocol.TCP, "10.96.0.10", 80)
        await ipvsadm.add_service(web, VirtualServer(Scheduler.WRR))
        await ipvsadm.add_server(RealKey(web, "10.244.1.7", 8080), RealServer(weight=3))
        for listed in await ipvsadm.list_all():
            print(listed.virtual.key, len(listed.reals))

One call is one request, and what the kernel refuses is a KernelError that names the server, of kind MISSING where it is not there, EXISTS
where it is already. There is no `clear`: other programs' virtual servers are theirs, so `flush` takes the keys that shall go.
Who programs ten thousand virtual servers uses `channel` with `wire` itself, as `kernel` does: many requests per datagram.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Self, TypeVar

from msgspec import Struct
from pointsman.dataplane.errors import ErrorKind, KernelError
from pointsman.ipvs import answers, connections, wire
from pointsman.ipvs.answers import Real, Virtual
from pointsman.ipvs.channel import ABSENT, IpvsChannel
from pointsman.ipvs.objects import Facts, RealKey, RealServer, Timeouts, VirtualKey, VirtualServer
from pointsman.netlink.channel import kernel_error
from pointsman.netlink.codec import MalformedError

_T = TypeVar("_T")


class Listed(Struct, frozen=True, gc=False):
    """A virtual server and what is behind it."""

    virtual: Virtual
    reals: tuple[Real, ...]


class Ipvsadm:
    """ipvsadm's commands on one network namespace."""

    def __init__(self, channel: IpvsChannel) -> None:
        """Speak over a channel that is open; `open` makes one."""
        self._channel = channel

    @classmethod
    async def open(cls) -> Self:
        """Open a channel in the caller's network namespace; raises KernelError, kind UNSUPPORTED where the kernel has no IPVS."""
        return cls(await IpvsChannel.open())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def add_service(self, key: VirtualKey, server: VirtualServer) -> None:
        """Add a virtual server (-A)."""
        await self._channel.change(wire.new_virtual(key, server), str(key))

    async def edit_service(self, key: VirtualKey, server: VirtualServer) -> None:
        """Change a virtual server; its real servers and connections stay (-E)."""
        await self._channel.change(wire.set_virtual(key, server), str(key))

    async def delete_service(self, key: VirtualKey) -> None:
        """Remove a virtual server with its real servers (-D)."""
        await self._channel.change(wire.delete_virtual(key), str(key))

    async def get_service(self, key: VirtualKey) -> Virtual:
        """Return one virtual server with its counters."""
        return _read(answers.virtual, await self._one(wire.ask_virtual(key), str(key)), str(key))

    async def list_services(self) -> tuple[Virtual, ...]:
        """Return every virtual server, also of other programs (-L)."""
        bodies = await self._channel.dump(wire.DUMP_VIRTUALS, "virtual servers")
        return tuple(_read(answers.virtual, body, "virtual servers") for body in bodies)

    async def add_server(self, key: RealKey, server: RealServer) -> None:
        """Add a real server to its virtual server (-a)."""
        await self._channel.change(wire.new_real(key, server), str(key))

    async def edit_server(self, key: RealKey, server: RealServer) -> None:
        """Change a real server; its connections stay (-e)."""
        await self._channel.change(wire.set_real(key, server), str(key))

    async def delete_server(self, key: RealKey) -> None:
        """Remove a real server; to let its connections end, set its weight to 0 and wait (-d)."""
        await self._channel.change(wire.delete_real(key), str(key))

    async def get_server(self, key: RealKey) -> Real:
        """Return one real server with its load and counters."""
        wanted = (ip_address(key.address), key.port)
        for one in await self.list_servers(key.virtual):
            if (ip_address(one.key.address), one.key.port) == wanted:
                return one
        raise KernelError(ErrorKind.MISSING, "is not there", str(key))

    async def list_servers(self, key: VirtualKey) -> tuple[Real, ...]:
        """Return the real servers of a virtual server, none if it is not there (-L)."""
        bodies = await self._channel.dump(wire.dump_reals(key), str(key))
        return tuple(_real(body, key) for body in bodies)

    async def list_all(self) -> tuple[Listed, ...]:
        """Return every virtual server with its real servers and counters (-L)."""
        virtuals = await self.list_services()
        reals = await self._channel.dumps([wire.dump_reals(one.key) for one in virtuals], "real servers")
        return tuple(
            Listed(virtual, tuple(_real(body, virtual.key) for body in bodies))
            for virtual, bodies in zip(virtuals, reals, strict=True)
        )

    async def flush(self, ours: Iterable[VirtualKey]) -> None:
        """Remove these virtual servers with their real servers; those that are gone already do not matter (-C, but of ours only)."""
        keys = tuple(ours)
        failed = await self._channel.apply((wire.DELETE_VIRTUAL, key, None) for key in keys)
        for place, number in failed.items():
            error = kernel_error(number, str(keys[place]))
            if error.kind is not ErrorKind.MISSING:
                raise error

    async def zero(self, key: VirtualKey | None = None) -> None:
        """Zero the counters of a virtual server and its real servers, or of all there are (-Z)."""
        await self._channel.change(wire.ZERO_ALL if key is None else wire.zero(key), "counters" if key is None else str(key))

    async def timeouts(self) -> Timeouts:
        """Return the timeouts of the network namespace (-L --timeout)."""
        return _read(answers.timeouts, await self._one(wire.ASK_TIMEOUTS, "timeouts"), "timeouts")

    async def set_timeouts(self, timeouts: Timeouts) -> None:
        """Change the timeouts; those that are 0 stay as they are (--set)."""
        await self._channel.change(wire.set_timeouts(timeouts), "timeouts")

    async def facts(self) -> Facts:
        """Return the kernel's IPVS version and the size of its connection table (--version)."""
        return _read(answers.facts, await self._one(wire.ASK_FACTS, "version"), "version")

    async def connections(self) -> connections.Table:
        """Return the connections and what persistence remembers (-L -c)."""
        try:
            return await self._channel.run(connections.read)
        except OSError as error:
            raise KernelError(ErrorKind.UNSUPPORTED, ABSENT, connections.PATH) from error

    async def _one(self, body: bytes, subject: str) -> memoryview:
        bodies = await self._channel.ask(body, subject)
        if len(bodies) != 1:
            raise KernelError(ErrorKind.OTHER, f"the kernel gave {len(bodies)} answers to one question", subject)
        return bodies[0]


def _read(decode: Callable[[memoryview], _T], body: memoryview, subject: str) -> _T:
    try:
        return decode(body)
    except MalformedError as error:
        raise KernelError(ErrorKind.OTHER, f"the kernel's answer cannot be read: {error}", subject) from error


def _real(body: memoryview, key: VirtualKey) -> Real:
    return _read(lambda content: answers.real(content, key), body, str(key))
