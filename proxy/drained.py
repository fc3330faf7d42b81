"""Endpoints that are gone and still have connections, as a document: what `pointsman ipvs drain` shows. Pure.

A mode that drains tells it by server; the names of Services come from the routing of the same moment.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct
from pointsman.routing.route import Family, Protocol, Routing

SCHEMA = "pointsman/v1"


class Drained(Struct, frozen=True):
    """One real server that drains, as its mode tells it; `pod` is for whoever knows it.

    A virtual server by mark has no protocol and address, but `node_port`s do.
    """

    family: Family
    real: str
    real_port: int
    virtual: str
    protocol: Protocol | None
    address: str
    port: int
    active: int
    inactive: int
    since: datetime
    removed_by: datetime
    pod: str = ""

    @property
    def server(self) -> str:
        """Return `ip:port`, IPv6 in brackets."""
        return f"[{self.real}]:{self.real_port}" if ":" in self.real else f"{self.real}:{self.real_port}"


class DrainedReport(Struct, frozen=True, rename="camel"):
    """One row: server, its pod and Service if they are known, connections left, since when, and when it is removed at the latest."""

    family: str
    server: str
    pod: str
    virtual_server: str
    service: str
    active_connections: int
    inactive_connections: int
    since: datetime
    removed_by: datetime


class DrainReport(Struct, frozen=True, rename="camel"):
    """The whole list, the longest draining first."""

    schema: str
    draining: tuple[DrainedReport, ...]


def report(drained: Iterable[Drained], routing: Routing | None) -> DrainReport:
    """Return the document."""
    rows = sorted(drained, key=lambda one: (one.since, one.server, one.virtual))
    names = _names(routing) if rows and routing is not None else {}
    return DrainReport(
        SCHEMA,
        tuple(
            DrainedReport(
                family=one.family.value,
                server=one.server,
                pod=one.pod,
                virtual_server=one.virtual,
                service=names.get((one.protocol, one.address, one.port)) or names.get((one.protocol, "", one.port), ""),
                active_connections=one.active,
                inactive_connections=one.inactive,
                since=one.since,
                removed_by=one.removed_by,
            )
            for one in rows
        ),
    )


def _names(routing: Routing) -> Mapping[tuple[Protocol | None, str, int], str]:
    return {
        (frontend.protocol, frontend.address, frontend.port): str(route.port_name)
        for route in routing.routes.values()
        for frontend in route.frontends()
    }
