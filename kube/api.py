"""The Kubernetes API as a source of objects: a reflector per kind, and one batch for the start.

`ApiSource` does what reflectors say with an `ApiClient`, in one task each. The first batch holds everything: it waits for Services and
EndpointSlices however long they take, and some seconds for the rest (the own Node, ServiceCIDRs): what is routed without them would be
written to the kernel and be taken back a moment later, and a restart is to write nothing. From then on events are delivered as they come.
One that follows another (`changeover`) waits for the rest, too: what the other one knew it must not lack.

The API server may be away for days: what was read last stays in force (IN-08). When one request gets through again, all others that wait
for an answer are sent at once. What goes wrong is a state: a failure that lasts for some seconds, and each object that cannot be used, is a
problem in the list that goes with a batch, worded once however often it is tried again. An optional kind that the server does not have or
does not show is a line in the log.

`proxy.source` makes it; events go to `routing.snapshot` as those of a manifest folder do.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Final, Protocol

from pointsman.kube.client import Query, Stream
from pointsman.kube.decode import DecodeError
from pointsman.kube.errors import ApiError
from pointsman.kube.events import Batch, Event, Problem, Replace, Sink
from pointsman.kube.objects import Kind, ObjectRef, ref_of
from pointsman.kube.reflector import Fetch, Open, Reflector, Wait
from pointsman.kube.resource import OTHERS, ROUTING, Selectors, resources
from pointsman.kube.stream import GarbledError, read_page

log = logging.getLogger(__name__)

NEEDED: Final = frozenset({Kind.SERVICE, Kind.ENDPOINT_SLICE})
"""Kinds without which nothing may be programmed (IN-07)."""

REST_SECONDS: Final = 10.0
"""So long the start waits for the other kinds once these are there."""

LASTING_SECONDS: Final = 2.0
"""A failure that is over sooner is not told."""

TOLD: Final = 100
"""Objects of one kind that are told of at most, if they cannot be used."""


class Requests(Protocol):
    """What is used of an ApiClient."""

    @property
    def host(self) -> str:
        """Return the server's URL."""
        ...

    async def get(self, path: str, query: Query | None = None) -> bytes:
        """Return a body. Raises ApiError."""
        ...

    def stream(self, path: str, query: Query | None = None) -> AbstractAsyncContextManager[Stream]:
        """Open a stream. Raises ApiError."""
        ...


