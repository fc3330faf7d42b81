"""An API server in memory: objects with resource versions, lists in pages, watches with a history that can be compacted.

It answers as the real one does: errors are Status objects, lists have a kind, a watch is lines. `FakeApi.get` and `watch` speak of paths
and queries; `FakeClient` is what `ApiSource` sees of an `ApiClient`.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from weakref import WeakSet

from pointsman.kube.errors import ApiError

KINDS = {
    "services": ("v1", "Service"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "nodes": ("v1", "Node"),
    "namespaces": ("v1", "Namespace"),
    "pods": ("v1", "Pod"),
    "servicecidrs": ("networking.k8s.io/v1", "ServiceCIDR"),
    "serviceimports": ("multicluster.x-k8s.io/v1alpha1", "ServiceImport"),
}
CLUSTERED = {"Node", "Namespace", "ServiceCIDR"}
SERVICES = "/api/v1/services"


def kind_of(path):
    return KINDS[path.rsplit("/", 1)[-1]][1]


def status(code, message="", seconds=None):
    details = {} if seconds is None else {"details": {"retryAfterSeconds": seconds}}
    return {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message or f"error {code}", **details}


def event(kind, value):
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


class FakeApi:
    """The store. `streams` and `wholes` say which forms of lists it knows; `refusals` are raised in front of everything for a path."""

    def __init__(self, *, streams=True, wholes=True, page_limit=10_000):
        self.streams = streams
        self.wholes = wholes
        self.page_limit = page_limit
        self.version = 100
        self.compacted = 0
        self.objects = {}
        self.history = []
        self.asked = []
        self.refusals: dict[str, Callable[[dict], ApiError | None]] = {}
        self.changed = asyncio.Event()
        self._watches = WeakSet()

    def put(self, kind, name, **fields):
        """Create or replace an object."""
        self.version += 1
        namespace = {} if kind in CLUSTERED else {"namespace": "default"}
        labels = fields.pop("labels", {})
        meta = {"name": name, **namespace, "labels": labels, "resourceVersion": str(self.version)}
        version = next(version for version, known in KINDS.values() if known == kind)
        value = {"apiVersion": version, "kind": kind, "metadata": meta, **fields}
        self._note("MODIFIED" if (kind, name) in self.objects else "ADDED", value)
        self.objects[kind, name] = value
        return value

    def service(self, name, port=80):
        return self.put("Service", name, spec={"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": port}]})

    def delete(self, kind, name):
        if (kind, name) in self.objects:
            self.version += 1
            value = self.objects.pop((kind, name))
            self._note("DELETED", value | {"metadata": value["metadata"] | {"resourceVersion": str(self.version)}})

    def compact(self):
        """Forget the history: whoever resumes from before now gets 410; who watches has it already."""
        for watch in self._watches:
            watch.pull_changes()
        self.compacted = self.version
        self.history.clear()

    def get(self, path, query):
        """Return a page of a list. Raises ApiError."""
        self._enter(path, query)
        kind = kind_of(path)
        version, start = self.version, 0
        if "continue" in query:
            version, start = map(int, query["continue"].split(":"))
            if version < self.compacted:
                raise ApiError(410, "the provided continue parameter is too old")
        limit = min(self.page_limit, int(query["limit"])) if "limit" in query else len(self.objects) + 1
        items = [value for (of, _), value in sorted(self.objects.items()) if of == kind and self._selected(value, query)]
        following = f"{version}:{start + limit}" if start + limit < len(items) else ""
        meta = {"resourceVersion": str(version), "continue": following}
        return json.dumps({"kind": f"{kind}List", "metadata": meta, "items": items[start:start + limit]}, separators=(",", ":")).encode()

    def watch(self, path, query):
        """Return an open watch, or a whole list. Raises ApiError."""
        if "watch" not in query:
            if not self.wholes:
                raise ApiError(504, "Too large resource version")
            return FakeWhole(self.get(path, query))
        self._enter(path, query)
        watch = FakeWatch(self, kind_of(path), query)
        self._watches.add(watch)
        return watch

    @staticmethod
    def _selected(value, query):
        """Return whether a selector asks for a label that it has; what is not asked for is none of a reader's trouble here."""
        selector = query.get("labelSelector", "!")
        return selector.startswith("!") or selector in value["metadata"]["labels"]

    def _enter(self, path, query):
        self.asked.append((path, dict(query)))
        for part, refusal in self.refusals.items():
            if part in path and (error := refusal(query)) is not None:
                raise error
        if "sendInitialEvents" in query and not self.streams:
            raise ApiError(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")

    def _note(self, change, value):
        self.history.append((self.version, change, value))
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()


class FakeWatch:
    """A watch that is open."""

    def __init__(self, api, kind, query):
        self.api = api
        self.kind = kind
        self._lines = []
        if "sendInitialEvents" in query:
            self._lines += [event("ADDED", value) for (of, _), value in sorted(api.objects.items()) if of == kind]
            self.bookmark(first=True)
            self.version = api.version
        else:
            self.version = int(query["resourceVersion"])
            if self.version < api.compacted:
                self._lines.append(event("ERROR", status(410, "too old resource version")))

    def bookmark(self, *, first=False):
        annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if first else {}
        meta = {"resourceVersion": str(self.api.version), **annotations}
        self.pull_changes()
        self._lines.append(event("BOOKMARK", {"kind": self.kind, "metadata": meta}))

    def pull_changes(self):
        for version, change, value in self.api.history:
            if version > getattr(self, "version", self.api.version) and value["kind"] == self.kind:
                self._lines.append(event(change, value))
        self.version = self.api.version

    def pull(self):
        """Return what there is to read now, possibly nothing."""
        self.pull_changes()
        text = b"".join(self._lines)
        self._lines.clear()
        return text


class FakeWhole:
    """A list that is read as a stream."""

    def __init__(self, body):
        self._body = body

    def pull(self):
        """Return all of it, then that it has ended."""
        text, self._body = self._body, None
        return text

    def bookmark(self):
        """Do nothing: a list has no bookmarks."""


class FakeStream:
    """A watch as `client.Stream`: `cut` ends it."""

    def __init__(self, api, watch):
        self.api = api
        self.watch = watch
        self.cut = None

    async def read(self, patience=60.0):
        try:
            async with asyncio.timeout(patience):
                while True:
                    if self.cut is not None:
                        error, self.cut = self.cut, None
                        if isinstance(error, ApiError):
                            raise error
                        return b""
                    changed = self.api.changed
                    text = self.watch.pull()
                    if text is None:
                        return b""
                    if text:
                        return text
                    await changed.wait()
        except TimeoutError:
            raise ApiError(0, "does not answer") from None


class FakeClient:
    """What `ApiSource` sees of an ApiClient. `down` is the error of every request while it is set."""

    host = "https://api.example:6443"

    def __init__(self, api):
        self.api = api
        self.down: ApiError | None = None
        self.open: list[FakeStream] = []
        self.reached: list[float] = []

    async def get(self, path, query=None):
        await asyncio.sleep(0.01)
        if self.down is not None:
            raise self.down
        return self.api.get(path, query or {})

    @asynccontextmanager
    async def stream(self, path, query=None):
        await asyncio.sleep(0.01)
        if self.down is not None:
            raise self.down
        stream = FakeStream(self.api, self.api.watch(path, query or {}))
        self.reached.append(asyncio.get_running_loop().time())
        self.open.append(stream)
        try:
            yield stream
        finally:
            self.open.remove(stream)

    def cut(self, error=None):
        """End all streams: in order, or by an error."""
        for stream in self.open:
            stream.cut = error or "end"
        waiting, self.api.changed = self.api.changed, asyncio.Event()
        waiting.set()
