"""The laboratory's map: which namespaces there are, their addresses, links and routes, as values and as `ip -batch` text.

A small believable cluster: nodes joined by a bridge, pods joined to their node by a veth pair each (routed, as point-to-point network
plug-ins do it), a client outside, and *elsewhere*: the nodes' default gateway, which answers for every address of the Service, external
and load-balancer ranges, so a packet that a node lets pass untouched is seen to arrive. Everything is dual stack. Nothing here touches
the kernel: `lab` does, `lab_namespace` knows how.

Ways back: an outside client has addresses of its own for each node through which it enters the cluster, and replies to such an address go
through that node, so a connection that is not masqueraded still returns the way it came. Node-side veth ends carry the node's gateway
address, which is therefore what a masqueraded connection to a local pod shows as its source; to another node it shows the underlay address.
"""

from collections.abc import Iterator
from enum import Enum
from functools import cached_property

from msgspec import Struct
from pointsman.routing.route import Family

V4, V6 = Family.IPV4, Family.IPV6
POD_RANGE = {V4: "10.244.0.0/16", V6: "fd00:10:244::/48"}
SERVICE_RANGE = {V4: "10.96.0.0/16", V6: "fd00:10:96::/112"}
EXTERNAL_RANGE = {V4: "192.0.2.0/24", V6: "fd00:20::/64"}
LOAD_BALANCER_RANGE = {V4: "203.0.113.0/24", V6: "fd00:30::/64"}
POD_PREFIX = "pod"
"""What the node-side interfaces of pods begin with, for the detector InterfaceNamePrefix."""
UNDERLAY = "underlay"
_CLIENTS = (10, 11)


class PlaceKind(Enum):
    """What a namespace stands for."""

    NODE = "node"
    POD = "pod"
    OUTSIDE = "outside"
    ELSEWHERE = "elsewhere"


class Place(Struct, frozen=True):
    """A namespace from which and to which packets go: its first address per family, and the node it belongs to (empty for none)."""

    name: str
    kind: PlaceKind
    addresses: dict[Family, str]
    node: str = ""


def _node_number(name: str) -> int:
    return int(name[1:])


