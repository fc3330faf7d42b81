"""The snapshot: what is stored, what is dirty, and that the way there does not matter."""

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from pointsman.kube.events import Batch, Event, Remove, Replace, Upsert
from pointsman.kube.objects import (
    Endpoint,
    EndpointSlice,
    Kind,
    KubeObject,
    Labels,
    Namespace,
    Node,
    ObjectMeta,
    ObjectRef,
    Pod,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
    ServiceSpec,
    ref_of,
)
from pointsman.routing.snapshot import EMPTY, Dirty, ImportKey, ServiceKey, Snapshot, advance, import_of, owner_of

WEB = ServiceKey("shop", "web")
CART = ServiceKey("shop", "cart")
WEB_IMPORT = ImportKey("shop", "web")


def service(name: str, port: int = 80) -> Service:
    return Service(ObjectMeta(name, "shop"), ServiceSpec(ports=(ServicePort(port),)))


def endpoint_slice(name: str, owner: str | None, address: str = "10.0.0.1", imported: str | None = None) -> EndpointSlice:
    labels = Labels(service_name=owner, import_name=imported, source_cluster="east" if imported else None)
    return EndpointSlice(ObjectMeta(name, "shop", labels=labels), "IPv4", (Endpoint((address,)),))


def service_import(name: str, address: str = "10.96.0.9") -> ServiceImport:
    return ServiceImport(ObjectMeta(name, "shop"), ServiceImportSpec("ClusterSetIP", (address,), (ServicePort(80),)))


def after(*events: Event, start: Snapshot = EMPTY) -> tuple[Snapshot, Dirty]:
    return advance(start, Batch(events))


def content(snapshot: Snapshot) -> Snapshot:
    return msgspec.structs.replace(snapshot, revision=0)


def test_every_kind_is_stored_under_its_key() -> None:
    objects: list[KubeObject] = [
        service("web"),
        endpoint_slice("web-1", "web"),
        Node(ObjectMeta("n1")),
        Namespace(ObjectMeta("shop")),
        Pod(ObjectMeta("p1", "shop")),
        ServiceCIDR(ObjectMeta("kubernetes"), ServiceCIDRSpec(("10.96.0.0/12",))),
        service_import("web"),
    ]
    snapshot, dirty = after(*map(Upsert, objects))
    assert snapshot.services == {WEB: objects[0]}
    assert snapshot.slices == {WEB: {"web-1": objects[1]}}
    assert snapshot.nodes == {"n1": objects[2]}
    assert snapshot.namespaces == {"shop": objects[3]}
    assert snapshot.pods == {("shop", "p1"): objects[4]}
    assert snapshot.service_cidrs == {"kubernetes": objects[5]}
    assert snapshot.imports == {WEB_IMPORT: objects[6]}
    assert dirty == Dirty(frozenset({WEB}), frozenset(Kind), frozenset({WEB_IMPORT}))
    emptied, dirty = after(*(Remove(ref_of(value)) for value in objects), start=snapshot)
    assert content(emptied) == EMPTY
    assert dirty == Dirty(frozenset({WEB}), frozenset(Kind), frozenset({WEB_IMPORT}))


def test_in_07_in_sync_needs_both_services_and_slices() -> None:
    first, dirty = after(Replace(Kind.SERVICE, ()))
    assert not first.in_sync
    assert dirty.kinds == {Kind.SERVICE}
    second, _ = after(Replace(Kind.ENDPOINT_SLICE, ()), start=first)
    assert second.in_sync
    assert (first.revision, second.revision) == (1, 2)


def test_in_41_an_equal_object_is_no_change() -> None:
    start, _ = after(Upsert(service("web")), Upsert(endpoint_slice("web-1", "web")))
    same, dirty = after(Upsert(service("web")), Upsert(endpoint_slice("web-1", "web")), Remove(ObjectRef(Kind.NODE, "", "n1")), start=start)
    assert same is start
    assert dirty == Dirty()


def test_in_41_a_change_taken_back_in_the_same_batch_is_no_change() -> None:
    start, _ = after(Upsert(service("web")), Upsert(endpoint_slice("web-1", "web")))
    there_and_back = (
        Upsert(service("web", 81)), Upsert(service("web", 80)),
        Upsert(endpoint_slice("web-1", "cart")), Upsert(endpoint_slice("web-1", "web")),
        Upsert(Node(ObjectMeta("n1"))), Remove(ObjectRef(Kind.NODE, "", "n1")),
    )
    same, dirty = after(*there_and_back, start=start)
    assert same is start
    assert dirty == Dirty()


