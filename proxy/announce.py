"""What the cluster is told as events: that this node's proxy starts, what it cannot serve, and which Services are broken (PROC-10).

A broken Service is one of which something that was asked for is not routed: its refusals and unusable fields, and what the kernel does not
take, all together, are one event, told again when they change and, as the API server forgets events after an hour, every half hour. Every
node sees the same, so the event is the same for all (`kube.recorder`), and each node waits a random while to see fewer of them at once. Not
every one of very many is told of: the log and `pointsman services` have them all.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from pointsman.kube.events import Problem
from pointsman.kube.objects import Kind, ObjectRef
from pointsman.kube.recorder import Event, Recorder
from pointsman.routing.route import Notice, ServicePortName, Severity
from pointsman.routing.snapshot import ServiceKey

PACE = 10.0
"""Seconds between two rounds: what comes meanwhile is one event per Service."""

AGAIN = 1800.0
"""Seconds after which a Service that is still broken is told of again."""

MOST = 100
"""So many broken Services are told of at most."""

_SERVICE = f"{Kind.SERVICE.value} "


def starting(node: str, note: str) -> Event:
    """Return the event that this node's proxy starts."""
    return Event(ObjectRef(Kind.NODE, "", node), "Starting", "StartKubeProxy", note, warning=False)


def unserved(node: str, reason: str, note: str) -> Event:
    """Return the event that a server of this node's proxy could not be started."""
    return Event(ObjectRef(Kind.NODE, "", node), reason, "StartKubeProxy", note)


def unchecked(node: str, service: ServiceKey, note: str) -> Event:
    """Return the event that a Service's health check cannot be served on this node (HLT-13)."""
    regarding = ObjectRef(Kind.SERVICE, service.namespace, service.name)
    return Event(regarding, "FailedToStartServiceHealthcheck", "Listen", f"node {node}: {note}")


def broken(notices: Iterable[Notice], problems: Iterable[Problem]) -> Mapping[ObjectRef, str]:
    """Return what is wrong with each broken Service, in a stable order."""
    found: dict[str, list[str]] = {}
    for notice in notices:
        if notice.severity is Severity.REFUSED and notice.subject.startswith(_SERVICE):
            found.setdefault(notice.subject, []).append(f"{notice.field}: {notice.text}")
    for problem in problems:
        if problem.subject.startswith(_SERVICE):
            found.setdefault(problem.subject, []).append(f"{problem.field}: {problem.text}" if problem.field else problem.text)
    services = {}
    for subject in sorted(found):
        namespace, slash, name = subject.removeprefix(_SERVICE).partition("/")
        if slash and namespace and name:
            services[ObjectRef(Kind.SERVICE, namespace, name)] = "; ".join(sorted(set(found[subject])))
    return services


def kernel_notices(refused: Mapping[ServicePortName, str]) -> Iterator[Notice]:
    """Yield a notice for each Service port that the kernel does not take."""
    for name, text in refused.items():
        yield Notice(f"{_SERVICE}{name.namespace}/{name.name}", f"port {name.port or name.protocol.value}", text)


class Announcer:
    """Tells of broken Services. `clock` is monotonic, `dice` gives numbers from 0 to 1; both in the hands of tests."""

    def __init__(
        self, recorder: Recorder, clock: Callable[[], float] = time.monotonic, dice: Callable[[], float] = random.random
    ) -> None:
        self.recorder = recorder
        self._clock = clock
        self._dice = dice
        self._notices: tuple[Notice, ...] = ()
        self._problems: tuple[Problem, ...] = ()
        self._refused: dict[ServicePortName, str] = {}
        self._told: dict[ObjectRef, tuple[str, float]] = {}
        self._wake = asyncio.Event()

    def judge(self, notices: tuple[Notice, ...], problems: tuple[Problem, ...]) -> None:
        """Take the present lists."""
        if notices != self._notices or problems != self._problems:
            self._notices, self._problems = notices, problems
            self._wake.set()

    def unprogrammed(self, refused: Mapping[ServicePortName, str]) -> None:
        """Take the Service ports that this node's kernel does not take, with the reasons."""
        if refused != self._refused:
            self._refused = dict(refused)
            self._wake.set()

    async def run(self) -> None:
        """Tell of what is broken, until cancelled."""
        while True:
            await self._changed()
            await asyncio.sleep(PACE * self._dice())
            self._wake.clear()
            self._tell()
            await asyncio.sleep(PACE)

    async def _changed(self) -> None:
        """Wait until something has changed, or should be told again."""
        oldest = min((at for _, at in self._told.values()), default=None)
        try:
            async with asyncio.timeout(None if oldest is None else max(0.0, oldest + AGAIN - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _tell(self) -> None:
        now = self._clock()
        found = dict(list(broken((*self._notices, *kernel_notices(self._refused)), self._problems).items())[:MOST])
        for service in [service for service in self._told if service not in found]:
            del self._told[service]
        for service, note in found.items():
            told, at = self._told.get(service, ("", now - AGAIN))
            if note != told or now - at >= AGAIN:
                self._told[service] = (note, now)
                self.recorder.record(Event(service, "ServiceNotRouted", "Route", note, identity=note))
