"""Which virtual servers are ours (pain 30): those at an address of our device, at a frontend in one of our sets, or of a mark of ours.

Sets are written before virtual servers and emptied after them, so whatever a killed process left behind is still found by them. Everything
else belongs to other programs and is never listed, changed or removed; neither is what `--ipvs-exclude-cidrs` leaves to others.

Those that kube-proxy left are ours as well, by the same device and by its sets; it kept node ports by their number, which count at this
node's own addresses.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from pointsman.iptables.objects import SetKey
from pointsman.ipvs import names
from pointsman.ipvs.frontends import Options, frontend
from pointsman.ipvs.keys import AddressKey, Key
from pointsman.ipvs.objects import VirtualKey
from pointsman.routing.route import Family, Protocol


class Inherited(Struct, frozen=True):
    """What kube-proxy's sets tell: node ports, which count at this node's addresses, and frontends as our sets have them."""

    node_ports: frozenset[tuple[Protocol, int]] = frozenset()
    frontends: frozenset[str] = frozenset()
    node_addresses: frozenset[str] = frozenset()


class Ownership:
    """What was observed beside virtual servers, as the evidence of whose they are."""

    def __init__(self, family: Family, options: Options, seen: Iterable[Key], inherited: Inherited = Inherited()) -> None:  # noqa: B008
        frontends = names.SETS[family].forwarded
        self._options = options
        self._addresses: set[str] = set()
        self._frontends: set[str] = set(inherited.frontends)
        self._inherited = inherited
        for key in seen:
            if isinstance(key, AddressKey):
                self._addresses.add(key.address)
            elif isinstance(key, SetKey) and key.element and key.name in frontends:
                self._frontends.add(key.element)

    def owns(self, key: VirtualKey) -> bool:
        """Return whether a virtual server is ours."""
        if key.protocol is None:
            return names.is_our_mark(key.mark)
        if self._options.excludes(key.address):
            return False
        if key.address in self._addresses or frontend(key.address, key.port, key.protocol) in self._frontends:
            return True
        return (key.protocol, key.port) in self._inherited.node_ports and key.address in self._inherited.node_addresses


def evidence(seen: Mapping[Key, object]) -> tuple[Key, ...]:
    """Return the keys that count as evidence."""
    return tuple(key for key in seen if isinstance(key, AddressKey | SetKey))