def test_in_32_slices_of_a_service_are_kept_by_name() -> None:
    start, _ = after(Upsert(endpoint_slice("web-1", "web")), Upsert(endpoint_slice("web-2", "web")))
    changed, dirty = after(Upsert(endpoint_slice("web-2", "web", "10.0.0.2")), start=start)
    assert set(changed.slices[WEB]) == {"web-1", "web-2"}
    assert dirty == Dirty(frozenset({WEB}), frozenset({Kind.ENDPOINT_SLICE}))
    assert changed.slices[WEB]["web-1"] is start.slices[WEB]["web-1"]
    assert start.slices[WEB]["web-2"].endpoints == (Endpoint(("10.0.0.1",)),)


def test_a_slice_whose_label_moves_leaves_its_former_service() -> None:
    start, _ = after(Upsert(endpoint_slice("x", "web")))
    moved, dirty = after(Upsert(endpoint_slice("x", "cart")), start=start)
    assert set(moved.slices) == {CART}
    assert dirty.services == {WEB, CART}
    gone, dirty = after(Remove(ObjectRef(Kind.ENDPOINT_SLICE, "shop", "x")), start=moved)
    assert not gone.slices
    assert not gone.slice_owners
    assert dirty.services == {CART}


def test_in_31_a_slice_without_owner_is_kept_under_the_empty_name() -> None:
    for owner in (None, ""):
        snapshot, _ = after(Upsert(endpoint_slice("x", owner)))
        assert set(snapshot.slices) == {ServiceKey("shop", "")}
    bare = EndpointSlice(ObjectMeta("x", "shop"))
    assert owner_of(bare) == ServiceKey("shop", "")


def test_ext_01_slices_of_other_clusters_belong_to_their_import_and_to_who_stands_for_it_here() -> None:
    ours = endpoint_slice("web-1", "web")
    theirs, derived = endpoint_slice("web-east", None, imported="web"), endpoint_slice("web-west", "derived", imported="web")
    start, dirty = after(*map(Upsert, (ours, theirs, derived)))
    assert start.import_slices == {WEB_IMPORT: {"web-east": theirs, "web-west": derived}}
    assert start.slices == {
        WEB: {"web-1": ours}, ServiceKey("shop", ""): {"web-east": theirs}, ServiceKey("shop", "derived"): {"web-west": derived},
    }  # fmt: skip
    assert dirty.imports == {WEB_IMPORT}
    assert WEB_IMPORT not in dirty.services
    assert import_of(ours) is None
    otherwise = (endpoint_slice("web-east", None), endpoint_slice("web-west", None, imported="cart"))
    relabelled, dirty = after(*map(Upsert, otherwise), start=start)
    assert set(relabelled.import_slices) == {ImportKey("shop", "cart")}
    assert dirty.imports == {WEB_IMPORT, ImportKey("shop", "cart")}
    gone, _ = after(Replace(Kind.ENDPOINT_SLICE, ()), start=relabelled)
    assert not gone.import_slices
    assert not gone.import_slice_owners


def test_ext_01_an_import_is_not_the_service_of_its_name() -> None:
    assert WEB_IMPORT != WEB
    assert len({WEB_IMPORT: 1, WEB: 2}) == 2
    assert isinstance(WEB_IMPORT, ServiceKey)


def test_replace_removes_what_it_does_not_name() -> None:
    names = ("web", "cart")
    start, _ = after(*(Upsert(service(name)) for name in names), *(Upsert(endpoint_slice(f"{name}-1", name)) for name in names))
    lists = (Replace(Kind.SERVICE, (service("web"),)), Replace(Kind.ENDPOINT_SLICE, (endpoint_slice("web-1", "web"),)))
    replaced, dirty = after(*lists, start=start)
    assert set(replaced.services) == set(replaced.slices) == {WEB}
    assert dirty.services == {CART}
    cleared, _ = after(*(Replace(kind, ()) for kind in Kind), start=replaced)
    assert content(cleared) == msgspec.structs.replace(EMPTY, synced=frozenset(Kind))


def test_only_changed_maps_are_copied() -> None:
    start, _ = after(Upsert(service("web")), Upsert(endpoint_slice("web-1", "web")), Upsert(Node(ObjectMeta("n1"))))
    changed, _ = after(Upsert(endpoint_slice("web-1", "web", "10.0.0.9")), start=start)
    assert changed.services is start.services
    assert changed.nodes is start.nodes
    assert changed.slice_owners is start.slice_owners


