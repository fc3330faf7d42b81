"""The one store of objects: an immutable Snapshot with a revision, and the pure step from one to the next.

`advance` takes a snapshot and a batch of events and returns the next snapshot and what is Dirty. All sources (manifest folder, API
reflector) feed it, and `build` (routes) and later the DNS records read it. Nothing is filtered here: headless Services and those of
another service proxy stay visible (REC-07), judging is `routing`'s task.

The result depends on the state, never on the path to it: any order, batching or repetition of events that ends in the same objects gives
an equal snapshot (but for the revision; the order of iteration is not part of the value). What equals what is there is no change, also when
a batch changes a thing and changes it back (IN-41). A batch copies only the maps that it changes, so that a changed EndpointSlice costs
shallow copies and dirties only its own Service.

EndpointSlices are found by the Service that owns them (IN-31, IN-32); those without an owner's label are kept under the empty name, so
that they can be reported. `slice_owners` remembers who owned a slice: a label that moves to another Service takes it from the first.
Slices that come from other clusters are found by their ServiceImport besides, which only DNS reads (EXT-01): a Service that stands for the
import on this cluster, if there is one, owns them as it owns others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from msgspec import Struct
from pointsman.kube.events import Batch, Remove, Replace, Upsert
from pointsman.kube.objects import (
    EndpointSlice,
    Kind,
    KubeObject,
    Namespace,
    Node,
    ObjectRef,
    Pod,
    Service,
    ServiceCIDR,
    ServiceImport,
    ref_of,
)

K = TypeVar("K")
V = TypeVar("V")
Owner = TypeVar("Owner", bound="ServiceKey")


class ServiceKey(Struct, frozen=True, gc=False, order=True, cache_hash=True):
    """Which Service: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


class ImportKey(ServiceKey, frozen=True, gc=False, order=True, cache_hash=True):
    """Which ServiceImport; never equal to the key of the Service with this name."""


class Snapshot(Struct, frozen=True):
    """All known objects at one revision; revisions grow by one with each batch that changes something.

    `slices` holds, by owner Service, its EndpointSlices by their name; no entry is empty. `import_slices` holds those that other clusters
    offer, by their ServiceImport. `pods` is keyed by namespace and name.
    `synced` are the kinds that have been listed completely at least once.
    """

    revision: int = 0
    services: Mapping[ServiceKey, Service] = {}
    slices: Mapping[ServiceKey, Mapping[str, EndpointSlice]] = {}
    nodes: Mapping[str, Node] = {}
    namespaces: Mapping[str, Namespace] = {}
    pods: Mapping[tuple[str, str], Pod] = {}
    service_cidrs: Mapping[str, ServiceCIDR] = {}
    synced: frozenset[Kind] = frozenset()
    slice_owners: Mapping[tuple[str, str], ServiceKey] = {}
    imports: Mapping[ImportKey, ServiceImport] = {}
    import_slices: Mapping[ImportKey, Mapping[str, EndpointSlice]] = {}
    import_slice_owners: Mapping[tuple[str, str], ImportKey] = {}

    @property
    def in_sync(self) -> bool:
        """Return whether Services and EndpointSlices have both been listed, so that something may be programmed (IN-07)."""
        return Kind.SERVICE in self.synced and Kind.ENDPOINT_SLICE in self.synced


class Dirty(Struct, frozen=True):
    """What a batch changed: Services that changed or whose slices changed, ServiceImports likewise, and all kinds with any change.

    A kind whose first complete list has arrived counts as changed, even if the list is empty.
    """

    services: frozenset[ServiceKey] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    imports: frozenset[ImportKey] = frozenset()


EMPTY = Snapshot()
"""The snapshot before anything has been read."""

CLEAN = Dirty()
"""Nothing changed."""


def owner_of(value: EndpointSlice) -> ServiceKey:
    """Return the Service that owns a slice (IN-31); its name is empty where the slice does not say."""
    labels = value.metadata.labels
    return ServiceKey(value.metadata.namespace, (labels.service_name if labels else None) or "")


