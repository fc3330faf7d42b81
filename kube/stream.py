"""The API's own wrapping: watch streams cut into lines and lines into changes, pages of lists cut into objects. Pure.

A proxy between here and the API server may answer anything, also `{}` with status 200, and an empty list means that everything is gone. So
nothing is believed that does not say what it is: a page must be a list of the kind with a resource version, an event's object must be of
the kind. What does not is a `GarbledError` and counts as no answer. One broken object in an answer that is otherwise sound costs nobody
else anything: it comes as the `DecodeError` that tells what is wrong with it.

`reflector` reads changes and pages.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

import msgspec
from msgspec import Raw, Struct, field
from pointsman.kube.decode import DecodeError, decode_as
from pointsman.kube.errors import ApiError
from pointsman.kube.objects import Kind, KubeObject, ObjectRef

LONGEST_LINE: Final = 64 * 1024 * 1024
"""No object is that long; a server that sends more without an end of line sends no objects."""


class GarbledError(Exception):
    """An answer is not what an API server says."""


class Change(Enum):
    """What a line of a watch means for its object."""

    SET = "set"
    DELETED = "deleted"
    BOOKMARK = "bookmark"


class Line(Struct, frozen=True):
    """One line: the object (SET), its reference (DELETED) or why it is broken, the resource version, and whether the first list is over."""

    change: Change
    version: str
    outcome: KubeObject | DecodeError | ObjectRef | None = None
    listed: bool = False


class Page(Struct, frozen=True):
    """A part of a list, where it goes on (empty: nowhere), and the list's resource version."""

    version: str
    following: str
    outcomes: tuple[KubeObject | DecodeError, ...]


class _Annotations(Struct, frozen=True):
    initial_events_end: str | None = field(default=None, name="k8s.io/initial-events-end")


class _Meta(Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: _Annotations | None = None


class _Headed(Struct):
    kind: str = ""
    metadata: _Meta = _Meta()


class _Event(Struct):
    type: str
    object: Raw


class _ListMeta(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str | None = field(default=None, name="continue")


class _List(Struct):
    kind: str
    metadata: _ListMeta
    items: tuple[Raw, ...] | None


class _Details(Struct, rename="camel"):
    retry_after_seconds: int | None = None


class _Status(Struct):
    kind: str = ""
    code: int = 0
    message: str = ""
    details: _Details | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)
_HEADED: Final = msgspec.json.Decoder(_Headed)
_LIST: Final = msgspec.json.Decoder(_List)
_STATUS: Final = msgspec.json.Decoder(_Status)
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Lines:
    """Cuts a stream into lines, whatever the parts are that it comes in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Yield the lines that are complete now. Raises GarbledError if a line has no end."""
        *ended, rest = part.split(b"\n")
        for line in ended:
            whole = b"".join((*self._parts, line))
            self._parts.clear()
            self._size = 0
            if whole.strip():
                yield whole
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > LONGEST_LINE:
                raise GarbledError(f"a line of the watch is longer than {LONGEST_LINE >> 20} MiB")


def read_line(kind: Kind, line: bytes) -> Line:
    """Return what a line of a watch says. Raises GarbledError, or ApiError if the server tells of one."""
    try:
        event = _EVENT.decode(line)
        content = bytes(event.object)
        if event.type == "ERROR":
            raise _told(content)
        headed = _HEADED.decode(content)
    except _BROKEN as error:
        raise GarbledError(f"a line of the watch is not understood ({error})") from error
    meta = headed.metadata
    if not meta.resource_version:
        raise GarbledError("an event of the watch holds no object with a resource version")
    if event.type == "BOOKMARK":
        ended = meta.annotations is not None and meta.annotations.initial_events_end == "true"
        return Line(Change.BOOKMARK, meta.resource_version, listed=ended)
    if headed.kind != kind.value:
        raise GarbledError(f"an event of the watch holds a {headed.kind or 'nameless kind'}, not a {kind.value}")
    if event.type == "DELETED":
        return Line(Change.DELETED, meta.resource_version, ObjectRef(kind, meta.namespace, meta.name))
    if event.type not in {"ADDED", "MODIFIED"}:
        raise GarbledError(f"an event of the watch is of the unknown type {event.type!r}")
    return Line(Change.SET, meta.resource_version, decoded(kind, content))


def read_page(kind: Kind, body: bytes) -> Page:
    """Return a page of a list. Raises GarbledError."""
    try:
        page = _LIST.decode(body)
    except _BROKEN as error:
        raise GarbledError(f"the list is not understood ({error})") from error
    if page.kind != f"{kind.value}List" or not page.metadata.resource_version:
        raise GarbledError(f"the answer is a {page.kind!r}, not a {kind.value}List with a resource version")
    outcomes = tuple(decoded(kind, bytes(item)) for item in page.items or ())
    return Page(page.metadata.resource_version, page.metadata.continue_ or "", outcomes)


def decoded(kind: Kind, content: bytes) -> KubeObject | DecodeError:
    """Return an object, or why it cannot be used."""
    try:
        return decode_as(kind, content)
    except DecodeError as error:
        return error


def _told(content: bytes) -> ApiError:
    """Return the error that the server tells in the midst of a watch."""
    status = _STATUS.decode(content)
    if status.kind != "Status":
        raise GarbledError("the watch ends with an error that is no Status")
    after = status.details.retry_after_seconds if status.details else None
    return ApiError(status.code or 500, status.message or "the server ended the watch", after)