class ApiSource:
    """Implements `kube.events.Source` for the Kubernetes API, for one node.

    `after` are the kinds that are known already, if it follows another source: none of these is done without.
    """

    def __init__(
        self,
        client: Requests,
        node_name: str,
        *,
        selectors: Selectors = ROUTING,
        pods: bool = False,
        all_pods: bool = False,
        all_nodes: bool = False,
        imports: bool = False,
        after: Set[Kind] | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._dice = dice
        self._after = after
        wanted = resources(node_name, selectors, pods=pods, all_pods=all_pods, all_nodes=all_nodes, imports=imports)
        self._reflectors = tuple(Reflector(resource) for resource in wanted)
        self._kept: list[Event] | None = []
        self._rest: asyncio.TimerHandle | None = None
        self._sink: Sink | None = None
        self._reached = asyncio.Event()
        self._news = asyncio.Event()
        self._troubles: dict[Kind, ApiError] = {}
        self._problems: tuple[Problem, ...] = ()
        self._without: set[Kind] = set()

    async def run(self, sink: Sink) -> None:
        """Deliver everything, then changes, until cancelled."""
        self._sink = sink
        log.info("reading from the API server", extra={"server": self._client.host})
        try:
            async with asyncio.TaskGroup() as group:
                for reflector in self._reflectors:
                    group.create_task(self._follow(reflector))
                group.create_task(self._report())
        finally:
            if self._rest is not None:
                self._rest.cancel()

    async def elsewhere(self) -> frozenset[ObjectRef]:
        """Ask which Services another proxy serves, by a state no older than what was delivered. Raises ApiError.

        A watch shows a Service that was given to another proxy as it shows one that was deleted; so who must know asks (IN-01).
        """
        services = next(one for one in self._reflectors if one.resource.kind is Kind.SERVICE)
        least = {"resourceVersion": services.version, "resourceVersionMatch": "NotOlderThan"} if services.version else {}
        body = await self._client.get(services.resource.paths[0], {"labelSelector": OTHERS, **least})
        try:
            page = read_page(Kind.SERVICE, body)
        except GarbledError as error:
            raise ApiError(0, str(error)) from error
        refs = (one.ref if isinstance(one, DecodeError) else ref_of(one) for one in page.outcomes)
        return frozenset(one for one in refs if one is not None)

    async def _follow(self, reflector: Reflector) -> None:
        """Do what a reflector says, for ever."""
        while True:
            step = reflector.step(self._now(), self._dice())
            try:
                match step:
                    case Wait():
                        await self._pause(step.seconds)
                    case Fetch():
                        body = await self._client.get(step.path, step.query)
                        self._deliver(reflector.page(body, self._now(), self._dice()))
                    case Open():
                        await self._listen(reflector, step)
            except ApiError as error:
                log.debug("API request failed", extra={"kind": reflector.resource.kind.value, "error": str(error)})
                reflector.failed(error, self._now(), self._dice())
            self._note(reflector)

    async def _listen(self, reflector: Reflector, step: Open) -> None:
        """Read a stream to its end. Raises ApiError."""
        async with self._client.stream(step.path, step.query) as stream:
            reflector.opened(self._now())
            self._note(reflector)
            while reflector.streaming:
                part = await stream.read(reflector.patience(self._now()))
                if not part:
                    self._deliver(reflector.ended(self._now(), self._dice()))
                    return
                self._deliver(reflector.part(part, self._now(), self._dice()))
                self._note(reflector)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until some request gets through."""
        try:
            async with asyncio.timeout(seconds):
                await self._reached.wait()
        except TimeoutError:
            return

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _deliver(self, events: list[Event]) -> None:
        """Pass events on, or keep them for the first batch."""
        if not events:
            return
        if self._kept is None:
            self._tell(Batch(tuple(events)))
            return
        self._kept += events

    def _begin(self) -> None:
        """Deliver the first batch."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._tell(Batch(tuple(kept)))

    def _tell(self, batch: Batch) -> None:
        if self._sink is not None:
            self._sink(batch)

    def _note(self, reflector: Reflector) -> None:
        """Take note of what has become better or worse with a reflector."""
        kind, trouble, before = reflector.resource.kind, reflector.trouble, self._troubles.get(reflector.resource.kind)
        if trouble is None:
            if self._troubles.pop(kind, None) is not None:
                self._hurry()
        elif before is None or before.status != trouble.status:
            self._troubles[kind] = trouble
            if reflector.given_up and kind not in self._without:
                self._without.add(kind)
                resource = reflector.resource
                told = {"kind": kind.value, "reason": str(trouble), "lost": resource.lost, "right": resource.right}
                log.warning("this API server does not show a kind; going on without it", extra=told)
            if reflector.given_up and trouble.absent and not reflector.listed:  # there are none then; of a denied kind nobody knows
                self._deliver([Replace(kind, ())])
        if trouble is not None or reflector.broken or self._problems:
            self._news.set()
        if self._kept is not None:
            self._consider_beginning()

    def _consider_beginning(self) -> None:
        """Begin if everything is there, or is not to be had; begin a little later if only the rest is missing."""
        if all(self._settled(one) for one in self._reflectors):
            self._begin()
        elif self._after is None and self._rest is None and all(one.listed for one in self._reflectors if one.resource.kind in NEEDED):
            self._rest = asyncio.get_running_loop().call_later(REST_SECONDS, self._begin)

    def _settled(self, reflector: Reflector) -> bool:
        """Return whether a kind is known, or is done without."""
        trouble, known = reflector.trouble, self._after or ()
        absent = trouble is not None and trouble.absent
        return reflector.listed or (reflector.given_up and (absent or reflector.resource.kind not in known))

    def _hurry(self) -> None:
        """Have everybody try again who waits for an answer: the server is there."""
        for reflector in self._reflectors:
            reflector.hurry(self._now())
        waiting, self._reached = self._reached, asyncio.Event()
        waiting.set()

    async def _report(self) -> None:
        """Deliver the list of problems when it has changed, and not for what is over at once."""
        while True:
            await self._news.wait()
            await asyncio.sleep(LASTING_SECONDS)
            self._news.clear()
            problems = (*self._failures(), *self._broken())
            if problems != self._problems:
                self._problems = problems
                self._tell(Batch(problems=problems))

    def _failures(self) -> Iterator[Problem]:
        """Yield a problem per reason why kinds cannot be read; no answer is one reason, whatever the words."""
        reasons: dict[int | str, list[Kind]] = {}
        for reflector in self._reflectors:
            trouble = self._troubles.get(reflector.resource.kind)
            if trouble is not None and not reflector.given_up:
                reasons.setdefault(str(trouble) if trouble.status else 0, []).append(reflector.resource.kind)
        for reason, kinds in reasons.items():
            text = str(self._troubles[kinds[0]]) if reason == 0 else reason
            known = all(one.listed for one in self._reflectors if one.resource.kind in kinds)
            state = "what was read last stays in force" if known else "it is tried again"
            yield Problem(self._client.host, ", ".join(kind.value for kind in kinds), "", f"{text}; {state}")

    def _broken(self) -> Iterator[Problem]:
        for reflector in self._reflectors:
            for error in islice(reflector.broken.values(), TOLD):
                yield Problem(self._client.host, error.subject, error.field, f"{error.reason}; the object counts as absent")
            if (more := len(reflector.broken) - TOLD) > 0:
                text = f"{more} more objects cannot be used and count as absent"
                yield Problem(self._client.host, reflector.resource.kind.value, "", text)
