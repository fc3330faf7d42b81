"""Flows with names, as documents: what `pointsman conntrack` lists, picks out and adds up. Pure.

A row is an entry of connection tracking as `conntrack -L` knows it, and beside each address whose it is, through which frontend of which
Service it came, and what is to be thought of it. `conntrack` reads the kernel, `conntrack_table` draws.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network

import msgspec
from msgspec import Struct
from pointsman.conntrack.classify import FlowClass, Judge, Judgement
from pointsman.conntrack.flow import Flow, Status, place
from pointsman.conntrack.names import Known, Names, unshared
from pointsman.proxy.picture import Picture
from pointsman.proxy.report import SCHEMA
from pointsman.routing.addresses import parse_address


class FlowRow(Struct, frozen=True, rename="camel"):
    """One entry. Names are empty where nobody knows them; `seen_as` is what the backend sees if the source is masqueraded.

    `began` is in seconds since the epoch where the kernel notes it; packets and bytes are both ways, None where it does not count them.
    """

    family: str
    protocol: str
    state: str
    client: str
    client_name: str
    frontend: str
    frontend_kind: str
    service: str
    backend: str
    backend_name: str
    seen_as: str
    flow_class: str
    reason: str
    timeout_seconds: int
    flags: tuple[str, ...]
    mark: int
    zone: int
    began: float
    packets: int | None
    bytes: int | None
    identity: int
    entry: str


class FlowsReport(Struct, frozen=True, rename="camel"):
    """Flows, how many there are of each class among all that were looked at, and how many entries could not be read."""

    schema: str
    flows: tuple[FlowRow, ...]
    classes: Mapping[str, int]
    unreadable: int = 0


class TopRow(Struct, frozen=True, rename="camel"):
    """Entries of one Service port or pod, new ones per second (None = only one look), and of which classes they are."""

    name: str
    entries: int
    per_second: float | None
    classes: Mapping[str, int]


class TopReport(Struct, frozen=True, rename="camel"):
    """Who has most entries."""

    schema: str
    services: tuple[TopRow, ...]
    pods: tuple[TopRow, ...]
    entries: int
    seconds: float


class Choice(Struct, frozen=True):
    """Which flows are wanted; what is empty does not matter. `since` is in seconds since the epoch."""

    services: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    classes: frozenset[FlowClass] = frozenset()
    protocol: str = ""
    source: str = ""
    destination: str = ""
    since: float = 0.0

    def wants(self, row: FlowRow) -> bool:
        """Return whether a flow is among them."""
        if self.classes and FlowClass(row.flow_class) not in self.classes:
            return False
        if self.protocol and row.protocol != self.protocol:
            return False
        if self.services and not any(_is_service(row.service, name) for name in self.services):
            return False
        if self.pods and not {row.client_name, row.backend_name} & {f"pod {name}" for name in self.pods}:
            return False
        if self.source and not _at(self.source, row.client, row.client_name):
            return False
        if self.destination and not (_at(self.destination, row.frontend, "") or _at(self.destination, row.backend, row.backend_name)):
            return False
        return not self.since or row.began >= self.since

    @property
    def empty(self) -> bool:
        """Return whether everything is wanted."""
        return self == Choice()


def names(picture: Picture) -> Names:
    """Return the names that a picture holds, collected when they are needed."""

    def collect() -> Known:
        found = unshared((address, f"pod {pod.namespace}/{pod.name}") for pod in picture.pods for address in pod.addresses)
        for node, addresses in picture.nodes.items():
            found |= {address: f"node {node}" for text in addresses if (address := parse_address(text)) is not None}
        for local in picture.node.local_addresses.values():
            found |= dict.fromkeys(local, f"node {picture.node.name}")
        ours = {address for addresses in picture.cluster_ips.values() for address in addresses}
        others = [one for one in picture.services if one.kind != "ExternalName" and not ours.intersection(one.cluster_ips)]
        return Known(found, {ip: f"Service {one.namespace}/{one.name}" for one in others for ip in one.cluster_ips if ip != "None"})

    return Names(collect)


def row(flow: Flow, judgement: Judgement, of: Callable[[str], str]) -> FlowRow:
    """Return a flow with names; `of` knows whose an address is."""
    pod = judgement.backend.pod if judgement.backend is not None and judgement.port_name is not None else ""
    owner = f"pod {judgement.port_name.namespace}/{pod}" if pod and judgement.port_name is not None else of(flow.reply.source)
    both = [one for one in (flow.sent, flow.returned) if one is not None]
    return FlowRow(
        family=flow.family.value,
        protocol=flow.protocol_name,
        state=flow.state,
        client=flow.client,
        client_name=of(flow.original.source),
        frontend=flow.frontend,
        frontend_kind=judgement.frontend.kind.value if judgement.frontend is not None else "",
        service=judgement.service,
        backend=flow.backend,
        backend_name=owner,
        seen_as=place(flow.reply.destination, flow.reply.destination_port) if flow.masqueraded else "",
        flow_class=judgement.kind.value,
        reason=judgement.reason,
        timeout_seconds=flow.timeout,
        flags=_flags(flow),
        mark=flow.mark,
        zone=flow.zone,
        began=flow.began,
        packets=sum(one.packets for one in both) if both else None,
        bytes=sum(one.bytes for one in both) if both else None,
        identity=flow.identity,
        entry=flow.line(),
    )


def report(rows: Iterable[FlowRow], classes: Mapping[FlowClass, int], unreadable: int) -> FlowsReport:
    """Return the document; flows that go together stand together."""
    ordered = sorted(rows, key=lambda one: (one.service, one.frontend, one.protocol, one.flow_class, one.client))
    return FlowsReport(SCHEMA, tuple(ordered), {kind.value: classes[kind] for kind in FlowClass if classes.get(kind)}, unreadable)


def line(what: str, one: FlowRow) -> str:
    """Return what happened to a flow as one line of JSON."""
    return msgspec.json.encode({"event": what, "flow": one}).decode()


class Totals:
    """Adds entries up by Service port and by pod, in one look."""

    def __init__(self, judge: Judge) -> None:
        self.entries = 0
        self.services: dict[str, Counter[str]] = {}
        self.pods: dict[str, Counter[str]] = {}
        self.began: dict[int, tuple[str, ...]] = {}
        self._judge = judge

    def add(self, flow: Flow) -> None:
        """Add one entry: to its Service port, to the pod that sent it, and to the one it goes to."""
        self.entries += 1
        judgement = self._judge.judge(flow)
        whose = [("", judgement.service)] if judgement.service else []
        found = row_names(flow, judgement, self._judge.names.of)
        for group, name in (*whose, *(("pod", one) for one in found)):
            (self.pods if group else self.services).setdefault(name, Counter())[judgement.kind.value] += 1
        if judgement.service or found:
            self.began[flow.identity] = (judgement.service, *found)


def row_names(flow: Flow, judgement: Judgement, of: Callable[[str], str]) -> tuple[str, ...]:
    """Return the pods at both ends of a flow."""
    port = judgement.port_name
    pod = judgement.backend.pod if judgement.backend is not None else ""
    ends = (of(flow.original.source), f"pod {port.namespace}/{pod}" if pod and port is not None else of(flow.reply.source))
    return tuple(dict.fromkeys(one.removeprefix("pod ") for one in ends if one.startswith("pod ")))


def top(before: Totals | None, after: Totals, seconds: float, limit: int) -> TopReport:
    """Return who has most entries, and how many new ones per second since the look before."""
    fresh: Counter[str] = Counter()
    if before is not None:
        for identity, owners in after.began.items():
            if identity not in before.began:
                fresh.update(one for one in owners if one)

    def rows(found: Mapping[str, Counter[str]]) -> tuple[TopRow, ...]:
        ordered = sorted(found.items(), key=lambda one: (-one[1].total(), one[0]))[:limit]
        rate = 1 / seconds if before is not None and seconds > 0 else None
        return tuple(
            TopRow(name, classes.total(), None if rate is None else fresh[name] * rate, dict(classes)) for name, classes in ordered
        )

    return TopReport(SCHEMA, rows(after.services), rows(after.pods), after.entries, seconds)


def _flags(flow: Flow) -> tuple[str, ...]:
    named = ((Status.ASSURED, "ASSURED"), (Status.OFFLOAD, "OFFLOAD"), (Status.NAT_CLASH, "CLASH"))
    unreplied = () if flow.status & Status.SEEN_REPLY else ("UNREPLIED",)
    return (*unreplied, *(text for bit, text in named if flow.status & bit))


def _is_service(service: str, name: str) -> bool:
    """Return whether a Service port is one of a Service: `shop/dns:udp` is one of `shop/dns`."""
    return service == name or service.startswith(f"{name}:")


def _at(wanted: str, where: str, owner: str) -> bool:
    """Return whether an end is at an address, a range, an address and port, or a pod or node by name."""
    address, _, port = where.rpartition(":")
    address = address.strip("[]")
    if wanted in (address, where, owner, owner.partition(" ")[2], f":{port}"):
        return True
    try:
        return ip_address(address) in ip_network(wanted, strict=False)
    except ValueError:
        return False
