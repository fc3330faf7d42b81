"""Follows one resource: list, watch, resume, list again. Pure: it says what to send next and takes what came back.

    step(now, dice) → Fetch a page | Open a stream | Wait          page / part / ended / failed ← what became of it

A list is streamed where the server offers that (`sendInitialEvents`), else taken whole from its cache or page by page (`resource.Way`).
It is delivered as one `Replace` when it is complete, so what vanished while nobody watched is gone then, and half a list changes nothing.
After that, events go on from the list's resource version; a stream that ends or breaks is resumed at the last version seen. The list is
asked for again, and may not be older than what is known, if that version is gone (410). It may be older if versions go backwards (the
cluster's store was restored from a backup), or if resuming fails time and again though the server answers.

A server that struggles is left alone: waits double up to half a minute, drawn at random so that nodes do not come together, and never
shorter than it asks (`Retry-After`). A server that is silent is noticed: who sends bookmarks does so every minute, so two and a half
minutes without a byte end the stream; others get until a little after the end that was agreed. A resource that is missing or denied and
optional is looked for again now and then.

An object that cannot be decoded is treated as absent, and listed in `broken` until it is mended or deleted. `api` runs reflectors; times
are monotonic seconds, `dice` is in [0, 1).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from pointsman.kube.decode import DecodeError
from pointsman.kube.errors import ApiError
from pointsman.kube.events import Event, Remove, Replace, Upsert
from pointsman.kube.listing import Listed
from pointsman.kube.objects import KubeObject, ObjectRef, ref_of
from pointsman.kube.resource import Resource, Way
from pointsman.kube.stream import Change, GarbledError, Line, Lines, read_line, read_page

PAGE: Final = 500
"""Objects per page of a list. It grows while lists take longer than the server keeps their continuation."""

LARGEST_PAGE: Final = 8 * PAGE
"""Objects per page at most."""

SHORTEST: Final = 0.5
"""Longest wait after the first failure, seconds; it doubles with each further one."""

LONGEST: Final = 30.0
"""Longest wait between two attempts, seconds, unless the server asks for more."""

LONGEST_ASKED: Final = 120.0
"""So long at most is waited because the server asks for it, seconds."""

WATCH: Final = 300.0
"""Shortest time for which a watch is asked, seconds; the longest is twice that."""

SILENCE: Final = 150.0
"""So long a server that sends bookmarks may say nothing, seconds."""

GRACE: Final = 30.0
"""So long after its agreed end a watch may go on, seconds."""

RESUMED: Final = 5
"""So often a watch is resumed in vain, though the server answers, before the list is asked for again."""

BRIEF: Final = 5.0
"""A watch that ends sooner was no success, seconds."""

LISTING: Final = 60.0
"""So long nothing may come while a list is streamed, seconds."""

UNABLE: Final = 500
"""The status by which a server tells within a stream that its store is too old to stream lists."""

BEHIND: Final = 504
"""The status by which a server tells that its cache is not as new as it is asked for."""

BROKE: Final = 3
"""So often the stream of a list may break before it is fetched page by page."""


class Fetch(Struct, frozen=True):
    """Fetch this whole body and hand it to `page`."""

    path: str
    query: dict[str, str]


class Open(Struct, frozen=True):
    """Open this stream, hand each part to `part`, its end to `ended`."""

    path: str
    query: dict[str, str]


class Wait(Struct, frozen=True):
    """Do nothing for so many seconds."""

    seconds: float


Step = Fetch | Open | Wait

Broken = dict[ObjectRef | str, DecodeError]
"""Objects that cannot be used; by text where not even their names can be read."""


class _Listing(Struct):
    """A list that is on its way: which form of request, how often its stream broke, where it goes on, and what came so far."""

    form: int = 0
    broke: int = 0
    following: str = ""
    values: dict[ObjectRef, KubeObject] = {}
    broken: Broken = {}

    def put(self, outcome: KubeObject | DecodeError) -> None:
        """Take an object."""
        if isinstance(outcome, DecodeError):
            self.broken[_key(outcome)] = outcome
        else:
            self.values[ref_of(outcome)] = outcome

    def drop(self, ref: ObjectRef) -> None:
        """Take note that an object has gone."""
        self.values.pop(ref, None)
        self.broken.pop(ref, None)


class _Troubles(Struct):
    """Failures since the last success: how many, how many of them answers to a resumed watch, until when to wait, and the last."""

    count: int = 0
    resumed: int = 0
    until: float = 0.0
    last: ApiError | None = None


class _Connection(Struct):
    """The stream that is open: what cuts it, since when, and until when it was agreed."""

    reader: Lines | Listed
    since: float
    agreed: float


class Reflector:
    """Follows one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.broken: Broken = {}
        self.listed = False
        self._listing: _Listing | None = _Listing()
        self._version = ""
        self._selectors: Mapping[str, str] = {}
        self._path = 0
        self._page = PAGE
        self._bookmarks = False
        self._agreed = WATCH
        self._troubles = _Troubles()
        self._connection: _Connection | None = None

    @property
    def trouble(self) -> ApiError | None:
        """Return why it does not go on at present, None if it does."""
        return self._troubles.last

    @property
    def given_up(self) -> bool:
        """Return whether the resource is optional, and missing or denied."""
        last = self._troubles.last
        return self.resource.optional and last is not None and (last.absent or last.denied)

    @property
    def version(self) -> str:
        """Return the resource version up to which everything is known; empty while that is none."""
        return self._version

    @property
    def streaming(self) -> bool:
        """Return whether the open stream is still of use."""
        return self._connection is not None

    def step(self, now: float, dice: float) -> Step:
        """Return what to do next."""
        if self._troubles.until > now:
            return Wait(self._troubles.until - now)
        path, listing = self.resource.paths[self._path], self._listing
        self._agreed = WATCH * (1 + dice)
        watch = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(int(self._agreed))}
        if listing is None:
            return Open(path, {**self._selectors, **watch, "resourceVersion": self._version})
        form = self.resource.forms[listing.form]
        match form.way:
            case Way.STREAM:
                return Open(path, {**form.selectors, **watch, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"})
            case Way.WHOLE:
                least = {"resourceVersion": self._version, "resourceVersionMatch": "NotOlderThan"}
                return Open(path, {**form.selectors, **(least if self._version else {"resourceVersion": "0"})})
            case Way.PAGES:
                following = {"continue": listing.following} if listing.following else {}
                return Fetch(path, {**form.selectors, "limit": str(self._page), **following})

    def page(self, body: bytes, now: float, dice: float) -> list[Event]:
        """Take a page of a list."""
        listing = self._listing
        if listing is None:
            return []
        try:
            page = read_page(self.resource.kind, body)
        except GarbledError as error:
            self.failed(ApiError(0, str(error)), now, dice)
            return []
        self._put(page.outcomes)
        listing.following = page.following
        self._troubles = _Troubles()
        return [] if page.following else [self._complete(listing, page.version)]

    def opened(self, now: float) -> None:
        """Take note that the server has agreed to stream."""
        listing = self._listing
        whole = listing is not None and self.resource.forms[listing.form].way is Way.WHOLE
        self._connection = _Connection(Listed(self.resource.kind) if whole else Lines(), now, now + self._agreed)
        self._troubles.last = None
        if listing is not None:
            self._listing = _Listing(listing.form, listing.broke)

    def patience(self, now: float) -> float:
        """Return for how many seconds the next part may be waited for."""
        if self._connection is None or self._listing is not None:
            return LISTING
        left = max(0.0, self._connection.agreed - now) + GRACE
        return min(left, SILENCE) if self._bookmarks else left

    def part(self, part: bytes, now: float, dice: float) -> list[Event]:
        """Take a part of a stream and return what it says; after it, the stream is to be closed unless `streaming`."""
        events: list[Event] = []
        if self._connection is not None:
            try:
                match self._connection.reader:
                    case Listed() as reader:
                        self._put(reader.feed(part))
                    case Lines() as reader:
                        for text in reader.feed(part):
                            events += self._take(read_line(self.resource.kind, text))
            except GarbledError as error:
                self.failed(ApiError(0, str(error)), now, dice)
            except ApiError as error:
                self.failed(error, now, dice)
        return events

    def ended(self, now: float, dice: float) -> list[Event]:
        """Take note that the stream has ended in order, and return what it said as a whole."""
        if self._connection is None:
            return []
        if isinstance(self._connection.reader, Listed):
            return self._whole(self._connection.reader, now, dice)
        if self._listing is not None:
            self.failed(ApiError(0, "the server ended the list before it was complete"), now, dice)
        elif now - self._connection.since < BRIEF:
            self.failed(ApiError(0, "the server ends watches as soon as they have begun"), now, dice)
        else:
            self._connection, self._troubles = None, _Troubles()
        return []

    def _whole(self, reader: Listed, now: float, dice: float) -> list[Event]:
        """Take the end of a list that came whole."""
        try:
            page = reader.finish()
        except GarbledError as error:
            self.failed(ApiError(0, str(error)), now, dice)
            return []
        self._connection = None
        self._put(page.outcomes)
        return [self._complete(self._listing or _Listing(), page.version)]

    def _put(self, outcomes: Iterable[KubeObject | DecodeError]) -> None:
        """Take objects of a list that is on its way."""
        if self._listing is not None:
            for outcome in outcomes:
                self._listing.put(outcome)

    def failed(self, error: ApiError, now: float, dice: float) -> None:
        """Take note that a request or a stream has failed."""
        connection, self._connection = self._connection, None
        streamed = connection is not None
        if connection is not None and self._listing is None and now - connection.since >= BRIEF:
            self._troubles = _Troubles()
        if self._otherwise(error, streamed=streamed):
            return
        troubles = self._troubles
        troubles.count += 1
        troubles.last = error
        wait = min(LONGEST, SHORTEST * 2 ** min(troubles.count - 1, 16)) * (1 + dice) / 2
        if self.given_up:
            self._path = 0
            wait = self.resource.again * (1 + dice)
        elif error.retry_after is not None:
            wait = max(wait, min(LONGEST_ASKED, error.retry_after) * (1 + dice / 4))
        troubles.until = now + wait

    def hurry(self, now: float) -> None:
        """Try again at once, if no answer came last time: somebody else has just reached the server."""
        last = self._troubles.last
        if last is not None and last.status == 0:
            self._troubles.until = min(self._troubles.until, now)

    def _otherwise(self, error: ApiError, *, streamed: bool) -> bool:
        """Choose how to go on after a failure; return whether that can be tried without waiting."""
        listing = self._listing
        if listing is None:
            self._troubles.resumed += error.status not in {0, 429}
            if error.gone or self._troubles.resumed >= RESUMED:
                self._listing = _Listing()
                self._version = self._version if error.gone else ""
            return False
        if error.absent and self._path + 1 < len(self.resource.paths):
            self._path += 1
            return True
        listing.broke += streamed
        unable = error.refused or error.status == (UNABLE if streamed else BEHIND)
        if (unable or listing.broke >= BROKE) and listing.form + 1 < len(self.resource.forms):
            self._listing = _Listing(listing.form + 1)
            return unable
        if error.gone or error.refused:
            self._page = min(LARGEST_PAGE, 2 * self._page)
            self._listing = _Listing()
        return False

    def _take(self, line: Line) -> Iterator[Event]:
        """Take one line of a stream."""
        self._bookmarks |= line.change is Change.BOOKMARK
        if self._listing is not None:
            if isinstance(line.outcome, ObjectRef):
                self._listing.drop(line.outcome)
            elif line.outcome is not None:
                self._listing.put(line.outcome)
            elif line.listed:
                yield self._complete(self._listing, line.version)
            return
        if _older(line.version, self._version):
            before, self._version = self._version, ""
            raise ApiError(410, f"resource versions go backwards, from {before} to {line.version}")
        self._version = line.version
        self._troubles = _Troubles()
        match line.outcome:
            case None:
                return
            case ObjectRef():
                self.broken.pop(line.outcome, None)
                yield Remove(line.outcome)
            case DecodeError():
                self.broken[_key(line.outcome)] = line.outcome
                if line.outcome.ref is not None:
                    yield Remove(line.outcome.ref)
            case _:
                self.broken.pop(ref_of(line.outcome), None)
                yield Upsert(line.outcome)

    def _complete(self, listing: _Listing, version: str) -> Event:
        """Return what a complete list means, and go on from there."""
        self._selectors = self.resource.forms[listing.form].selectors
        self._listing = None
        self._version = version
        self._page = PAGE
        self._troubles = _Troubles()
        self.broken = listing.broken
        self.listed = True
        return Replace(self.resource.kind, tuple(listing.values.values()))


def _key(error: DecodeError) -> ObjectRef | str:
    return error.ref or str(error)


def _older(one: str, other: str) -> bool:
    """Return whether a resource version lies before another; those that are no numbers cannot be compared."""
    return one.isascii() and one.isdigit() and other.isascii() and other.isdigit() and int(one) < int(other)
