"""healthCheckNodePort: the servers by which load balancers learn whether this node has endpoints of a Service (HLT-10 to HLT-13).

One HTTP server per Service with traffic policy Local, on the addresses that accept node ports; whatever the path and method, it answers
how many ready endpoints are here. Ports are opened, moved and closed when the kernel follows the change, not before: a load balancer must
not send what would be dropped. Only bad news is told at once: where endpoints leave, the count falls before the rules do, so that load
balancers look elsewhere early (pain 53). A port that cannot be had is told once per reason, with an event at the Service, and tried again.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from json import dumps

from msgspec import Struct
from pointsman.proxy.servers import JSON, Answer, Listening, Question, listen
from pointsman.routing.node import NodeFacts
from pointsman.routing.route import Family, HealthCheck
from pointsman.routing.snapshot import ServiceKey

log = logging.getLogger(__name__)

WEIGHT_HEADER = "X-Load-Balancing-Endpoint-Weight"
_BODY = """{
\t"service": {
\t\t"namespace": %s,
\t\t"name": %s
\t},
\t"localEndpoints": %d,
\t"serviceProxyHealthy": %s
}"""

Refused = Callable[[ServiceKey, str], None]
"""Is told of a Service whose port cannot be had, and why; once per reason."""


def answer(key: ServiceKey, count: int, *, well: bool) -> Answer:
    """Return what a load balancer is told (HLT-11)."""
    body = _BODY % (dumps(key.namespace), dumps(key.name), count, "true" if well else "false")
    return Answer(200 if count > 0 and well else 503, body.encode(), {**JSON, WEIGHT_HEADER: str(count)})


def places(node: NodeFacts, families: Iterable[Family]) -> tuple[str, ...]:
    """Return the addresses to listen at; the empty one stands for all of both families (HLT-10)."""
    accepted = {family: node.node_port_addresses(family) for family in families}
    if all(one.match_all for one in accepted.values()):
        return ("",)
    every = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}  # noqa: S104 - asked for
    found = ((every[family],) if one.match_all else one.addresses for family, one in accepted.items())
    return tuple(address for addresses in found for address in addresses)


class _Port(Struct, frozen=True):
    """A place and a port."""

    place: str
    number: int

    def listen(self) -> socket.socket:
        """Return a listening socket; raises OSError."""
        return listen(self.place or "::", self.number, both=not self.place)


class HealthPorts:
    """The servers of all Services. Made and closed on the event loop that answers."""

    def __init__(self, well: Callable[[], bool], refused: Refused) -> None:
        """`well` says whether all families are healthy."""
        self._well = well
        self._refused = refused
        self._offers: list[tuple[int, Mapping[ServiceKey, HealthCheck]]] = [(0, {})]  # the applied one, and what came after
        self._open: dict[ServiceKey, dict[_Port, Listening]] = {}
        self._failing: dict[tuple[ServiceKey, _Port], str] = {}

    def offer(self, revision: int, checks: Iterable[HealthCheck]) -> None:
        """Say what is wanted from a revision on."""
        wanted = {ServiceKey(check.namespace, check.name): check for check in checks}
        if wanted != self._offers[-1][1]:
            self._offers.append((revision, wanted))

    def counts(self) -> Mapping[str, int]:
        """Return how many ports are open, and how many cannot be had."""
        return Counter({"open": sum(len(ports) for ports in self._open.values()), "failed": len(self._failing)})

    @property
    def failing(self) -> bool:
        """Return whether some port cannot be had."""
        return bool(self._failing)

    def respond(self, key: ServiceKey) -> Answer:
        """Return what is told about a Service now: the fewest endpoints of those that were and those that will be."""
        checks = [wanted.get(key) for _, wanted in self._offers]
        return answer(key, min((one.local_endpoints if one else 0 for one in checks), default=0), well=self._well())

    async def update(self, revision: int, found: Iterable[str]) -> None:
        """Open, move and close ports as is wanted at the revision that the kernel follows, at the given places."""
        while len(self._offers) > 1 and self._offers[1][0] <= revision:
            del self._offers[0]
        places, wanted = tuple(found), self._offers[0][1]
        targets = {key: [_Port(place, check.port) for place in places] for key, check in wanted.items()}
        for key in list(self._open):
            for port in [port for port in self._open[key] if port not in targets.get(key, ())]:
                await self._open[key].pop(port).stop()
            if not self._open[key]:
                del self._open[key]
        self._failing = {(key, port): text for (key, port), text in self._failing.items() if port in targets.get(key, ())}
        for key, ports in targets.items():
            for port in ports:
                if port not in self._open.get(key, ()):
                    await self._start(key, port)

    async def close(self) -> None:
        """Close all ports."""
        for ports in self._open.values():
            for one in ports.values():
                await one.stop()
        self._open.clear()

    async def _start(self, key: ServiceKey, port: _Port) -> None:
        try:
            listening = port.listen()
        except OSError as error:
            where = f"{port.place or 'all addresses'} port {port.number}"
            text = f"the health check of Service {key} cannot be served at {where}: {error.strerror or error}"
            if self._failing.get((key, port)) != text:
                self._failing[key, port] = text
                log.warning("a health check node port cannot be opened", extra={"service": str(key), "error": text})
                self._refused(key, text)
            return
        if self._failing.pop((key, port), ""):
            log.info("a health check node port could be opened", extra={"service": str(key), "port": port.number})

        def respond(_: Question) -> Answer:
            return self.respond(key)

        server = Listening(listening, respond)
        await server.start()
        self._open.setdefault(key, {})[port] = server
