"""Events: what happens here, told to the API server, so that `kubectl describe` shows it (events.k8s.io/v1, PROC-10).

`record` only puts an event into a queue, and never waits; `run` sends. An event is worth less than the work it tells of: the queue is
bounded, a server that does not answer is asked again a few times and then the event is dropped, and one that refuses is told of in the log
once. What became of each is counted. Without a client, as with a folder of manifests, nothing is sent: the log has it all.

An event with an `identity` is one for the whole cluster: its name is made from it, so that of all nodes that see the same broken Service
the first one tells, and the others find that it has been told. `kubectl describe` looks for events by the object's uid, which the fields
that are read here do not hold; so a Service is looked up when there is something to say about it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Protocol

import msgspec
from msgspec import Struct
from pointsman.kube.client import Query
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind, ObjectRef

log = logging.getLogger(__name__)

CONTROLLER: Final = "kube-proxy"
"""Who reports; the same as kube-proxy, because people look for that."""

WAITING: Final = 500
"""So many events wait at most."""

TRIES: Final = 5
"""So often an event is sent before it is dropped."""

PAUSE: Final = 1.0
"""Seconds after the first failure; twice as long after each further one."""

NOTE_LENGTH: Final = 1024
"""The API takes no longer note."""


class Client(Protocol):
    """What is needed of `kube.client.ApiClient`."""

    async def get(self, path: str, query: Query | None = None) -> bytes:
        """Return the body at a path; raises ApiError."""
        ...

    async def post(self, path: str, body: object) -> bytes:
        """Create an object; raises ApiError."""
        ...


class Event(Struct, frozen=True):
    """What happened to which object. `identity` is empty, or the same wherever the same is seen."""

    regarding: ObjectRef
    reason: str
    action: str
    note: str
    warning: bool = True
    identity: str = ""


class _Meta(Struct):
    uid: str = ""


class _Found(Struct):
    metadata: _Meta


class _List(Struct):
    items: list[_Found] = []


class Recorder:
    """Tells events to an API server. `clock` gives seconds since the epoch."""

    def __init__(self, client: Client | None, node: str, clock: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._client = client
        self._node = node
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Event, float]] = asyncio.Queue(WAITING)
        self._told = ""

    def record(self, event: Event) -> None:
        """Tell of an event, when there is time for it; it happens now."""
        if self._client is None:
            return
        try:
            self._queue.put_nowait((event, self._clock()))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            event, moment = await self._queue.get()
            try:
                await self._send(event, moment)
            finally:
                self._queue.task_done()

    async def sent(self) -> None:
        """Wait until everything is sent or dropped; `run` must be running."""
        await self._queue.join()

    async def _send(self, event: Event, moment: float) -> None:
        assert self._client is not None
        for attempt in range(TRIES):
            try:
                uid = await self._uid(self._client, event.regarding)
                if uid is None:
                    self.counts["outdated"] += 1
                    return
                namespace = event.regarding.namespace or "default"
                path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
                await self._client.post(path, document(event, uid, self._node, moment))
            except ApiError as error:
                if error.status == 409:
                    self.counts["known"] += 1
                    return
                if error.denied or error.absent or error.refused:
                    self.counts["refused"] += 1
                    self._tell(error)
                    return
                await asyncio.sleep(max(error.retry_after or 0.0, PAUSE * 2**attempt))
            else:
                self.counts["sent"] += 1
                return
        self.counts["dropped"] += 1

    async def _uid(self, client: Client, regarding: ObjectRef) -> str | None:
        """Return the uid by which people's tools look for events of an object; None if the object is gone."""
        if regarding.kind is not Kind.SERVICE:
            return regarding.name  # events of a Node carry its name
        path = f"/api/v1/namespaces/{regarding.namespace}/services"
        try:
            found = msgspec.json.decode(await client.get(path, {"fieldSelector": f"metadata.name={regarding.name}"}), type=_List)
        except msgspec.DecodeError:
            return ""
        return found.items[0].metadata.uid if found.items else None

    def _tell(self, error: ApiError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            log.warning("the API server takes no events; may this ServiceAccount create them?", extra={"error": self._told})


def document(event: Event, uid: str, node: str, moment: float) -> dict[str, object]:
    """Return an event as the API wants it; `moment` is in seconds since the epoch."""
    regarding = event.regarding
    same = sha256(f"{event.reason} {event.identity}".encode()).hexdigest()[:16]
    suffix = same if event.identity else f"{int(moment * 1e9):x}"
    note = event.note if len(event.note) <= NOTE_LENGTH else f"{event.note[: NOTE_LENGTH - 4]} ..."
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{regarding.name}.{suffix}", "namespace": regarding.namespace or "default"},
        "eventTime": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": f"{CONTROLLER}-{node}"[:128],
        "action": event.action,
        "reason": event.reason,
        "regarding": {
            "kind": regarding.kind.value, "namespace": regarding.namespace, "name": regarding.name, "uid": uid, "apiVersion": "v1",
        },
        "note": note,
        "type": "Warning" if event.warning else "Normal",
    }