def import_of(value: EndpointSlice) -> ImportKey | None:
    """Return the ServiceImport that a slice belongs to; None for one of this cluster alone."""
    labels = value.metadata.labels
    return ImportKey(value.metadata.namespace, labels.import_name) if labels and labels.import_name else None


def advance(snapshot: Snapshot, batch: Batch) -> tuple[Snapshot, Dirty]:
    """Return the snapshot after a batch, and what it changed; the very same snapshot if nothing did."""
    edit = _Edit(snapshot)
    for event in batch.events:
        match event:
            case Upsert():
                edit.put(event.value)
            case Remove():
                edit.drop(event.ref)
            case Replace():
                edit.replace(event.kind, event.values)
    return edit.finish()


class _Draft(Generic[K, V]):
    """A map being changed: reads fall through to the original, which is copied at the first write."""

    def __init__(self, original: Mapping[K, V]) -> None:
        self._original = original
        self._copy: dict[K, V] | None = None
        self._touched: set[K] = set()

    def get(self, key: K) -> V | None:
        return self.current().get(key)

    def put(self, key: K, value: V) -> None:
        if self.current().get(key) != value:
            self._writable(key)[key] = value

    def drop(self, key: K) -> None:
        if key in self.current():
            del self._writable(key)[key]

    def current(self) -> Mapping[K, V]:
        return self._original if self._copy is None else self._copy

    def changed(self) -> frozenset[K]:
        current = self.current()
        return frozenset(key for key in self._touched if self._original.get(key) != current.get(key))

    def _writable(self, key: K) -> dict[K, V]:
        self._touched.add(key)
        if self._copy is None:
            self._copy = dict(self._original)
        return self._copy


class _SliceDraft(Generic[Owner]):
    """EndpointSlices being changed: by owner and name, with the index that says who owned a slice; without owner they are left out."""

    def __init__(
        self, by_owner: Mapping[Owner, Mapping[str, EndpointSlice]], owners: Mapping[tuple[str, str], Owner],
        owner_of: Callable[[EndpointSlice], Owner | None],
    ) -> None:
        self._owners = _Draft(owners)
        self._by_owner = _Draft(by_owner)
        self._owner_of = owner_of
        self._edits: dict[Owner, _Draft[str, EndpointSlice]] = {}

    def put(self, value: EndpointSlice) -> None:
        identity, owner = (value.metadata.namespace, value.metadata.name), self._owner_of(value)
        former = self._owners.get(identity)
        if former is not None and former != owner:
            self.drop(*identity)
        if owner is not None:
            self._owners.put(identity, owner)
            self._edit(owner).put(value.metadata.name, value)

    def drop(self, namespace: str, name: str) -> None:
        owner = self._owners.get((namespace, name))
        if owner is not None:
            self._owners.drop((namespace, name))
            self._edit(owner).drop(name)

    def identities(self) -> Iterator[tuple[str, str]]:
        return iter(tuple(self._owners.current()))

    def finish(self) -> frozenset[Owner]:
        """Fold the edits in; return the owners whose slices changed."""
        for owner, edit in self._edits.items():
            if not edit.changed():
                continue
            if edit.current():
                self._by_owner.put(owner, edit.current())
            else:
                self._by_owner.drop(owner)
        return self._by_owner.changed()

    @property
    def by_owner(self) -> Mapping[Owner, Mapping[str, EndpointSlice]]:
        return self._by_owner.current()

    @property
    def owners(self) -> Mapping[tuple[str, str], Owner]:
        return self._owners.current()

    def _edit(self, owner: Owner) -> _Draft[str, EndpointSlice]:
        edit = self._edits.get(owner)
        if edit is None:
            edit = self._edits[owner] = _Draft(self._by_owner.get(owner) or {})
        return edit