NAMES = st.sampled_from(["a", "b", "c"])
OWNERS = st.sampled_from(["a", "b", None])
OBJECTS: st.SearchStrategy[KubeObject] = st.one_of(
    st.builds(service, NAMES, st.integers(1, 3)),
    st.builds(endpoint_slice, NAMES, OWNERS, st.sampled_from(["10.0.0.1", "10.0.0.2"]), OWNERS),
    st.builds(service_import, NAMES, st.sampled_from(["10.96.0.1", "10.96.0.2"])),
    st.builds(lambda name, zone: Node(ObjectMeta(name, labels=Labels(zone=zone))), NAMES, st.sampled_from(["x", "y"])),
    st.builds(lambda name: Namespace(ObjectMeta(name)), NAMES),
    st.builds(lambda name: Pod(ObjectMeta(name, "shop")), NAMES),
    st.builds(lambda name, cidr: ServiceCIDR(ObjectMeta(name), ServiceCIDRSpec((cidr,))), NAMES, st.sampled_from(["10.0.0.0/8", "::/64"])),
)


def replace_of(kind: Kind, values: list[KubeObject]) -> Replace:
    return Replace(kind, tuple({ref_of(value): value for value in values if ref_of(value).kind is kind}.values()))


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Upsert, OBJECTS),
    st.builds(lambda value: Remove(ref_of(value)), OBJECTS),
    st.builds(replace_of, st.sampled_from(Kind), st.lists(OBJECTS, max_size=6)),
)


def final_objects(events: list[Event]) -> dict[ObjectRef, KubeObject]:
    """The model: one dict."""
    found: dict[ObjectRef, KubeObject] = {}
    for event in events:
        match event:
            case Upsert():
                found[ref_of(event.value)] = event.value
            case Remove():
                found.pop(event.ref, None)
            case Replace():
                found = {ref: value for ref, value in found.items() if ref.kind is not event.kind}
                found |= {ref_of(value): value for value in event.values}
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=25), st.data())
def test_the_path_does_not_matter(events: list[Event], data: st.DataObject) -> None:
    """Any batching and repetition gives the snapshot that the final objects give, in any order, from scratch."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    snapshot = EMPTY
    for start, end in pairwise([0, *cuts, len(events)]):
        for _ in range(data.draw(st.integers(1, 2))):
            snapshot, _ = advance(snapshot, Batch(tuple(events[start:end])))
    order = data.draw(st.permutations(list(final_objects(events).values())))
    synced = {event.kind for event in events if isinstance(event, Replace)}
    fresh, _ = advance(EMPTY, Batch(tuple(replace_of(kind, []) for kind in synced) + tuple(map(Upsert, order))))
    assert content(snapshot) == content(fresh)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=10), st.lists(EVENTS, max_size=6))
def test_dirty_is_exactly_what_differs(before: list[Event], events: list[Event]) -> None:
    old, _ = advance(EMPTY, Batch(tuple(before)))
    new, dirty = advance(old, Batch(tuple(events)))
    keys = {*old.services, *new.services, *old.slices, *new.slices}
    differing = {key for key in keys if old.services.get(key) != new.services.get(key) or old.slices.get(key) != new.slices.get(key)}
    maps = {
        Kind.SERVICE: "services", Kind.ENDPOINT_SLICE: "slices", Kind.NODE: "nodes", Kind.NAMESPACE: "namespaces", Kind.POD: "pods",
        Kind.SERVICE_CIDR: "service_cidrs", Kind.SERVICE_IMPORT: "imports",
    }
    kinds = {kind for kind, name in maps.items() if getattr(old, name) != getattr(new, name)} | (new.synced - old.synced)
    keys_of_imports = {*old.imports, *new.imports, *old.import_slices, *new.import_slices}
    otherwise = {
        key for key in keys_of_imports
        if old.imports.get(key) != new.imports.get(key) or old.import_slices.get(key) != new.import_slices.get(key)
    }  # fmt: skip
    assert dirty == Dirty(frozenset(differing), frozenset(kinds), frozenset(otherwise))
    assert new.revision == old.revision + (1 if kinds else 0)
    assert all(new.slices.values())
    assert all(new.import_slices.values())
    assert (new is old) == (not kinds)
