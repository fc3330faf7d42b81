"""What somebody asks: from where, to where; read from words, with every way to say it. Pure.

    from   pod/NAMESPACE/NAME, node, node/NAME, or an address
    to     a name as a program would use it (db.shop:5432), NAMESPACE/NAME:PORT, ADDRESS:PORT, or nodeport/NUMBER

A port may be its number or its name, and may be left out where a Service has only one. What cannot be read is a `QuestionError` that says
how to write it. `resolve` turns names into addresses, `answer` asks the oracle.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from msgspec import Struct
from pointsman.routing.addresses import parse_address
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, Protocol, Routing


class QuestionError(ValueError):
    """A question that cannot be read or answered as it stands; the text says how to ask."""


class Source(Struct, frozen=True):
    """Who sends: in words, addresses by family, the node it is on (empty if nobody knows), its namespace; `here` is this node itself."""

    words: str
    addresses: Mapping[Family, str]
    node: str = ""
    namespace: str = ""
    here: bool = False


class Target(Struct, frozen=True):
    """Where to: a `name`, a Service (`service`), or an `address`; the port as it was written."""

    words: str
    port: str
    name: str = ""
    service: tuple[str, str] | None = None
    address: str = ""


class PodPlace(Struct, frozen=True):
    """Where a pod is: its addresses and its node."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    node: str


def source(text: str, node: NodeFacts, pods: Iterable[PodPlace], nodes: Mapping[str, Sequence[str]]) -> Source:
    """Read who sends; raises QuestionError."""
    kind, _, rest = text.partition("/")
    if text in {"", "node"} or (kind == "node" and rest == node.name):
        return Source(f"node {node.name}", _own(node), node.name, here=True)
    if kind == "node":
        if rest not in nodes:
            raise QuestionError(f"there is no Node {rest!r}; known: {', '.join(sorted(nodes)) or 'none'}")
        return Source(f"node {rest}", _by_family(nodes[rest]), rest)
    if kind == "pod":
        return _pod(rest, pods)
    address = _address(text)
    if address is None:
        raise QuestionError(f"{text!r} is no source; write pod/NAMESPACE/NAME, node, or an address")
    family = family_of(address)
    if address in map(_address, node.local_addresses.get(family, ())):
        return Source(f"address {address} of this node", {family: address}, node.name, here=True)
    owner = next((one for one in pods if address in map(_address, one.addresses)), None)
    if owner is not None:
        return Source(f"pod {owner.namespace}/{owner.name}", {family: address}, owner.node, owner.namespace)
    return Source(f"address {address}", {family: address})


def _pod(rest: str, pods: Iterable[PodPlace]) -> Source:
    namespace, _, name = rest.partition("/")
    if not (namespace and name):
        raise QuestionError(f"'pod/{rest}' is no pod; write pod/NAMESPACE/NAME")
    found = [one for one in pods if (one.namespace, one.name) == (namespace, name)]
    if not found:
        raise QuestionError(
            f"pod {namespace}/{name} is no endpoint of a Service, so its address is not known here; ask with its address:"
            f" kubectl -n {namespace} get pod {name} -o wide"
        )
    return Source(f"pod {namespace}/{name}", _by_family(address for one in found for address in one.addresses), found[0].node, namespace)


def target(text: str, node: NodeFacts) -> Target:
    """Read where to; raises QuestionError."""
    kind, _, rest = text.partition("/")
    if kind == "nodeport" or text.startswith(":"):
        port = rest if kind == "nodeport" else text[1:]
        return Target(f"node port {_number(port)}", port, address=_own(node).get(Family.IPV4) or next(iter(_own(node).values()), ""))
    text = text.removeprefix("service/").removeprefix("svc/")
    if text.startswith("["):
        inside, _, port = text[1:].partition("]:")
        address = _address(inside)
        if address is None or not port:
            raise QuestionError(f"{text!r} is no address and port; write [ADDRESS]:PORT")
        return Target(text, port, address=address)
    if text.count(":") > 1:
        raise QuestionError(f"{text!r}: an IPv6 address with a port is written in brackets, such as [{text}]:80")
    host, _, port = text.partition(":")
    if (address := _address(host)) is not None:
        return Target(text, port, address=address)
    if "/" in host:
        namespace, _, name = host.partition("/")
        return Target(text, port, service=(namespace, name))
    if not host:
        raise QuestionError("nothing to connect to; write a name and a port, such as db.shop:5432")
    return Target(text, port, name=host)


def port_of(found: Target, routing: Routing, services: Iterable[tuple[str, str]], protocol: Protocol) -> tuple[int, Protocol]:
    """Return the port's number and protocol, of one of the Services where it is a name or left out; raises QuestionError."""
    if found.port.isascii() and found.port.isdigit():
        return _number(found.port), protocol
    wanted = set(services)
    ports = {
        (route.port_name.port, route.port, route.protocol)
        for route in routing.routes.values()
        if (route.port_name.namespace, route.port_name.name) in wanted and (not found.port or route.port_name.port == found.port)
    }
    same = [one for one in ports if one[2] is protocol] or sorted(ports, key=str)
    if len(same) == 1:
        return same[0][1], same[0][2]
    known = ", ".join(sorted(f"{name or 'unnamed'} ({number}/{kind.lower})" for name, number, kind in ports))
    raise QuestionError(f"{found.words}: say which port{f': {known}' if known else ', by its number'}")


def family_of(address: str) -> Family:
    """Return the family of an address."""
    return Family.IPV6 if ":" in address else Family.IPV4


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise QuestionError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _own(node: NodeFacts) -> dict[Family, str]:
    """Return the node's own address per family; where its Node does not tell, the first that is not loopback."""
    found: dict[Family, str] = {}
    for family in Family:
        known = [one for one in (node.node_ips.get(family, ""), *node.local_addresses.get(family, ())) if one]
        best = [one for one in known if not ip_address(one).is_loopback]
        if best:
            found[family] = best[0]
    return found


def _by_family(addresses: Iterable[str]) -> dict[Family, str]:
    found: dict[Family, str] = {}
    for address in filter(None, map(_address, addresses)):
        found.setdefault(family_of(address), address)
    return found


def _address(text: str) -> str | None:
    """Return the one text of an address, without its interface, by which all is compared; None if it is none."""
    return parse_address(text.partition("%")[0])
