"""Real servers that nobody wants any more and that still have connections: what is left, and until when it may stay. Pure.

Such a server gets weight 0, so that no new connection goes there, and is removed when its connections have ended, or after a time (the
cap), whichever is first (pains 16 and 19). UDP has no end that could be awaited; its servers go at once and the kernel expires their
connections with the next packet (pain 20). A virtual server that goes while servers behind it drain waits for the last of them. A server
whose node is gone is not waited for.

`servers` holds and releases; `pointsman ipvs drain` shows the list. After a restart the list makes itself anew: servers of weight 0 that
nobody wants are found like any other leftover.

When another mode takes over (`retirement`), UDP drains as well: its Services live on, new flows go another way, and who is in the middle of
one need not lose a packet.
"""

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct
from pointsman.dataplane.linger import Linger
from pointsman.ipvs import names
from pointsman.ipvs.objects import Load, RealKey, VirtualKey
from pointsman.routing.route import Protocol


class Draining(Struct, frozen=True):
    """One server: since when it drains and when it is removed at the latest (monotonic seconds), and the connections it has left."""

    key: RealKey
    since: float
    until: float
    load: Load


def waits(key: VirtualKey) -> bool:
    """Return whether the end of connections can be awaited: for everything but UDP."""
    return (key.protocol or names.mark_protocol(key.mark)) is not Protocol.UDP


def busy(load: Load) -> bool:
    """Return whether there are connections to wait for."""
    return load.active + load.inactive > 0


class Drain:
    """The servers that drain, and the virtual servers that wait for them. `cap` is in seconds."""

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self._linger: Linger[RealKey] = Linger()
        self._since: dict[RealKey, float] = {}
        self._loads: dict[RealKey, Load] = {}
        self._virtuals: set[VirtualKey] = set()

    def __contains__(self, key: RealKey) -> bool:
        return key in self._since

    def __len__(self) -> int:
        return len(self._since)

    @property
    def held(self) -> Collection[VirtualKey]:
        """Return the virtual servers that go with their last draining server."""
        return frozenset(self._virtuals)

    @property
    def keys(self) -> Collection[RealKey]:
        """Return the servers that drain."""
        return tuple(self._since)

    def listed(self) -> Iterator[Draining]:
        """Yield what drains, the longest first."""
        until = self._linger.lingering
        for key, since in self._since.items():
            yield Draining(key, since, until[key], self._loads[key])

    def hold(self, key: RealKey, load: Load, now: float) -> None:
        """Let a server drain; one that does already keeps its time."""
        self._linger.hold(key, now + self.cap)
        self._since.setdefault(key, now)
        self._loads[key] = load

    def hold_virtual(self, key: VirtualKey) -> bool:
        """Let a virtual server wait for what drains behind it; return whether anything does."""
        if not any(real.virtual == key for real in self._since):
            return False
        self._virtuals.add(key)
        return True

    def release(self, key: RealKey) -> None:
        """Forget a server: it is removed, or wanted again."""
        self._linger.release(key)
        self._since.pop(key, None)
        self._loads.pop(key, None)

    def wanted(self, key: VirtualKey) -> None:
        """Take note that a virtual server is wanted again."""
        self._virtuals.discard(key)

    def due(self, loads: Mapping[RealKey, Load], gone: Collection[str], now: float) -> tuple[RealKey, ...]:
        """Return the servers to remove now: drained, out of time, or on a node that is gone (`gone`: their addresses).

        `loads` is what the kernel says; a server that is not in it exists no more and is forgotten.
        """
        held = self._linger.held(now)
        found = []
        for key in tuple(self._since):
            load = loads.get(key)
            if load is None:
                self.release(key)
                continue
            self._loads[key] = load
            if not busy(load) or key not in held or key.address in gone:
                found.append(key)
        return tuple(found)

    def orphans(self) -> tuple[VirtualKey, ...]:
        """Return the virtual servers that waited and behind which nothing drains any more, and forget them."""
        left = {key.virtual for key in self._since}
        found = tuple(key for key in self._virtuals if key not in left)
        self._virtuals.difference_update(found)
        return found