class _Edit:
    """A snapshot being changed by one batch."""

    def __init__(self, before: Snapshot) -> None:
        self._before = before
        self._services = _Draft(before.services)
        self._slices = _SliceDraft(before.slices, before.slice_owners, owner_of)
        self._imports = _Draft(before.imports)
        self._import_slices = _SliceDraft(before.import_slices, before.import_slice_owners, import_of)
        self._nodes = _Draft(before.nodes)
        self._namespaces = _Draft(before.namespaces)
        self._pods = _Draft(before.pods)
        self._cidrs = _Draft(before.service_cidrs)
        self._synced = set(before.synced)

    def put(self, value: KubeObject) -> None:
        meta = value.metadata
        match value:
            case Service():
                self._services.put(ServiceKey(meta.namespace, meta.name), value)
            case EndpointSlice():
                self._slices.put(value)
                self._import_slices.put(value)
            case Node():
                self._nodes.put(meta.name, value)
            case Namespace():
                self._namespaces.put(meta.name, value)
            case Pod():
                self._pods.put((meta.namespace, meta.name), value)
            case ServiceCIDR():
                self._cidrs.put(meta.name, value)
            case ServiceImport():
                self._imports.put(ImportKey(meta.namespace, meta.name), value)

    def drop(self, ref: ObjectRef) -> None:
        match ref.kind:
            case Kind.SERVICE:
                self._services.drop(ServiceKey(ref.namespace, ref.name))
            case Kind.ENDPOINT_SLICE:
                self._slices.drop(ref.namespace, ref.name)
                self._import_slices.drop(ref.namespace, ref.name)
            case Kind.NODE:
                self._nodes.drop(ref.name)
            case Kind.NAMESPACE:
                self._namespaces.drop(ref.name)
            case Kind.POD:
                self._pods.drop((ref.namespace, ref.name))
            case Kind.SERVICE_CIDR:
                self._cidrs.drop(ref.name)
            case Kind.SERVICE_IMPORT:
                self._imports.drop(ImportKey(ref.namespace, ref.name))

    def replace(self, kind: Kind, values: tuple[KubeObject, ...]) -> None:
        kept = {ref_of(value) for value in values}
        for ref in self._refs(kind):
            if ref not in kept:
                self.drop(ref)
        for value in values:
            self.put(value)
        self._synced.add(kind)

    def finish(self) -> tuple[Snapshot, Dirty]:
        services, owners = self._services.changed(), self._slices.finish()
        imports, importing = self._imports.changed(), self._import_slices.finish()
        changed = {
            Kind.SERVICE: services,
            Kind.ENDPOINT_SLICE: owners,
            Kind.NODE: self._nodes.changed(),
            Kind.NAMESPACE: self._namespaces.changed(),
            Kind.POD: self._pods.changed(),
            Kind.SERVICE_CIDR: self._cidrs.changed(),
            Kind.SERVICE_IMPORT: imports,
        }
        before = self._before
        kinds = {kind for kind, keys in changed.items() if keys} | (self._synced - before.synced)
        if not kinds:
            return before, CLEAN
        after = Snapshot(
            revision=before.revision + 1,
            services=self._services.current(),
            slices=self._slices.by_owner,
            nodes=self._nodes.current(),
            namespaces=self._namespaces.current(),
            pods=self._pods.current(),
            service_cidrs=self._cidrs.current(),
            synced=frozenset(self._synced),
            slice_owners=self._slices.owners,
            imports=self._imports.current(),
            import_slices=self._import_slices.by_owner,
            import_slice_owners=self._import_slices.owners,
        )
        return after, Dirty(services | owners, frozenset(kinds), imports | importing)

    def _refs(self, kind: Kind) -> list[ObjectRef]:
        match kind:
            case Kind.SERVICE:
                return [ObjectRef(kind, key.namespace, key.name) for key in self._services.current()]
            case Kind.ENDPOINT_SLICE:
                return [ObjectRef(kind, *identity) for identity in self._slices.identities()]
            case Kind.NODE:
                return [ObjectRef(kind, "", name) for name in self._nodes.current()]
            case Kind.NAMESPACE:
                return [ObjectRef(kind, "", name) for name in self._namespaces.current()]
            case Kind.POD:
                return [ObjectRef(kind, *identity) for identity in self._pods.current()]
            case Kind.SERVICE_CIDR:
                return [ObjectRef(kind, "", name) for name in self._cidrs.current()]
            case Kind.SERVICE_IMPORT:
                return [ObjectRef(kind, key.namespace, key.name) for key in self._imports.current()]
