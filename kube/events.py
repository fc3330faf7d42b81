"""What a source of objects says: a batch of events, applied as one change.

Every source (the manifest folder, the API reflector) speaks this language, and one store (`routing.snapshot`) listens. A `Replace` is a
complete list: what it does not name is gone, and its kind is in sync from then on. Nothing may be programmed before Services and
EndpointSlices are in sync (IN-07). Problems are state, not events: a batch carries the whole present list when it has changed, so a mended
file takes its complaint back.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from pointsman.kube.objects import Kind, KubeObject, ObjectRef


class Upsert(Struct, frozen=True):
    """An object was added or changed."""

    value: KubeObject


class Remove(Struct, frozen=True):
    """An object is gone."""

    ref: ObjectRef


class Replace(Struct, frozen=True):
    """All objects of one kind, as of now."""

    kind: Kind
    values: tuple[KubeObject, ...]


Event = Upsert | Remove | Replace


class Problem(Struct, frozen=True, order=True):
    """An input that could not be used: where (file:line, or empty), which object (`Service shop/web`, or empty), which field, and why."""

    where: str
    subject: str
    field: str
    text: str

    def __str__(self) -> str:
        """Return `file:line: kind namespace/name: field: text` without the parts that are unknown."""
        return ": ".join(part for part in (self.where, self.subject, self.field, self.text) if part)


class Batch(Struct, frozen=True):
    """Events that belong together; `problems` is the source's whole present list, or None if it has not changed.

    `blind` is true while a part of the input has never been readable: objects may be missing that an earlier process knew, so what that
    process left in the kernel may not be taken for refuse.
    """

    events: tuple[Event, ...] = ()
    problems: tuple[Problem, ...] | None = None
    blind: bool = False


Sink = Callable[[Batch], None]


class Source(Protocol):
    """Anything that delivers batches until it is cancelled.

    `run` delivers first one or more batches that hold a `Replace` for every kind it serves, then changes as they come. It never ends by
    itself; an error it cannot live with is raised.
    """

    async def run(self, sink: Sink) -> None:
        """Deliver batches to `sink` (called on the event loop, does not block) until cancelled."""
        ...
