"""What `pointsman ipvs` shows, as documents: IPVS's servers and connections with the names of Services and pods beside the addresses.

The kernel knows addresses, a running agent knows names; both are read at one moment and joined here. Without an agent the names are empty
and everything else is shown all the same: who looks at a node in trouble may find no agent there. Members are only ever added within one
schema version. `ipvs` asks and `ipvs_table` draws.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from pointsman.ipvs.connections import Connection, Table
from pointsman.ipvs.ipvsadm import Listed
from pointsman.ipvs.names import mark_of
from pointsman.ipvs.objects import Counters, ServerFlag, VirtualKey
from pointsman.ipvs.schedulers import flag_names
from pointsman.proxy.report import SCHEMA, ServicePortReport
from pointsman.routing.route import Protocol, ServicePortName


class Names(Struct, frozen=True):
    """Service ports by address and port, by node port and by mark; pods by endpoint."""

    addresses: Mapping[tuple[str, str, int], str] = {}
    node_ports: Mapping[tuple[str, str, int], str] = {}
    pods: Mapping[tuple[str, int], str] = {}
    marks: Mapping[tuple[str, int], str] = {}

    def service(self, key: VirtualKey) -> str:
        """Return the Service port that a virtual server stands for, empty if nobody knows."""
        if key.protocol is None:
            return self.marks.get((key.family.value, key.mark), "")
        return self.of_address(key.protocol.value, key.address, key.port)

    def of_address(self, protocol: str, address: str, port: int) -> str:
        """Return the Service port that clients reach at an address; a node port is reached at any address of its family."""
        family = "IPv6" if ":" in address else "IPv4"
        return self.addresses.get((protocol, address, port)) or self.node_ports.get((protocol, family, port), "")

    def pod(self, address: str, port: int) -> str:
        """Return who a real server is: the pod, or the node where the endpoint is none; empty if nobody knows."""
        return self.pods.get((address, port), "")


def names(ports: Iterable[ServicePortReport]) -> Names:
    """Return the names that an agent's report gives."""
    addresses: dict[tuple[str, str, int], str] = {}
    node_ports: dict[tuple[str, str, int], str] = {}
    pods: dict[tuple[str, int], str] = {}
    marks: dict[tuple[str, int], str] = {}
    for one in ports:
        port_name = ServicePortName(one.namespace, one.service, one.port_name, Protocol(one.protocol))
        name = str(port_name)
        node_port = next((frontend.port for frontend in one.frontends if not frontend.address), 0)
        marks[one.family, mark_of(port_name, node_port)] = name
        for frontend in one.frontends:
            if frontend.address:
                addresses[one.protocol, frontend.address, frontend.port] = name
            else:
                node_ports[one.protocol, one.family, frontend.port] = name
        for backend in one.backends:
            pods[backend.address, backend.port] = backend.pod or backend.node
    return Names(addresses, node_ports, pods, marks)


class RealReport(Struct, frozen=True, rename="camel"):
    """A real server: where it is, who that is, what it may take, what it has now, and what passed."""

    address: str
    port: int
    pod: str
    forwarding: str
    weight: int
    active: int
    inactive: int
    persistent: int
    total: Counters
    rate: Counters


class VirtualReport(Struct, frozen=True, rename="camel"):
    """A virtual server: `service` is `namespace/name:port`, empty if unknown; `mark` is 0 unless packets are known by their mark."""

    service: str
    family: str
    protocol: str
    address: str
    port: int
    mark: int
    scheduler: str
    scheduler_flags: tuple[str, ...]
    persistence_seconds: int
    one_packet: bool
    total: Counters
    rate: Counters
    reals: tuple[RealReport, ...]


class ServersReport(Struct, frozen=True, rename="camel"):
    """The document of `list` and `stats`: rates are per second; `named` says whether an agent gave the names."""

    named: bool
    virtual_servers: tuple[VirtualReport, ...]
    schema: str = SCHEMA


class ConnectionReport(Struct, frozen=True, rename="camel"):
    """A connection, or what persistence remembers (`template`)."""

    protocol: str
    client: str
    client_port: int
    virtual: str
    virtual_port: int
    service: str
    real: str
    real_port: int
    pod: str
    state: str
    seconds_left: int
    template: bool


class ConnectionsReport(Struct, frozen=True, rename="camel"):
    """The document of `connections`; `unreadable` lines of the kernel's table are missing in it."""

    named: bool
    unreadable: int
    connections: tuple[ConnectionReport, ...]
    schema: str = SCHEMA


def servers(listed: Iterable[Listed], known: Names | None, wanted: str = "") -> ServersReport:
    """Return the document, by Service name and then address; of one Service (`namespace/name`) if wanted."""
    rows = [_virtual(one, known or Names()) for one in listed]
    rows = sorted((row for row in rows if matches(row.service, wanted)), key=_order)
    return ServersReport(known is not None, tuple(rows))


def connections(table: Table, known: Names | None, wanted: str = "") -> ConnectionsReport:
    """Return the document, in the kernel's order; of one Service if wanted."""
    rows = (_connection(one, known or Names()) for one in table.connections)
    return ConnectionsReport(known is not None, table.unreadable, tuple(row for row in rows if matches(row.service, wanted)))


def matches(service: str, wanted: str) -> bool:
    """Return whether a Service port belongs to the wanted Service; everything does if none is."""
    return not wanted or service.partition(":")[0] == wanted


def _order(row: VirtualReport) -> tuple[bool, str, str, str, int, int]:
    return not row.service, row.service, row.family, row.address, row.port, row.mark


def _virtual(one: Listed, known: Names) -> VirtualReport:
    key, server = one.virtual.key, one.virtual.server
    return VirtualReport(
        service=known.service(key),
        family=key.family.value,
        protocol=key.protocol.value if key.protocol else "",
        address=key.address,
        port=key.port,
        mark=key.mark,
        scheduler=server.scheduler,
        scheduler_flags=flag_names(server.scheduler, server.flags),
        persistence_seconds=server.persistence_seconds if server.flags & ServerFlag.PERSISTENT else 0,
        one_packet=bool(server.flags & ServerFlag.ONE_PACKET),
        total=one.virtual.statistics.total,
        rate=one.virtual.statistics.rate,
        reals=tuple(
            RealReport(
                address=real.key.address,
                port=real.key.port,
                pod=known.pod(real.key.address, real.key.port),
                forwarding=real.server.forwarding.name.lower(),
                weight=real.server.weight,
                active=real.load.active,
                inactive=real.load.inactive,
                persistent=real.load.persistent,
                total=real.statistics.total,
                rate=real.statistics.rate,
            )
            for real in one.reals
        ),
    )


def _connection(one: Connection, known: Names) -> ConnectionReport:
    return ConnectionReport(
        protocol=one.protocol,
        client=one.client,
        client_port=one.client_port,
        virtual=one.virtual,
        virtual_port=one.virtual_port,
        service=known.of_address(one.protocol, one.virtual, one.virtual_port),
        real=one.real,
        real_port=one.real_port,
        pod=known.pod(one.real, one.real_port),
        state=one.state,
        seconds_left=one.seconds_left,
        template=one.template,
    )