class Topology(Struct, frozen=True, dict=True):
    """How many nodes (named n1, n2 ...) with how many pods each (n1p1, n1p2 ...)."""

    nodes: int = 2
    pods_per_node: int = 3

    @cached_property
    def places(self) -> dict[str, Place]:
        """Return every place by name: nodes, pods, `outside`, `elsewhere`."""
        found = [Place("outside", PlaceKind.OUTSIDE, {V4: "192.168.50.100", V6: "fd00:50::100"})]
        found.append(Place("elsewhere", PlaceKind.ELSEWHERE, {V4: "192.168.50.200", V6: "fd00:50::200"}))
        for n in range(1, self.nodes + 1):
            node = f"n{n}"
            found.append(Place(node, PlaceKind.NODE, {V4: f"192.168.50.{n}", V6: f"fd00:50::{n}"}, node))
            for p in range(1, self.pods_per_node + 1):
                addresses = {V4: f"10.244.{n}.{10 + p}", V6: f"fd00:10:244:{n}::{10 + p}"}
                found.append(Place(f"{node}p{p}", PlaceKind.POD, addresses, node))
        return {place.name: place for place in found}

    @property
    def node_names(self) -> tuple[str, ...]:
        """Return the names of the nodes."""
        return tuple(f"n{n}" for n in range(1, self.nodes + 1))

    def pods_of(self, node: str) -> tuple[Place, ...]:
        """Return the pods of a node."""
        return tuple(place for place in self.places.values() if place.kind is PlaceKind.POD and place.node == node)

    def pod_range(self, node: str, family: Family) -> str:
        """Return the pod range of one node (spec.podCIDRs)."""
        n = _node_number(node)
        return f"10.244.{n}.0/24" if family is V4 else f"fd00:10:244:{n}::/64"

    def gateway(self, node: str, family: Family) -> str:
        """Return the node's address on the side of its pods."""
        n = _node_number(node)
        return f"10.244.{n}.1" if family is V4 else f"fd00:10:244:{n}::1"

    def second(self, node: str, family: Family) -> str:
        """Return the node's second address, which is no InternalIP and lies on its loopback interface."""
        n = _node_number(node)
        return f"172.31.50.{n}" if family is V4 else f"fd00:51::{n}"

    def client(self, node: str, family: Family, number: int = 0) -> str:
        """Return an address of the outside client whose packets enter and leave the cluster through a node; there are two."""
        n = _node_number(node)
        host = _CLIENTS[number]
        return f"198.18.{n}.{host}" if family is V4 else f"fd00:18:{n}::{host}"

    def local_addresses(self, node: str, family: Family) -> tuple[str, ...]:
        """Return every address that a node has after the build, loopback and link-local ones left out."""
        place = self.places[node]
        return (place.addresses[family], self.second(node, family), self.gateway(node, family))

    def interface(self, pod: str) -> str:
        """Return the name of the node-side interface of a pod."""
        return POD_PREFIX + pod.partition("p")[2]

    # --- as `ip -batch` text -----------------------------------------------------------------------------------------

    def batches(self, scope: str) -> Iterator[tuple[str, str]]:
        """Yield (place or underlay, text for `ip -batch`) in the order in which they must run; namespaces are called `scope-place`.

        Lines that begin with `-6` are for `ip -6`: a rule's family is not told by its addresses.
        """
        yield UNDERLAY, "\n".join(self._underlay(scope))
        for place in self.places.values():
            make = {
                PlaceKind.NODE: self._node_links,
                PlaceKind.POD: self._pod,
                PlaceKind.OUTSIDE: self._outside,
                PlaceKind.ELSEWHERE: self._elsewhere,
            }[place.kind]
            if place.kind is not PlaceKind.POD:
                yield place.name, "\n".join(make(place, scope))
        for place in self.places.values():
            if place.kind is PlaceKind.POD:
                yield place.name, "\n".join(self._pod(place, scope))

    def _underlay(self, scope: str) -> Iterator[str]:
        yield "link add br0 type bridge"
        yield "link set br0 up"
        yield "link set lo up"
        for place in self.places.values():
            if place.kind is not PlaceKind.POD:
                yield f"link add to-{place.name} type veth peer name eth0 netns {scope}-{place.name}"
                yield f"link set to-{place.name} master br0 up"

    def _attach(self, place: Place) -> Iterator[str]:
        yield "link set lo up"
        yield f"addr add {place.addresses[V4]}/24 dev eth0"
        yield f"addr add {place.addresses[V6]}/64 dev eth0 nodad"
        yield "link set eth0 up"

    def _node_links(self, place: Place, scope: str) -> Iterator[str]:
        node = place.name
        yield from self._attach(place)
        yield f"addr add {self.second(node, V4)}/32 dev lo"
        yield f"addr add {self.second(node, V6)}/128 dev lo nodad"
        for pod in self.pods_of(node):
            link = self.interface(pod.name)
            yield f"link add {link} type veth peer name eth0 netns {scope}-{pod.name}"
            yield f"addr add {self.gateway(node, V4)}/32 dev {link}"
            yield f"addr add {self.gateway(node, V6)}/128 dev {link} nodad"
            yield f"link set {link} up"
            yield f"route add {pod.addresses[V4]}/32 dev {link}"
            yield f"route add {pod.addresses[V6]}/128 dev {link}"
        yield from self._node_routes(node)

    def _node_routes(self, node: str) -> Iterator[str]:
        for family in Family:
            for other in self.node_names:
                through = self.places["outside" if other == node else other].addresses[family]
                yield f"route add {self._client_range(other, family)} via {through}"
                if other != node:
                    yield f"route add {self.pod_range(other, family)} via {through}"
                    yield f"route add {_host(self.second(other, family))} via {through}"
            yield f"route add default via {self.places['elsewhere'].addresses[family]}"

    def _client_range(self, node: str, family: Family) -> str:
        n = _node_number(node)
        return f"198.18.{n}.0/24" if family is V4 else f"fd00:18:{n}::/64"

    def _pod(self, place: Place, scope: str) -> Iterator[str]:  # noqa: ARG002 - all makers have one shape
        yield "link set lo up"
        for family in Family:
            address, gateway = place.addresses[family], self.gateway(place.node, family)
            yield f"addr add {_host(address)} dev eth0" + (" nodad" if family is V6 else "")
            if family is V4:
                yield "link set eth0 up"
            yield f"route add {_host(gateway)} dev eth0"
            yield f"route add default via {gateway} dev eth0"

    def _outside(self, place: Place, scope: str) -> Iterator[str]:  # noqa: ARG002
        yield from self._attach(place)
        for family in Family:
            option = "-6 " if family is V6 else ""
            for node in self.node_names:
                through = self.places[node].addresses[family]
                table = 100 + _node_number(node)
                for number in range(len(_CLIENTS)):
                    yield f"addr add {_host(self.client(node, family, number))} dev lo" + (" nodad" if family is V6 else "")
                yield f"{option}rule add from {self._client_range(node, family)} lookup {table}"
                yield f"route add default via {through} table {table}"
                yield f"route add {_host(self.second(node, family))} via {through}"
            yield f"route add default via {self.places['n1'].addresses[family]}"

    def _elsewhere(self, place: Place, scope: str) -> Iterator[str]:  # noqa: ARG002
        yield from self._attach(place)
        for family in Family:
            for node in self.node_names:
                through = self.places[node].addresses[family]
                yield f"route add {self.pod_range(node, family)} via {through}"
                yield f"route add {_host(self.second(node, family))} via {through}"
                yield f"route add {self._client_range(node, family)} via {through}"
            for virtual in (SERVICE_RANGE, EXTERNAL_RANGE, LOAD_BALANCER_RANGE):
                yield f"route add local {virtual[family]} dev lo"


def _host(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"
